"""Tasks that a manager makes: answers to write, prompts to write, answers to rate, chats to lead. And takes out again.

Comparisons come from models' answers (see annotate.labeling.queue.task_creation); these come from prompts and answers
that are there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Sum
from django.utils.translation import gettext as _

from annotate.data import text
from annotate.data.pacing import Pace
from annotate.errors import Refused
from annotate.labeling.queue import leases
from annotate.models import Assignment, Project, Prompt, Response, Task, TaskResponse, User
from annotate.people import audit
from annotate.people.permissions import Capability, ensure

Kind = Task.Kind
State = Task.State
MADE_HERE = (Kind.DEMONSTRATE, Kind.WRITE_PROMPT, Kind.RATE, Kind.CHAT)
MOST_AT_ONCE = 2_000
MOST_JUDGMENTS = 50
LONGEST_INSTRUCTIONS = 20_000
FILTERS = {"kind": Prompt.Kind.values, "use_case": Prompt.UseCase.values, "split": Prompt.Split.values}


@dataclass(frozen=True, kw_only=True)
class KindCount:
    """The tasks of one kind in a project. `on`: labelers get them."""

    kind: Kind
    on: bool
    open: int
    complete: int
    withdrawn: int
    judgments: int

    @property
    def label(self) -> str:
        return str(self.kind.label)


def counts(project: Project) -> list[KindCount]:
    """Every kind of task, also those that there are none of."""
    grouped = (
        Task.objects.filter(project=project)
        .order_by()
        .values("kind")
        .annotate(
            open=Count("pk", filter=Q(state=State.OPEN)),
            complete=Count("pk", filter=Q(state=State.COMPLETE)),
            withdrawn=Count("pk", filter=Q(state=State.WITHDRAWN)),
            given=Sum("judgments_given"),
        )
    )
    found = {row["kind"]: row for row in grouped}
    none = {"open": 0, "complete": 0, "withdrawn": 0, "given": 0}
    return [
        KindCount(
            kind=kind,
            on=kind in project.task_kinds,
            open=row["open"],
            complete=row["complete"],
            withdrawn=row["withdrawn"],
            judgments=row["given"],
        )
        for kind in Kind
        for row in [found.get(kind, none)]
    ]


def add(
    *,
    project: Project,
    by: User,
    kind: str,
    count: int,
    judgments: int = 1,
    instructions: str = "",
    filters: Mapping[str, str] | None = None,
    priority: int = 0,
) -> int:
    """Queue up to `count` tasks of a kind; returns how many there was something for.

    filters: of the prompts by "kind", "use_case" and "split"; of a prompt to write what is asked for, "split" aside.
    A prompt that has such a task, or an answer that was rated, isn't asked for again. Raises NotYours and Refused.
    """
    ensure(by, Capability.MANAGE, project)
    wanted = {name: value for name, value in (filters or {}).items() if value}
    _check(project, kind=kind, count=count, judgments=judgments, filters=wanted)
    instructions = text.as_written(text.checked(instructions, name=_("The instructions"), longest=LONGEST_INSTRUCTIONS))
    task_instructions = {"instructions": instructions} if instructions else {}
    common = {
        "project": project,
        "kind": kind,
        "judgments_wanted": judgments,
        "slots_free": judgments,
        "priority": priority,
    }
    if kind == Kind.WRITE_PROMPT:
        task_instructions |= {name: value for name, value in wanted.items() if name != "split"}
        keys: Iterable[int] = range(count)
    else:
        rows = _unrated(project, wanted) if kind == Kind.RATE else _unasked(project, kind, wanted)
        keys = list(rows.values_list("pk", flat=True)[:count])
    made, pace = 0, Pace()
    for batch in pace.batches(keys):
        with pace.transaction():
            made += _add(project, kind, batch, wanted, common | {"task_instructions": task_instructions})
            leases.raise_epoch(project_id=project.pk)
    if not made:
        raise Refused(_("There is nothing left to make such a task of: choose other prompts, or import some."))
    audit.record(verb="tasks.added", actor=by, subject=project, project=project, kind=kind, count=made)
    return made


def _add(project: Project, kind: str, keys: list[int], wanted: Mapping[str, str], common: Mapping[str, Any]) -> int:
    """Queue tasks for some prompts or answers, as far as nobody else has meanwhile; how many."""
    if kind == Kind.WRITE_PROMPT:
        return len(Task.objects.bulk_create(Task(**common) for _number in keys))
    if kind != Kind.RATE:
        prompts = _unasked(project, kind, wanted).filter(pk__in=keys)
        return len(Task.objects.bulk_create(Task(**common, prompt=prompt) for prompt in prompts))
    responses = list(_unrated(project, wanted).filter(pk__in=keys))
    made = Task.objects.bulk_create(Task(**common, prompt_id=response.prompt_id) for response in responses)
    TaskResponse.objects.bulk_create(
        TaskResponse(task=task, response=response, number=0) for task, response in zip(made, responses, strict=True)
    )
    return len(made)


def withdraw(*, project: Project, by: User, kind: str) -> int:
    """Take the open tasks of a kind out of the queue; returns how many. What was said of them stays, late work too."""
    ensure(by, Capability.MANAGE, project)
    open_tasks = Task.objects.filter(project=project, kind=kind, state=State.OPEN)
    pace, withdrawn = Pace(), 0
    for batch in pace.batches(list(open_tasks.order_by("pk").values_list("pk", flat=True))):
        with pace.transaction():
            held = Assignment.objects.filter(state__in=Assignment.HELD, task__in=batch)
            locked = held.select_for_update(of=("self",), no_key=True).select_related("project").order_by("task")
            for assignment in locked:
                leases.end(assignment, state=Assignment.State.EXPIRED)
            withdrawn += open_tasks.filter(pk__in=batch).update(state=State.WITHDRAWN, slots_free=0)
    if withdrawn:
        audit.record(verb="tasks.withdrawn", actor=by, subject=project, project=project, kind=kind, count=withdrawn)
    return withdrawn


def restore(*, project: Project, by: User, kind: str) -> int:
    """Put the withdrawn tasks of a kind back into the queue; returns how many."""
    ensure(by, Capability.MANAGE, project)
    tasks = Task.objects.filter(project=project, kind=kind, state=State.WITHDRAWN)
    # A withdrawn task that has enough, as a chat's comparison that was taken back, isn't work for anybody.
    wanting = tasks.filter(judgments_given__lt=F("judgments_wanted")).exclude(_is_of_a_chat())
    pace, restored = Pace(), 0
    for batch in pace.batches(list(wanting.order_by("pk").values_list("pk", flat=True))):
        with pace.transaction():
            free = F("judgments_wanted") - F("judgments_given")
            restored += wanting.filter(pk__in=batch).update(state=State.OPEN, slots_free=free)
            leases.raise_epoch(project_id=project.pk)
    if restored:
        audit.record(verb="tasks.restored", actor=by, subject=project, project=project, kind=kind, count=restored)
    return restored


def _is_of_a_chat() -> Q:
    return Q(Exists(Assignment.objects.filter(task=OuterRef("pk"), judgment__chat_turn__isnull=False)))


def _check(project: Project, *, kind: str, count: int, judgments: int, filters: Mapping[str, str]) -> None:
    if kind not in MADE_HERE:
        raise Refused(
            _("Comparisons are made of models' answers: let a model answer prompts, or import answers."), status=400
        )
    if not 1 <= count <= MOST_AT_ONCE:
        raise Refused(_("Make from 1 to %(most)d tasks at once.") % {"most": MOST_AT_ONCE}, status=400)
    if not 1 <= judgments <= MOST_JUDGMENTS:
        raise Refused(_("A task wants from 1 to %(most)d judgments.") % {"most": MOST_JUDGMENTS}, status=400)
    for name, value in filters.items():
        if value not in FILTERS.get(name, []):
            raise Refused(_("Prompts can't be chosen like that."), status=400)
    rubric = project.rubric
    if kind == Kind.RATE and not (rubric and rubric.criteria):
        raise Refused(_("Rating asks by the project's rubric, which has no criteria yet: write some in the settings."))


def _unasked(project: Project, kind: str, filters: Mapping[str, str]) -> QuerySet[Prompt]:
    """Prompts that have no task of the kind, oldest first. A chat's own turns were answered in it."""
    asked = Task.objects.filter(prompt=OuterRef("pk"), kind=kind).exclude(state=State.WITHDRAWN)
    prompts = Prompt.objects.filter(~Exists(asked), project=project, opening=None, **filters)
    return prompts.order_by("pk")


def _unrated(project: Project, filters: Mapping[str, str]) -> QuerySet[Response]:
    """Answers that have no task to rate them, oldest first, but for those that people are known to have written."""
    rated = TaskResponse.objects.filter(response=OuterRef("pk"), task__kind=Kind.RATE).exclude(
        task__state=State.WITHDRAWN
    )
    of_prompts: dict[str, Any] = {f"prompt__{name}": value for name, value in filters.items()}
    responses = Response.objects.filter(~Exists(rated), prompt__project=project, **of_prompts)
    return responses.exclude(author__kind="person").order_by("pk")
