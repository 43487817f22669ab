"""E-mail addresses and webhooks of a project, what was sent to them, and sending it again."""

import json
import secrets
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods, require_POST

from annotate import access
from annotate.data.keyset_pages import keyset_page
from annotate.errors import Refused
from annotate.people.permissions import Capability, ProjectRequest, requires
from rlhf.models import Delivery, NotificationTarget
from rlhf.notifications import deliveries, webhook_client

DELIVERIES_SHOWN = 50
ITEMS_SHOWN = 20
"""Of a list in a delivery's content: 500 judgments each would make 8 MiB of a page."""
Event, Kind = NotificationTarget.Event, NotificationTarget.Kind


class TargetForm(forms.Form):
    """A new address."""

    kind = forms.ChoiceField(label=gettext_lazy("Kind"), choices=Kind.choices)
    address = forms.CharField(
        max_length=500,
        label=gettext_lazy("Address"),
        help_text=gettext_lazy("https://… of a webhook, or an e-mail address."),
    )
    events = forms.MultipleChoiceField(
        label=gettext_lazy("Events"),
        choices=Event.choices,
        initial=[Event.RUN_FAILED, Event.ROUND_STOPPED, Event.ROUND_FAILED],
        widget=forms.CheckboxSelectMultiple,
    )


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.MANAGE)
def notifications(request: ProjectRequest) -> HttpResponse:
    form = TargetForm(request.POST or None)
    status = 400
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            deliveries.add(
                project=request.project, kind=given["kind"], address=given["address"].strip(), chosen=given["events"],
                by=request.user,
            )  # fmt: skip
        except Refused as error:
            form.add_error("address", str(error))
            status = error.status
        else:
            messages.success(request, _("The address was added."))
            return redirect("rlhf:notifications", request.project.slug)
    targets = [
        {
            "target": target,
            "events": [Event(name).label for name in target.events if name in Event.values],
            "has_failed": target.deliveries.filter(state=Delivery.State.FAILED).exists(),
            "key": webhook_client.key_of(target.salt) if target.kind == Kind.WEBHOOK else "",
        }
        for target in NotificationTarget.objects.filter(project=request.project)
    ]
    log = Delivery.objects.filter(target__project=request.project).select_related("target")
    if (state := request.GET.get("state", "")) in Delivery.State.values:
        log = log.filter(state=state)
    page = keyset_page(log, request.GET.get("after", ""), size=DELIVERIES_SHOWN)
    context = {
        "project": request.project,
        "form": form,
        "targets": targets,
        "page": page,
        "rows": [(delivery, *_shown(delivery.payload)) for delivery in page.rows],
        "state": state,
        "states": Delivery.State.choices,
        "sends_email": bool(settings.EMAIL_HOST),
    }
    return render(request, "rlhf/notifications.html", context, status=status if form.errors else 200)


def _shown(payload: dict[str, Any]) -> tuple[str, int]:
    """The content as JSON, as it is sent, with the first items of each list, and how many items are left out."""
    shown = {name: value[:ITEMS_SHOWN] if isinstance(value, list) else value for name, value in payload.items()}
    left_out = sum(len(value) - len(shown[name]) for name, value in payload.items() if isinstance(value, list))
    return json.dumps(shown, indent=1, ensure_ascii=False), left_out


@require_POST
@requires(Capability.MANAGE)
def remove(request: ProjectRequest, target_id: int) -> HttpResponse:
    target = access.load(request, NotificationTarget, pk=target_id)
    deliveries.remove(target, by=request.user)
    messages.success(request, _("The address was removed."))
    return redirect("rlhf:notifications", request.project.slug)


@require_POST
@requires(Capability.MANAGE)
def send_test(request: ProjectRequest, target_id: int) -> HttpResponse:
    """Queue a made-up event, which arrives like any other."""
    target = access.load(request, NotificationTarget, pk=target_id)
    now = timezone.now()
    Delivery.objects.create(
        target=target,
        key=f"test-{secrets.token_hex(8)}",
        event=Event.RUN_SUCCEEDED,
        payload={"project": request.project.slug, "test": True, "finished_at": now.isoformat()},
        next_attempt_at=now,
    )
    messages.success(request, _("A test was queued; it is sent within a quarter of a minute."))
    return redirect("rlhf:notifications", request.project.slug)


@require_POST
@requires(Capability.MANAGE)
def replay_failed(request: ProjectRequest, target_id: int) -> HttpResponse:
    """Once the receiver is well again."""
    target = access.load(request, NotificationTarget, pk=target_id)
    count = deliveries.replay_failed(target, by=request.user)
    messages.success(
        request,
        ngettext("%(n)d delivery is sent again.", "%(n)d deliveries are sent again.", count) % {"n": count},
    )
    return redirect("rlhf:notifications", request.project.slug)


@require_POST
@requires(Capability.MANAGE)
def replay(request: ProjectRequest, delivery_id: int) -> HttpResponse:
    deliveries.replay(access.load(request, Delivery, pk=delivery_id), by=request.user)
    messages.success(request, _("It is sent again within a quarter of a minute."))
    return redirect("rlhf:notifications", request.project.slug)
