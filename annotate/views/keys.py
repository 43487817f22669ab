"""The keys of the work pages, as a person wants them."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from .. import keys
from ..errors import Refused
from ..models import User


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def choose(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)
    entered = keys.key_map(request.user)
    switched_off, refusal = keys.switched_off(request.user), ""
    if request.method == "POST":
        entered = {deed.name: request.POST.get(deed.name, deed.key) for deed in keys.DEEDS}
        switched_off = bool(request.POST.get(keys.OFF))
        try:
            chosen = {} if "reset" in request.POST else keys.checked(entered)
        except Refused as error:
            refusal = str(error)
        else:
            stored = chosen | ({keys.OFF: keys.OFF} if switched_off and "reset" not in request.POST else {})
            User.objects.filter(pk=request.user.pk).update(keys=stored)
            messages.success(request, _("Saved. The keys hold from the next task page on."))
            return redirect("annotate:keys")
    context = {
        "rows": [(deed, entered[deed.name]) for deed in keys.DEEDS],
        "switched_off": switched_off,
        "refusal": refusal,
    }
    return render(request, "annotate/keys.html", context, status=400 if refusal else 200)
