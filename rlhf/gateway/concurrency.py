"""How many requests of the gateway a web process answers at once: HONE_GATEWAY_REQUESTS, and half as many of one token.

A reply lasts as long as the model writes, so the web process has threads of their own for the gateway
(config.web.web_worker), and pages never wait for one. What comes beyond is refused at once with Retry-After: a client
of the protocol tries again by itself.
"""

from collections import Counter
from threading import Lock

from django.conf import settings
from django.utils.translation import gettext as _

from annotate.models import ApiToken
from rlhf.gateway.openai_errors import OpenAIError

RETRY_SECONDS = 2.0

_taken: Counter[int] = Counter()
"""By token, in this process."""
_lock = Lock()


class Slot:
    """The right to answer a request. Given back once, however often it is asked to."""

    def __init__(self, token: ApiToken) -> None:
        """Raises OpenAIError (429, 503)."""
        self._token = token.pk
        self._is_held = False
        most = settings.HONE_GATEWAY_REQUESTS
        of_token = max(1, most // 2)
        with _lock:
            if _taken[self._token] >= of_token:
                raise OpenAIError(
                    _("%(most)d requests of this token are being answered already. Try again in a moment.")
                    % {"most": of_token},
                    status=429,
                    retry_after=RETRY_SECONDS,
                )
            if _taken.total() >= most:
                raise OpenAIError(
                    _("The gateway answers %(most)d requests already. Try again in a moment.") % {"most": most},
                    status=503,
                    code="overloaded",
                    retry_after=RETRY_SECONDS,
                )
            _taken[self._token] += 1
            self._is_held = True

    def give_back(self) -> None:
        with _lock:
            if self._is_held:
                self._is_held = False
                _taken[self._token] -= 1
                if not _taken[self._token]:
                    del _taken[self._token]


def in_progress() -> int:
    """Requests that this process answers."""
    with _lock:
        return _taken.total()
