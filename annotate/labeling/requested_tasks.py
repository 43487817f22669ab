"""Tasks that a manager makes of the prompts and responses that are there, and takes out of the queue again.

Which kinds these are, and what they are made from, is said by annotate.labeling.task_kinds. Comparisons come from
models' responses instead (see annotate.labeling.queue.task_creation).
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from annotate.data import text
from annotate.data.pacing import Pace
from annotate.errors import Refused
from annotate.labeling import task_kinds
from annotate.labeling.queue import leases
from annotate.labeling.task_kinds import MadeFrom
from annotate.models import Assignment, Project, Prompt, Response, Task, TaskResponse, User
from annotate.people import audit
from annotate.people.permissions import Capability, ensure

State = Task.State
MOST_AT_ONCE = 2_000
MOST_JUDGMENTS = 50
LONGEST_INSTRUCTIONS = 20_000
MOST_AUDITED = 100
"""Numbers of tasks that an event of the audit log names."""
FILTERS = {"kind": Prompt.Kind.values, "use_case": Prompt.UseCase.values, "split": Prompt.Split.values}


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

    filters: of the prompts by "kind", "use_case" and "split". Kinds that are made from nothing ask for that kind and
    use case. A prompt or response that has a task of the kind gets no other. Raises NotYours and Refused.
    """
    ensure(by, Capability.MANAGE, project)
    wanted = {name: value for name, value in (filters or {}).items() if value}
    made_from = _checked_source(project, kind=kind, count=count, judgments=judgments, filters=wanted)
    instructions = text.as_written(text.checked(instructions, name=_("The instructions"), longest=LONGEST_INSTRUCTIONS))
    task_instructions = {"instructions": instructions} if instructions else {}
    common = {
        "project": project,
        "kind": kind,
        "judgments_wanted": judgments,
        "slots_free": judgments,
        "priority": priority,
    }
    keys: Iterable[int] = range(count)
    if made_from == MadeFrom.NOTHING:
        task_instructions |= {name: value for name, value in wanted.items() if name != "split"}
    elif made_from == MadeFrom.RESPONSES:
        keys = list(_unused_responses(project, kind, wanted).values_list("pk", flat=True)[:count])
    else:
        keys = list(_unused_prompts(project, kind, wanted).values_list("pk", flat=True)[:count])
    made, pace = 0, Pace()
    for batch in pace.batches(keys):
        with pace.transaction():
            made += _add(project, made_from, batch, wanted, common | {"task_instructions": task_instructions})
            leases.raise_epoch(project_id=project.pk)
    if not made:
        raise Refused(_("There is nothing left to make such a task of: choose other prompts, or import some."))
    audit.record(verb="tasks.added", actor=by, subject=project, project=project, kind=kind, count=made)
    return made


def _add(
    project: Project, made_from: MadeFrom, keys: list[int], wanted: Mapping[str, str], common: Mapping[str, Any]
) -> int:
    """Queue tasks for some prompts or responses, as far as nobody else has meanwhile; returns how many."""
    if made_from == MadeFrom.NOTHING:
        return len(Task.objects.bulk_create(Task(**common) for _number in keys))
    if made_from == MadeFrom.PROMPTS:
        prompts = _unused_prompts(project, common["kind"], wanted).filter(pk__in=keys)
        return len(Task.objects.bulk_create(Task(**common, prompt=prompt) for prompt in prompts))
    responses = list(_unused_responses(project, common["kind"], wanted).filter(pk__in=keys))
    made = Task.objects.bulk_create(
        Task(**common, prompt_id=response.prompt_id, has_edits=Response.include_edits([response]))
        for response in responses
    )
    TaskResponse.objects.bulk_create(
        TaskResponse(task=task, response=response, number=0) for task, response in zip(made, responses, strict=True)
    )
    return len(made)


def withdraw(*, project: Project, by: User, kind: str = "", numbers: Collection[int] | None = None) -> int:
    """Take the open tasks of a kind, or these, out of the queue; returns how many. What was said of them stays, late
    work too."""
    ensure(by, Capability.MANAGE, project)
    open_tasks = _chosen(project, kind, numbers).filter(state=State.OPEN)
    pace, withdrawn = Pace(), 0
    for batch in pace.batches(list(open_tasks.order_by("pk").values_list("pk", flat=True))):
        with pace.transaction():
            held = Assignment.objects.filter(state__in=Assignment.HELD, task__in=batch)
            locked = held.select_for_update(of=("self",), no_key=True).select_related("project").order_by("task")
            for assignment in locked:
                leases.end(assignment, state=Assignment.State.EXPIRED)
            withdrawn += open_tasks.filter(pk__in=batch).update(state=State.WITHDRAWN, slots_free=0)
    if withdrawn:
        chosen = {"kind": kind} if kind else {"tasks": sorted(numbers or ())[:MOST_AUDITED]}
        audit.record(verb="tasks.withdrawn", actor=by, subject=project, project=project, count=withdrawn, **chosen)
    return withdrawn


