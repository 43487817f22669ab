"""Accounts that stand for somebody without one: simulated labelers, people of imported files, users of a model."""

from django.contrib.auth.hashers import make_password

from annotate.models import User


def account(username: str, *, first_name: str = "", last_name: str = "") -> User:
    """The account of this name, made where there is none yet. Nobody can sign in with it."""
    found, _made = User.objects.get_or_create(
        username=username,
        defaults={
            "first_name": first_name,
            "last_name": last_name,
            "is_active": False,
            "password": make_password(None),
        },
    )
    return found
