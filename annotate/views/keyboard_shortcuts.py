"""The keys of the work pages, as a person wants them."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from annotate.errors import Refused
from annotate.models import User
from annotate.people import keyboard_shortcuts


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def choose(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)
    data = keyboard_shortcuts.key_map(request.user)
    switched_off, refusal = keyboard_shortcuts.switched_off(request.user), ""
    if request.method == "POST":
        data = {action.name: request.POST.get(action.name, action.key) for action in keyboard_shortcuts.KEY_ACTIONS}
        switched_off = bool(request.POST.get(keyboard_shortcuts.OFF))
        try:
            chosen = {} if "reset" in request.POST else keyboard_shortcuts.checked(data)
        except Refused as error:
            refusal = str(error)
        else:
            stored = chosen | (
                {keyboard_shortcuts.OFF: keyboard_shortcuts.OFF} if switched_off and "reset" not in request.POST else {}
            )
            User.objects.filter(pk=request.user.pk).update(keys=stored)
            messages.success(request, _("Saved. The keys hold from the next task page on."))
            return redirect("annotate:keys")
    context = {
        "rows": [(action, data[action.name]) for action in keyboard_shortcuts.KEY_ACTIONS],
        "switched_off": switched_off,
        "refusal": refusal,
    }
    return render(request, "annotate/keys.html", context, status=400 if refusal else 200)
