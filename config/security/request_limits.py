"""How large a request may be, and how many of the costly ones a person may send: looked at before a body is read.

Sizes go by address of the page; a request of nobody who is signed in may hold a form and no file. The numbers of costly
requests are counted in memory, so that each of the two web processes allows as many.
"""

import re
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve
from django.utils.translation import gettext as _

from annotate.forms.data_files import LARGEST_UPLOAD
from annotate.people.own_paths import is_api, is_gateway
from config.security.rate_limits import Limit, MemoryBuckets
from config.web.refusals import refusal, wait_in_words
from rlhf.model_registry.benchmarks import LARGEST as LARGEST_BENCHMARK

GetResponse = Callable[[HttpRequest], HttpResponseBase]

ANONYMOUS_BYTES = 64 * 2**10
FORM_BYTES = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
ENVELOPE_BYTES = 2**20
"""The other fields of an upload and the lines between them."""
UPLOADS = {
    "annotate:import": LARGEST_UPLOAD + ENVELOPE_BYTES,
    "rlhf:benchmark": LARGEST_BENCHMARK + ENVELOPE_BYTES,
    "api:measure_model": LARGEST_BENCHMARK + ENVELOPE_BYTES,
}
"""Addresses that take files, with the most bytes of a request."""

COSTLY = {
    "annotate:preview": Limit(burst=60, interval=1),
    "annotate:import": Limit(burst=10, interval=30),
    "annotate:import_from_hub": Limit(burst=10, interval=30),
    "annotate:exports": Limit(burst=10, interval=30),
    "annotate:push_snapshot": Limit(burst=10, interval=30),
    "annotate:new_project": Limit(burst=10, interval=30),
    "annotate:people": Limit(burst=30, interval=10),
    "annotate:make_account": Limit(burst=30, interval=10),
    "annotate:reset_password": Limit(burst=30, interval=10),
    "account_change_password": Limit(burst=8, interval=30),
    "annotate:chat": Limit(burst=60, interval=2),
    "rlhf:new_run": Limit(burst=20, interval=15),
    "rlhf:import_model": Limit(burst=20, interval=15),
    "rlhf:export_gguf": Limit(burst=20, interval=15),
    "rlhf:push_model": Limit(burst=20, interval=15),
    "rlhf:benchmark": Limit(burst=20, interval=15),
    "rlhf:sample": Limit(burst=20, interval=15),
    "rlhf:score_tasks": Limit(burst=20, interval=15),
    "rlhf:start_loop": Limit(burst=20, interval=15),
    "api:import_rows": Limit(burst=120, interval=1),
    "api:request_snapshot": Limit(burst=10, interval=30),
    "api:start_run": Limit(burst=20, interval=15),
    "api:measure_model": Limit(burst=20, interval=15),
}
"""POSTs that cost seconds of a processor or start jobs, for each person."""
API_REQUESTS = Limit(burst=600, interval=0.05)
"""Of the API, and as many of the gateway, for each person: 20 a second."""

READS = ("GET", "HEAD", "OPTIONS")


class RequestLimitsMiddleware:
    """Comes after AuthenticationMiddleware and before whatever reads a body: CsrfViewMiddleware does."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self._buckets = MemoryBuckets()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        refused = self._refused(request) if _has_body(request) or request.method not in READS else None
        if refused is None and is_api(request.path_info) and request.user.is_authenticated:
            refused = self._too_many(request, "gateway" if is_gateway(request.path_info) else "api", API_REQUESTS)
        return refused or self.get_response(request)

    def _refused(self, request: HttpRequest) -> HttpResponseBase | None:
        page = _page(request)
        length = _content_length(request)
        if length is None:
            return refusal(request, _("The request has no Content-Length."), status=411, heading=_("Not accepted"))
        if length > ANONYMOUS_BYTES:
            most = _most_bytes(request, page)
            if length > most:
                sentence = _("This was larger than the %(size)s that this page takes. Nothing was changed.")
                return refusal(request, sentence % {"size": _size(most)}, status=413, heading=_("That is too large"))
        if request.method == "POST" and page in COSTLY and request.user.is_authenticated:
            return self._too_many(request, page, COSTLY[page])
        return None

    def _too_many(self, request: HttpRequest, kind: str, limit: Limit) -> HttpResponseBase | None:
        """The refusal of one request too many; None for every other, which then counts."""
        wait = self._buckets.take(kind, str(request.user.pk), limit)
        if not wait:
            return None
        sentence = _("You did this many times in a short while. Nothing was changed; do it again in %(wait)s.")
        return refusal(
            request,
            sentence % {"wait": wait_in_words(wait)},
            status=429,
            heading=_("One moment"),
            retry_after=wait,
        )


def _has_body(request: HttpRequest) -> bool:
    return request.META.get("CONTENT_LENGTH", "") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in request.META


def _content_length(request: HttpRequest) -> int | None:
    if "HTTP_TRANSFER_ENCODING" in request.META:  # in pieces, of any number
        return None
    text = request.META.get("CONTENT_LENGTH", "") or "0"
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _page(request: HttpRequest) -> str:
    try:
        return resolve(request.path_info).view_name
    except Resolver404:
        return ""


def _most_bytes(request: HttpRequest, page: str) -> int:
    if not request.user.is_authenticated:
        return ANONYMOUS_BYTES
    return UPLOADS.get(page, FORM_BYTES)


def _size(number: int) -> str:
    return f"{number / 2**20:.0f} MB" if number >= 2**20 else f"{number / 2**10:.0f} kB"
