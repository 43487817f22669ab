"""Warns on the page when the broker did not accept a request's message."""

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _

from rlhf.runs.queues import outgoing_messages

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class LateMessagesMiddleware:
    """Comes after MessageMiddleware."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with outgoing_messages.collect_unsent() as late:
            response = self.get_response(request)
        if late:
            sentence = _("The message broker doesn’t respond. Your request is kept and starts when it does.")
            messages.warning(request, sentence)
        return response
