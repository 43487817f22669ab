"""Signing in with a one-time password whose time is over."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from annotate.models import User


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
