"""Sessions in the database, read by a prepared query: every request of somebody signed in begins with one."""

from typing import Any

from django.contrib.sessions.backends import db
from django.db.models import QuerySet
from django.utils import timezone

from annotate.models.prepared_queries import prepared_query


class SessionStore(db.SessionStore):
    def _get_session_from_db(self) -> Any:
        found = _open_session.first(key=self.session_key, now=timezone.now())
        if found is None:
            self._session_key = None
        return found


@prepared_query
def _open_session(key: str, now: Any) -> QuerySet[Any]:
    return SessionStore.get_model_class().objects.filter(session_key=key, expire_date__gt=now).order_by()
