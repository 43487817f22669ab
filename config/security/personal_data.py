"""How somebody signs in, deleted on request: sessions, second factors, accounts at the provider, and the names that
Django's administration notes of accounts.
"""

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy

from annotate.models import PersonDeletion, User
from annotate.people.deletion import personal_data
from config.models import OpenSession

PROVIDER_ACCOUNTS = "socialaccount_socialaccount"
PROVIDER_TOKENS = "socialaccount_socialtoken"


def register() -> None:
    personal_data.register(
        personal_data.Kind(
            name="sessions",
            label=gettext_lazy("Sessions, with address and browser"),
            place=12,
            remove=_remove_sessions,
            left=_sessions,
        )
    )
    personal_data.register_rows(
        "second_factors",
        gettext_lazy("Second factors"),
        13,
        lambda person: Authenticator.objects.filter(user=person),
    )
    personal_data.register_rows(
        "sign_in_addresses",
        gettext_lazy("E-mail addresses of sign-in"),
        14,
        lambda person: EmailAddress.objects.filter(user=person),
    )
    personal_data.register(
        personal_data.Kind(
            name="provider_accounts",
            label=gettext_lazy("Accounts at the single sign-on provider"),
            place=15,
            remove=_remove_provider_accounts,
        )
    )
    personal_data.register_columns(
        "administration",
        gettext_lazy("Entries of the administration’s history with their name"),
        85,
        _entries,
        values=lambda person: {"object_repr": f"deleted-{person.pk}"},
    )


def _sessions(person: User) -> QuerySet[OpenSession]:
    return OpenSession.objects.filter(user=person)


def _remove_sessions(deletion: PersonDeletion, most: int) -> int:
    keys = list(_sessions(deletion.person).order_by("pk").values_list("key", flat=True)[:most])
    Session.objects.filter(session_key__in=keys).delete()
    OpenSession.objects.filter(key__in=keys).delete()
    return personal_data.count(deletion, "sessions", len(keys))


def _remove_provider_accounts(deletion: PersonDeletion, most: int) -> int:
    """By their tables: they may be there of a time when single sign-on was configured, and have no models now."""
    if PROVIDER_ACCOUNTS not in connection.introspection.table_names():
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {PROVIDER_TOKENS} WHERE account_id IN "
            f"(SELECT id FROM {PROVIDER_ACCOUNTS} WHERE user_id = %s)",
            [deletion.person.pk],
        )
        cursor.execute(f"DELETE FROM {PROVIDER_ACCOUNTS} WHERE user_id = %s", [deletion.person.pk])
        return personal_data.count(deletion, "provider_accounts", cursor.rowcount)


def _entries(person: User) -> QuerySet[Any]:
    own = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(User), object_id=str(person.pk))
    return own.exclude(object_repr=f"deleted-{person.pk}")
