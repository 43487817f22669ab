"""What comes into the queue: tasks, and how many judgments they want."""

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Case, Count, Exists, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce, Greatest

from annotate.data.pacing import Pace
from annotate.errors import Refused
from annotate.labeling.ordering import Ordering
from annotate.labeling.queue.leases import raise_epoch
from annotate.models import Assignment, Judgment, Project, Prompt, Response, Task, TaskResponse

IMPORTED = "imported:"
"""How the names of accounts begin that stand for people outside, see imported_rows."""


def add_comparison(
    *,
    project: Project,
    prompt: Prompt,
    responses: Sequence[Response],
    gold_tiers: Sequence[Sequence[int]] | None = None,
    priority: int = 0,
) -> Task:
    """Queue a task to compare 2 to 9 responses of a prompt, for as many judgments as the project's overlap.

    gold_tiers: a known ordering as tiers of response ids, or None.
    """
    if prompt.project_id != project.pk or any(response.prompt_id != prompt.pk for response in responses):
        raise Refused("A task compares answers to one prompt of its project.", status=400)
    if not Project.MIN_RESPONSES <= len(responses) <= Project.MAX_RESPONSES:
        raise Refused(f"A task compares {Project.MIN_RESPONSES} to {Project.MAX_RESPONSES} answers.", status=400)
    if gold_tiers is not None:
        gold_tiers = Ordering.validated(gold_tiers, [response.pk for response in responses]).tiers
    with transaction.atomic():
        overlap = Project.objects.values_list("overlap", flat=True).get(pk=project.pk)
        task = Task.objects.create(
            project=project,
            prompt=prompt,
            judgments_wanted=overlap,
            slots_free=overlap,
            priority=priority,
            gold_tiers=gold_tiers,
        )
        TaskResponse.objects.bulk_create(
            TaskResponse(task=task, response=response, number=number) for number, response in enumerate(responses)
        )
        raise_epoch(project_id=project.pk)
    return task


def set_overlap(*, project: Project, overlap: int) -> int:
    """Make `overlap` the number of judgments that comparisons want; returns how many tasks changed.

    An open task that has enough already is complete, and a complete one that has too few is open again, but for those
    that came judged, by a file or out of a chat. Leases that are out stay good. The other kinds of task are made with
    a number of their own, and keep it. Many tasks are changed in many short transactions: done again after one was
    interrupted, it changes the rest; a newer change of the overlap takes the place of this one.
    """
    Project.objects.filter(pk=project.pk).update(overlap=overlap)
    keys = list(_wanting_otherwise(project, overlap).order_by("pk").values_list("pk", flat=True))
    pace, changed = Pace(), 0
    for batch in pace.batches(keys):
        with pace.transaction():
            # Locked first: the update must count the leases of a claim that is just committing.
            tasks = _wanting_otherwise(project, overlap).filter(pk__in=batch).order_by("pk")
            locked = list(tasks.select_for_update(of=("self",), no_key=True).values_list("pk", flat=True))
            if Project.objects.values_list("overlap", flat=True).get(pk=project.pk) != overlap:
                return changed
            changed += _want(locked, overlap)
            raise_epoch(project_id=project.pk)
    return changed


def _wanting_otherwise(project: Project, overlap: int) -> QuerySet[Task]:
    brought = Judgment.objects.filter(task=OuterRef("pk")).filter(
        Q(chat_turn__isnull=False) | Q(labeler__username__startswith=IMPORTED)
    )
    has_too_few = Q(state=Task.State.COMPLETE, judgments_given__lt=overlap) & ~Exists(brought)
    comparisons = Task.objects.filter(project=project, kind=Task.Kind.COMPARE).exclude(judgments_wanted=overlap)
    return comparisons.filter(Q(state=Task.State.OPEN) | has_too_few)


def _want(tasks: list[int], overlap: int) -> int:
    held = (
        Assignment.objects.filter(task=OuterRef("pk"), state__in=Assignment.HELD)
        .order_by()
        .values("task")
        .annotate(held=Count("pk"))
        .values("held")
    )
    enough = When(judgments_given__gte=overlap, then=Value(Task.State.COMPLETE))
    return Task.objects.filter(pk__in=tasks).update(
        judgments_wanted=overlap,
        slots_free=Greatest(0, overlap - F("judgments_given") - Coalesce(Subquery(held), 0)),
        state=Case(enough, default=Value(Task.State.OPEN)),
    )
