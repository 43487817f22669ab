"""Says on the page that what was asked for waits, when the broker didn't take its message."""

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _

from rlhf.runs import outgoing_messages

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class LateMessagesMiddleware:
    """Comes after MessageMiddleware."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with outgoing_messages.collect_unsent() as late:
            response = self.get_response(request)
        if late:
            sentence = _("The message broker doesn’t answer. What you asked for is kept and begins when it does.")
            messages.warning(request, sentence)
        return response
