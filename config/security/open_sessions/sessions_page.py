"""*Account*, *Signed-in devices*."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from annotate.people.permissions import signed_in
from config.security.open_sessions import tracking


@require_safe
@never_cache
@login_required
def sessions(request: HttpRequest) -> HttpResponse:
    context = {"sessions": tracking.listed(signed_in(request)), "current": request.session.session_key}
    return render(request, "account/sessions.html", context)


@require_POST
@login_required
def end_session(request: HttpRequest, number: int) -> HttpResponse:
    if tracking.end(user=signed_in(request), number=number):
        messages.success(request, _("Signed out there."))
    else:
        messages.info(request, _("That session had ended already."))
    return redirect("sessions")


@require_POST
@login_required
def end_other_sessions(request: HttpRequest) -> HttpResponse:
    ended = tracking.end_others(user=signed_in(request), but=request.session.session_key)
    text = ngettext("%(n)d other session was ended.", "%(n)d other sessions were ended.", ended)
    messages.success(request, text % {"n": ended})
    return redirect("sessions")