def restore(*, project: Project, by: User, kind: str = "", numbers: Collection[int] | None = None) -> int:
    """Put the withdrawn tasks of a kind, or these, back into the queue; returns how many."""
    ensure(by, Capability.MANAGE, project)
    tasks = _chosen(project, kind, numbers).filter(state=State.WITHDRAWN)
    # A withdrawn task that has enough, as a chat's comparison that was taken back, isn't work for anybody.
    wanting = tasks.filter(judgments_given__lt=F("judgments_wanted")).exclude(_is_of_a_chat())
    pace, restored = Pace(), 0
    for batch in pace.batches(list(wanting.order_by("pk").values_list("pk", flat=True))):
        with pace.transaction():
            free = F("judgments_wanted") - F("judgments_given")
            restored += wanting.filter(pk__in=batch).update(state=State.OPEN, slots_free=free)
            leases.raise_epoch(project_id=project.pk)
    if restored:
        chosen = {"kind": kind} if kind else {"tasks": sorted(numbers or ())[:MOST_AUDITED]}
        audit.record(verb="tasks.restored", actor=by, subject=project, project=project, count=restored, **chosen)
    return restored


def _chosen(project: Project, kind: str, numbers: Collection[int] | None) -> QuerySet[Task]:
    tasks = Task.objects.filter(project=project)
    return tasks.filter(kind=kind) if numbers is None else tasks.filter(pk__in=numbers)


def _is_of_a_chat() -> Q:
    return Q(Exists(Assignment.objects.filter(task=OuterRef("pk"), judgment__chat_turn__isnull=False)))


def kind_choices() -> list[tuple[str, str]]:
    """(name, label) of the kinds that a manager can have made."""
    return [(kind.name, str(kind.label)) for kind in task_kinds.registered() if kind.made_from is not None]


def _checked_source(project: Project, *, kind: str, count: int, judgments: int, filters: Mapping[str, str]) -> MadeFrom:
    """What tasks of the kind are made from. Raises Refused (400)."""
    known = task_kinds.get(kind) if kind in task_kinds.names() else None
    if known is None or known.made_from is None:
        raise Refused(
            _("Comparisons are made of models' responses: let a model respond to prompts, or import responses."),
            status=400,
        )
    if not 1 <= count <= MOST_AT_ONCE:
        raise Refused(_("Make from 1 to %(most)d tasks at once.") % {"most": MOST_AT_ONCE}, status=400)
    if not 1 <= judgments <= MOST_JUDGMENTS:
        raise Refused(_("A task wants from 1 to %(most)d judgments.") % {"most": MOST_JUDGMENTS}, status=400)
    for name, value in filters.items():
        if value not in FILTERS.get(name, []):
            raise Refused(_("Prompts can't be chosen like that."), status=400)
    known.check_project(project)
    return known.made_from


def _unused_prompts(project: Project, kind: str, filters: Mapping[str, str]) -> QuerySet[Prompt]:
    """Prompts that have no task of the kind, oldest first. A chat's own turns have their responses in it."""
    asked = Task.objects.filter(prompt=OuterRef("pk"), kind=kind).exclude(state=State.WITHDRAWN)
    prompts = Prompt.objects.filter(~Exists(asked), project=project, opening=None, **filters)
    return prompts.order_by("pk")


def _unused_responses(project: Project, kind: str, filters: Mapping[str, str]) -> QuerySet[Response]:
    """Responses that have no task of the kind, oldest first, but for those that people are known to have written."""
    rated = TaskResponse.objects.filter(response=OuterRef("pk"), task__kind=kind).exclude(task__state=State.WITHDRAWN)
    of_prompts: dict[str, Any] = {f"prompt__{name}": value for name, value in filters.items()}
    responses = Response.objects.filter(~Exists(rated), prompt__project=project, **of_prompts)
    return responses.exclude(author__kind="person").order_by("pk")
