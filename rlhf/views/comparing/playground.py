"""The playground: chat with several versions side by side, and prefer a reply."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import access
from annotate.errors import Refused
from annotate.models import Project
from annotate.people.permissions import Capability, ProjectRequest, requires
from rlhf.ai_feedback import endpoints
from rlhf.ai_feedback.endpoints import Endpoint
from rlhf.loop.versions import policies
from rlhf.models import PlaygroundChat, PlaygroundReply, PlaygroundTurn, TrainingRun
from rlhf.playground import chats
from rlhf.playground.chats import Chosen
from rlhf.runs.queues import workers

CHATS_SHOWN = 20
ENDPOINT = "endpoint:"
"""Before the name of a server among the choices of a column; a version's key stands alone."""


class PlaygroundForm(forms.Form):
    """A new chat: a model and its settings for each column; from the third column on they may be left out.

    A model is a version of the project, or, for those who may, one on a server of the site.
    """

    is_blind = forms.BooleanField(
        required=False,
        label=gettext_lazy("Blind"),
        help_text=gettext_lazy("Names are hidden, and the order is random, until you prefer a reply."),
    )

    def __init__(self, *args: Any, project: Project, servers: Mapping[str, Endpoint], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        found = policies(project).select_related("author").order_by("-active", "-pk")
        self._versions = {str(version.pk): version for version in found}
        groups: list[tuple[Any, Any]] = [
            (_("Versions"), [(key, version.label) for key, version in self._versions.items()]),
            (_("Models on a server"), [(f"{ENDPOINT}{name}", name) for name in servers]),
        ]
        choices: Any = [("", _("Choose")), *[group for group in groups if group[1]]]
        self.has_choices = bool(self._versions or servers)
        self.names = ("version", *(("served_model",) if servers else ()), "temperature", "max_new_tokens")
        usual = chats.default_versions(project)
        for place in range(chats.MOST_COLUMNS):
            self.fields[f"version_{place}"] = forms.ChoiceField(
                choices=choices,
                required=place < 2,
                label=gettext_lazy("Model"),
                initial=str(usual[min(place, len(usual) - 1)].pk) if usual and place < 2 else None,
                error_messages={"required": gettext_lazy("Choose a model.")},
            )
            if servers:
                self.fields[f"served_model_{place}"] = forms.CharField(
                    required=False,
                    max_length=chats.LONGEST_MODEL_NAME,
                    label=gettext_lazy("Model of the server"),
                    help_text=gettext_lazy("For a server alone; empty takes the first one that it lists."),
                )
            self.fields[f"temperature_{place}"] = forms.FloatField(
                label=gettext_lazy("Temperature"),
                min_value=0.0,
                max_value=10.0,
                initial=0.7,
                widget=forms.NumberInput(attrs={"step": "any"}),
            )
            self.fields[f"max_new_tokens_{place}"] = forms.IntegerField(
                label=gettext_lazy("Most tokens"), min_value=1, max_value=chats.MOST_TOKENS, initial=256
            )

    def columns(self) -> list[list[forms.BoundField]]:
        return [[self[f"{name}_{place}"] for name in self.names] for place in range(chats.MOST_COLUMNS)]

    def chosen(self) -> list[Chosen]:
        places = [place for place in range(chats.MOST_COLUMNS) if self.cleaned_data[f"version_{place}"]]
        return [self._chosen(place) for place in places]

    def _chosen(self, place: int) -> Chosen:
        given = {name: self.cleaned_data[f"{name}_{place}"] for name in self.names}
        sampling = {name: given[name] for name in ("temperature", "max_new_tokens")}
        if given["version"].startswith(ENDPOINT):
            server = given["version"].removeprefix(ENDPOINT)
            return Chosen(endpoint=server, served_model=given["served_model"], sampling=sampling)
        return Chosen(version=self._versions[given["version"]], sampling=sampling)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Capability.TRAIN)
def playground(request: ProjectRequest) -> HttpResponse:
    """Begin a chat, or go back to an earlier one of one's own."""
    servers = endpoints.known() if Capability.MANAGE in request.capabilities else {}
    form = PlaygroundForm(request.POST or None, project=request.project, servers=servers)
    if request.method == "POST" and form.is_valid():
        try:
            chat = chats.begin(
                project=request.project,
                user=request.user,
                columns=form.chosen(),
                is_blind=form.cleaned_data["is_blind"],
            )
        except Refused as error:
            form.add_error(None, str(error))
        else:
            return redirect("rlhf:playground_chat", request.project.slug, chat.pk)
    context = {
        "project": request.project,
        "form": form,
        "chats": request.project.playground_chats.filter(user=request.user).prefetch_related("turns")[:CHATS_SHOWN],
        "queues_without_worker": sorted({TrainingRun.LIVE_QUEUE} - workers.listening()),
    }
    return render(request, "rlhf/playground.html", context, status=400 if form.errors else 200)


