"""The data of a person deleted on request, by administrators."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from annotate.data.text import query_value
from annotate.errors import Refused
from annotate.models import PersonDeletion, User
from annotate.people.deletion import deletions, personal_data

PAGE = "annotate/deletions.html"
SHOWN = 50
"""The latest deletions."""


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@login_required
def person_deletions(request: HttpRequest) -> HttpResponse:
    """With ?person=NAME what there is of somebody, and the form that deletes it; to a script that polls, how far
    deletions are."""
    user = request.user
    assert isinstance(user, User)  # as login_required has made sure
    if not user.is_superuser:
        raise PermissionDenied(_("Only administrators of this installation delete a person’s data."))
    if request.htmx and request.method != "POST":  # type: ignore[attr-defined]
        return render(request, f"{PAGE}#deletions", _listed())
    if request.method != "POST":
        return _page(request, name=query_value(request.GET, "person", longest=150))
    name = query_value(request.POST, "person", longest=150)
    person = User.objects.filter(username=name).first()
    if person is None:
        return _page(request, name=name, status=400)
    try:
        if request.POST.get("confirm", "").strip() != person.username:
            raise Refused(_("Type the user name to confirm."), status=400)
        deletions.begin(person=person, by=user, judgments=request.POST.get("judgments", ""))
    except Refused as refusal:
        return _page(request, name=name, refusal=str(refusal), status=refusal.status)
    messages.success(request, _("The account is closed. The rest is deleted in the background."))
    return redirect("annotate:deletions")


def _listed() -> dict[str, Any]:
    rows = list(PersonDeletion.objects.select_related("person", "requested_by")[:SHOWN])
    return {
        "deletions": [(deletion, _removed(deletion)) for deletion in rows],
        "under_way": any(deletion.is_under_way for deletion in rows),
    }


def _removed(deletion: PersonDeletion) -> list[tuple[Any, int]]:
    """(kind, number) of what was deleted, in the order of the kinds."""
    found = [(kind.label, deletion.removed.get(kind.name, 0)) for kind in personal_data.kinds()]
    return [(label, number) for label, number in found if number]


def _page(request: HttpRequest, *, name: str, refusal: str = "", status: int = 200) -> HttpResponse:
    """What there is of the person of this name, where there is one."""
    assert isinstance(request.user, User)
    person = User.objects.filter(username=name).first() if name else None
    context: dict[str, Any] = {**_listed(), "name": name, "chosen": person, "refusal": refusal}
    if person is not None and PersonDeletion.objects.filter(person=person).exists():
        context |= {"is_deleted": True}
    elif person is not None:
        try:
            deletions.refuse_impossible(person, by=request.user)
        except Refused as reason:
            context |= {"refusal": str(reason), "impossible": True}
        else:
            removed, kept = deletions.preview(person)
            context |= {"removed": removed, "kept": kept, "choices": PersonDeletion.Judgments.choices}
    elif name:
        context |= {"refusal": _("There is no account of this name.")}
        status = 404 if status == 200 else status
    return render(request, PAGE, context, status=status)
