"""Signing in with a one-time password whose time is over, and whose session a request belongs to."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest

from annotate.models import User
from annotate.models.prepared_queries import prepared_query


class OneTimePasswordBackend:
    """Signs nobody in. Stands before the one for passwords, and refuses for all of them a one-time password that ended.

    `request.one_time_is_over` tells the sign-in page why, where the password was the right one.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **others: Any
    ) -> None:
        if username is None or password is None:
            return
        user = User.objects.filter(username=username, must_change_password=True).first()
        if user is None or not user.one_time_is_over or not user.check_password(password):
            return
        if request is not None:
            request.one_time_is_over = True  # type: ignore[attr-defined]
        raise PermissionDenied


class PasswordBackend(ModelBackend):
    """Django's, with the person of a session read by a prepared query: every request of somebody signed in asks."""

    def get_user(self, user_id: int) -> User | None:
        user = _by_number.first(number=user_id)
        return user if user is not None and self.user_can_authenticate(user) else None


@prepared_query
def _by_number(number: int) -> QuerySet[User]:
    return User.objects.filter(pk=number).order_by()
