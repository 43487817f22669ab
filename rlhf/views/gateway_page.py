"""The page of a project's gateway: what replies, what is kept, how a program asks, and a user's data deleted."""

from dataclasses import asdict
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Count
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from annotate.errors import Refused
from annotate.models import GatewayCompletion, GatewaySettings, Judgment, Task
from annotate.people.deletion import gateway_users
from annotate.people.permissions import Capability, ProjectRequest, requires
from rlhf.ai_feedback import endpoints
from rlhf.gateway import gateway_settings

LONGEST_ROUTES = 20_000
FEEDBACK = {
    Task.Kind.RATE: gettext_lazy("Thumbs"),
    Task.Kind.COMPARE: gettext_lazy("Choices"),
    Task.Kind.DEMONSTRATE: gettext_lazy("Edits"),
}


class GatewayForm(forms.Form):
    enabled = forms.BooleanField(
        required=False,
        label=gettext_lazy("Gateway open"),
        help_text=gettext_lazy("Programs with a token of this project may ask its model."),
    )
    endpoint = forms.ChoiceField(
        required=False,
        label=gettext_lazy("What replies to the model “policy”"),
        help_text=gettext_lazy("A server is one of HONE_AI_ENDPOINTS, such as vLLM with an exported version."),
    )
    served_model = forms.CharField(
        required=False,
        max_length=200,
        label=gettext_lazy("Name of the model on that server"),
        help_text=gettext_lazy(
            "Needed where a server replies. With a version’s name here (project/policy-3) responses are credited to it."
        ),
    )
    routes = forms.CharField(
        required=False,
        max_length=LONGEST_ROUTES,
        widget=forms.Textarea(attrs={"rows": 3, "wrap": "off"}),
        label=gettext_lazy("Further models"),
        help_text=gettext_lazy("A line each: the name that programs ask for, the server, the model’s name there."),
    )
    stores = forms.BooleanField(
        required=False,
        label=gettext_lazy("Keep conversations as prompts"),
        help_text=gettext_lazy("Those that a program sends with “store”: true, without personal data, each once."),
    )
    prompts_per_user = forms.IntegerField(
        min_value=1, max_value=1_000_000, label=gettext_lazy("Most conversations kept per user")
    )
    counts_feedback = forms.BooleanField(
        required=False,
        label=gettext_lazy("Feedback counts"),
        help_text=gettext_lazy(
            "New exports and training have what users said of responses. It is never counted as a labeler’s work."
        ),
    )

    def __init__(self, data: QueryDict | None = None, *, settings: GatewaySettings) -> None:
        initial = {name: getattr(settings, name) for name in gateway_settings.FIELDS}
        initial["routes"] = gateway_settings.as_lines(settings.routes)
        super().__init__(data, initial=initial)
        names = sorted({*endpoints.known(), *([settings.endpoint] if settings.endpoint else [])})
        self.fields["endpoint"].choices = [  # type: ignore[attr-defined]
            ("", _("The live worker, with the policy in use")),
            *((name, name) for name in names),
        ]

    def values(self) -> dict[str, Any]:
        """Raises Refused."""
        given = self.cleaned_data
        return {
            **given,
            "served_model": given["served_model"].strip() if given["endpoint"] else "",
            "routes": gateway_settings.parsed_routes(given["routes"]),
        }


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.MANAGE)
def gateway(request: ProjectRequest) -> HttpResponse:
    settings = gateway_settings.of_project(request.project)
    form = GatewayForm(request.POST or None, settings=settings)
    if request.method == "POST" and form.is_valid():
        try:
            if gateway_settings.save(request.project, form.values(), by=request.user):
                messages.success(request, _("Saved."))
            return redirect("rlhf:gateway", request.project.slug)
        except Refused as error:
            form.add_error(None, str(error))
    kept = GatewayCompletion.objects.filter(project=request.project)
    given = Judgment.objects.filter(Judgment.BY_USERS, project=request.project).order_by()
    by_kind = dict(given.values_list("task__kind").annotate(Count("pk")))
    context = {
        "project": request.project,
        "form": form,
        "settings": settings,
        "address": request.build_absolute_uri("/v1"),
        "names": gateway_settings.model_names(settings),
        "kept": kept.count(),
        "users": kept.values("end_user").distinct().count(),
        "feedback": [(label, by_kind.get(kind, 0)) for kind, label in FEEDBACK.items()],
    }
    return render(request, "rlhf/gateway.html", context, status=400 if form.errors else 200)


class UserForm(forms.Form):
    user = forms.CharField(
        max_length=gateway_users.LONGEST_NAME,
        strip=False,
        label=gettext_lazy("User"),
        help_text=gettext_lazy("The value of “user” or “safety_identifier” in the program’s requests."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.MANAGE)
def delete_gateway_user(request: ProjectRequest) -> HttpResponse:
    """The name is in no address, as these are logged. `delete` has the name that the figures were shown of."""
    form = UserForm(request.POST or None)
    found, user = None, ""
    if request.method == "POST" and form.is_valid():
        user = form.cleaned_data["user"]
        if request.POST.get("delete") == user:
            done = gateway_users.delete(project=request.project, user=user, by=request.user)
            said = _("%(conversations)d conversations, %(feedback)d feedback and %(prompts)d prompts were deleted.")
            messages.success(request, said % asdict(done))
            if not done.left:
                return redirect("rlhf:gateway", request.project.slug)
        found = gateway_users.preview(project=request.project, user=user, by=request.user)
    context = {"project": request.project, "form": form, "found": found, "shown": user}
    return render(request, "rlhf/delete_gateway_user.html", context, status=400 if form.errors else 200)