@require_safe
@requires(Capability.TRAIN)
def chat(request: ProjectRequest, chat_id: int) -> HttpResponse:
    """A chat; htmx asks for its turns while replies come, which also says that the page is there."""
    found = access.load(request, PlaygroundChat, pk=chat_id)
    return _page(request, found)


@require_POST
@requires(Capability.TRAIN)
def ask(request: ProjectRequest, chat_id: int) -> HttpResponse:
    found = access.load(request, PlaygroundChat, pk=chat_id)
    written = request.POST.get("message", "")
    try:
        chats.ask(found, written)
    except Refused as error:
        return _page(request, found, error=str(error), written=written, status=error.status)
    return redirect("rlhf:playground_chat", request.project.slug, chat_id)


@require_POST
@requires(Capability.TRAIN)
def stop(request: ProjectRequest, chat_id: int) -> HttpResponse:
    found = access.load(request, PlaygroundChat, pk=chat_id)
    chats.stop(found, by=request.user)
    return redirect("rlhf:playground_chat", request.project.slug, chat_id)


@require_POST
@requires(Capability.TRAIN)
def prefer(request: ProjectRequest, chat_id: int) -> HttpResponse:
    """Keep a preference between the replies of a turn."""
    found = access.load(request, PlaygroundChat, pk=chat_id)
    number = request.POST.get("turn", "")
    turn = (
        found.turns.filter(number=int(number)).first()
        if number.isascii() and number.isdecimal() and len(number) < 6
        else None
    )
    try:
        if turn is None:
            raise Refused(str(gettext_lazy("There is no such turn in this chat.")), status=404)
        chats.prefer(turn, request.POST.get("choice", ""), by=request.user)
    except Refused as error:
        messages.error(request, str(error))
    return redirect("rlhf:playground_chat", request.project.slug, chat_id)


def _page(
    request: ProjectRequest, found: PlaygroundChat, *, error: str = "", written: str = "", status: int = 200
) -> HttpResponse:
    chats.seen(found)
    turns = list(found.turns.prefetch_related("replies__run", "replies__column__version", "judgment__latest"))
    is_hidden = found.is_blind and not any(turn.judgment_id for turn in turns)
    rows = [_shown(turn, is_hidden=is_hidden) for turn in turns]
    is_waiting = any(row["is_waiting"] for row in rows)
    context = {
        "project": request.project,
        "chat": found,
        "columns": found.columns.select_related("version"),
        "rows": rows,
        "is_hidden": is_hidden,
        "is_waiting": is_waiting,
        "shows_scores": Capability.MANAGE in request.capabilities and not is_hidden,
        "queues_without_worker": sorted({TrainingRun.LIVE_QUEUE} - workers.listening()),
        "error": error,
        "written": written,
    }
    is_fragment = request.headers.get("HX-Target") == "turns"
    return render(
        request,
        "rlhf/playground_chat.html#turns" if is_fragment else "rlhf/playground_chat.html",
        context,
        status=status,
    )


def _failure(reply: PlaygroundReply, *, is_hidden: bool) -> Any:
    """Why a reply failed, as a stored message; of a blind chat without the server's name and words."""
    failure: dict[str, Any] = reply.run.failure
    if not failure:
        return reply.run.error
    if is_hidden and reply.column.endpoint:
        hidden = {name: "…" for name in ("endpoint", "reason") if name in failure["values"]}
        return failure | {"values": failure["values"] | hidden}
    return failure


def _shown(turn: PlaygroundTurn, *, is_hidden: bool) -> dict[str, Any]:
    replies = list(turn.replies.all())
    is_waiting = any(reply.run.status not in TrainingRun.ENDED for reply in replies)
    return {
        "turn": turn,
        "message": turn.messages[-1]["content"],
        "replies": [(reply, _failure(reply, is_hidden=is_hidden)) for reply in replies],
        "is_waiting": is_waiting,
        "can_judge": turn.judgment_id is None and not is_waiting and all(reply.is_done for reply in replies),
        "is_bad": turn.judgment is not None
        and turn.judgment.latest is not None
        and turn.judgment.latest.all_unacceptable,
        "is_hidden": is_hidden,
    }
