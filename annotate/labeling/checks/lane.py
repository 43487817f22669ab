"""The lane of hidden checks beside the slots of the queue: one lane for gold tasks, repeats, calibration tasks, and the
comparisons of a head-to-head evaluation.

A claim asks here before it asks the queue, under the lock of the labeler's cursor. What it finds costs as many queries
as an ordinary task does (two in place of the search and the update of the slots), and where nothing is left of the kind
that was drawn, one query more than without the lane.
"""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Exists, F, OuterRef, QuerySet, Subquery

from annotate.labeling.checks import draws
from annotate.labeling.sensitive_content import visibility
from annotate.models import Assignment, Judgment, Project, QueueCursor, Task, TaskResponse, User

if TYPE_CHECKING:
    from annotate.labeling.queue.work_rules import WorkRules

State = Task.State
REPEAT_GAP = 20
"""Comparisons of the labeler's own that lie between a task and its repeat, at least."""
REPEAT_WINDOW = 200
"""Of the comparisons before those, how many are looked at for one to repeat."""
MOST_LOOKED_AT = 200
"""Tasks of a kind among which the next one is drawn."""
MOST_COUNTED = 1_000


@dataclass(frozen=True, kw_only=True)
class Check:
    """The next task of the lane. responses: of a repeat, which was made just now; None where the task was there."""

    task: Task
    responses: list[int] | None = None


def gives_checks(project: Project) -> bool:
    rates = (project.gold_rate, project.repeat_rate, project.evaluation_share)
    return any(rate > 0 for rate in rates) or project.calibration_version > 0


def is_on(project: Project, cursor: QueueCursor) -> bool:
    """Whether this labeler may be given hidden checks at all: they are comparisons."""
    compares = Task.Kind.COMPARE in project.task_kinds and cursor.kind in ("", Task.Kind.COMPARE)
    return compares and gives_checks(project)


def lapsed_check(*, labeler: int, project: int, spared: bool) -> Subquery:
    """For the query of the cursor: the task of a check of theirs whose lease ran out. It is given again before any
    other, as an ordinary task would be. `spared`: of prompts that may upset."""
    lapsed = Assignment.objects.filter(
        labeler_id=labeler, project_id=project, state=Assignment.State.EXPIRED, is_check=True
    )
    tasks = Task.objects.filter(pk__in=lapsed.order_by().values("task"), state__in=Task.CHECKS)
    if spared:
        tasks = tasks.filter(prompt__sensitive=False)
    return Subquery(tasks.order_by().values("pk")[:1])


def next_check(rules: "WorkRules", *, cursor: QueueCursor, after: Task | None) -> Check | None:
    """The hidden check that comes now, if one does. Counts its draw; that of an ordinary task is counted with it.

    `after` is the task that the labeler had before: a check of the same prompt does not follow it.
    """
    labeler, project = rules.labeler, rules.project
    if not is_on(project, cursor):
        return None
    # See leases.locked_cursor. Of two leases in one transaction the first one takes it.
    lapsed: int | None = vars(cursor).pop("lapsed_check", None)
    if lapsed is not None:
        task = Task.objects.select_related("prompt").get(pk=lapsed)
        if task.state != State.EVALUATION or _take_place(task):
            return Check(task=task)
    calibrating = cursor.calibrated < project.calibration_version
    draw = draws.drawn(cursor, cursor.draws)
    kind = draws.kind(draw, project=project, calibrating=calibrating)
    if not kind:
        return None
    if kind == State.EVALUATION:
        if (check := _of_evaluation(rules, after=after)) is not None:
            _count_draw(cursor)
        return check
    if kind == State.REPEAT:
        earlier = _not_repeated(labeler=labeler, project=project).order_by("-created_at")
        left = list(earlier.values_list("pk", "task__prompt")[REPEAT_GAP : REPEAT_GAP + REPEAT_WINDOW])
    else:
        # Not locked: a check takes no slot, and whatever becomes of its task meanwhile, its judgment is a check's.
        left = list(_not_seen(kind, rules).values_list("pk", "prompt")[:MOST_LOOKED_AT])
    keys = sorted(key for key, prompt in left if after is None or prompt != after.prompt_id)
    if not left and kind == State.CALIBRATION:
        # Saved with the draw of the ordinary task that comes in its place.
        cursor.calibrated = project.calibration_version
    if not keys:
        return None
    key = random.Random(draw).choice(keys)
    _count_draw(cursor)
    if kind == State.REPEAT:
        return _new_repeat(Judgment.objects.select_related("task__prompt", "assignment").get(pk=key))
    return Check(task=Task.objects.select_related("prompt").get(pk=key))


def left_of_evaluation(rules: "WorkRules", *, cursor: QueueCursor) -> Check | None:
    """A comparison of the evaluation under way for a labeler to whom the queue has nothing else to give.

    Without it an evaluation would wait for ordinary tasks to hide among. It uses up no draw.
    """
    if not (rules.project.evaluation_share and is_on(rules.project, cursor)):
        return None
    return _of_evaluation(rules, after=None)


def _of_evaluation(rules: "WorkRules", *, after: Task | None) -> Check | None:
    """The next comparison of an evaluation, with a place of it taken, as of an ordinary task: by as many queries.

    All labelers go through them in the same random order, so that prompts are complete early.
    """
    left = _not_seen(State.EVALUATION, rules).select_related("prompt").order_by("position")
    if after is not None:
        left = left.exclude(prompt=after.prompt_id)
    task = left.select_for_update(skip_locked=True, of=("self",), no_key=True).first()
    return Check(task=task) if task is not None and _take_place(task) else None


