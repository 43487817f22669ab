"""The list behind the bell: what happened and what waits in one's projects."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from annotate.models import User
from annotate.people import notices as domain


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def notices(request: HttpRequest) -> HttpResponse:
    """The notices, the new ones marked; posted to, all of them count as read."""
    assert isinstance(request.user, User)  # as login_required has made sure
    if request.method == "POST":
        domain.mark_seen(request.user)
        return redirect("annotate:notices")
    seen_at = request.user.notices_seen_at
    found = [(notice, notice.is_new(seen_at)) for notice in domain.of(request.user)]
    has_news = any(is_new and not notice.waits for notice, is_new in found)
    return render(request, "annotate/notices.html", {"notices": found, "has_news": has_news})