def _take_place(task: Task) -> bool:
    """Take a place of a comparison of an evaluation. False where there is none left."""
    free = Task.objects.filter(pk=task.pk, state=State.EVALUATION, slots_free__gt=0)
    return free.update(slots_free=F("slots_free") - 1) == 1


def count_places(task: Task) -> None:
    """Count the free places of a comparison of an evaluation again, inside the caller's transaction: by its
    assignments, since `judgments_given` counts what is data."""
    if task.state != State.EVALUATION:
        return
    locked = Task.objects.select_for_update(no_key=True).filter(pk=task.pk, state=State.EVALUATION)
    wanted = locked.values_list("judgments_wanted", flat=True).first()
    taken = task.assignments.filter(state__in=[*Assignment.HELD, Assignment.State.SUBMITTED]).count()
    if wanted is not None:
        Task.objects.filter(pk=task.pk).update(slots_free=max(0, wanted - taken))


def _count_draw(cursor: QueueCursor) -> None:
    cursor.draws += 1
    cursor.save(update_fields=["draws"])


def left_with(rules: "WorkRules", *, tasks: Mapping[str, int]) -> int:
    """How many hidden checks a labeler gets along with these ordinary tasks, {kind: how many}: the one they hold, those
    whose leases ran out, and what the coming draws give.

    Pages count them with the rest, or the number that is left would stand still exactly when a check was submitted.
    """
    labeler, project = rules.labeler, rules.project
    cursor = QueueCursor.objects.filter(labeler=labeler, project=project).first()
    if cursor is None or not is_on(project, cursor):
        return 0
    own = Assignment.objects.filter(labeler=labeler, project=project)
    held = list(own.filter(ended_at=None, state__in=Assignment.HELD).values_list("is_check", flat=True))
    if rules.pause is not None:
        return held.count(True)
    lapsed = own.filter(state=Assignment.State.EXPIRED, is_check=True, task__state__in=Task.CHECKS).count()
    ordinary = sum(count for kind, count in tasks.items() if cursor.kind in ("", kind)) - held.count(False)
    # Of an evaluation all come in the end, by a draw or when nothing else is left.
    evaluated = _not_seen(State.EVALUATION, rules)[:MOST_COUNTED].count() if project.evaluation_share else 0
    coming = _coming(rules, cursor=cursor, ordinary=ordinary, evaluated=evaluated)
    return held.count(True) + lapsed + evaluated + coming


def _coming(rules: "WorkRules", *, cursor: QueueCursor, ordinary: int, evaluated: int) -> int:
    """How many draws give a check before the labeler has got `ordinary` more tasks and asks for another one.

    The `evaluated` of an evaluation are counted by the caller, and take no turn of an ordinary task.
    """
    labeler, project = rules.labeler, rules.project
    gold = _not_seen(State.GOLD, rules)[:MOST_COUNTED].count() if project.gold_rate else 0
    calibrating = cursor.calibrated < project.calibration_version
    calibration = _not_seen(State.CALIBRATION, rules).count() if calibrating else 0
    repeats = _not_repeated(labeler=labeler, project=project)[: REPEAT_GAP + REPEAT_WINDOW].count() - REPEAT_GAP
    left: Counter[str] = Counter({State.GOLD: gold, State.CALIBRATION: calibration, State.EVALUATION: evaluated})
    left[State.REPEAT] = repeats if project.repeat_rate else -MOST_COUNTED
    number, found = cursor.draws, 0
    while ordinary >= 0:
        draw = draws.drawn(cursor, number)
        kind = draws.kind(draw, project=project, calibrating=left[State.CALIBRATION] > 0)
        if kind and left[kind] > 0:
            left[kind] -= 1
            found += kind != State.EVALUATION
        else:
            # What is judged now can be repeated later.
            left[State.REPEAT] += 1
            ordinary -= 1
        number += 1
    return found


def _not_seen(state: str, rules: "WorkRules") -> QuerySet[Task]:
    """Tasks of this state that the labeler has not had and may be given; of an evaluation those that want judgments."""
    labeler, project = rules.labeler, rules.project
    seen = Assignment.objects.filter(task=OuterRef("pk"), labeler=labeler)
    tasks = Task.objects.filter(~Exists(seen), project=project, kind=Task.Kind.COMPARE, state=state)
    if state == State.EVALUATION:
        tasks = tasks.filter(slots_free__gt=0)
    return rules.allowed(visibility.allowed_tasks(tasks, labeler=labeler, project=project)).order_by()


def _not_repeated(*, labeler: User, project: Project) -> QuerySet[Judgment]:
    """The labeler's comparisons that have not been repeated."""
    repeated = Task.objects.filter(repeat_of=OuterRef("task"), assignments__labeler=labeler)
    own = Judgment.objects.filter(
        Judgment.COUNTED, ~Exists(repeated), labeler=labeler, project=project, chat_turn=None
    ).filter(task__kind=Task.Kind.COMPARE)
    if visibility.is_spared(labeler, project):
        own = own.filter(task__prompt__sensitive=False)
    return own.order_by()


def _new_repeat(judged: Judgment) -> Check:
    """A new task with the prompt and the responses of one that the labeler judged before."""
    first, responses = judged.task, sorted(judged.assignment.presentation)
    task = Task.objects.create(
        project_id=first.project_id,
        kind=first.kind,
        prompt=first.prompt,
        repeat_of=first,
        task_instructions=first.task_instructions,
        has_edits=first.has_edits,
        state=State.REPEAT,
        slots_free=0,
    )
    TaskResponse.objects.bulk_create(
        TaskResponse(task=task, response_id=response, number=number) for number, response in enumerate(responses)
    )
    return Check(task=task, responses=responses)
