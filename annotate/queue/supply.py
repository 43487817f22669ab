"""What comes into the queue: tasks, and how many judgments they want."""

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Count, F, OuterRef, Subquery
from django.db.models.functions import Coalesce, Greatest

from annotate.errors import Refused
from annotate.models import Assignment, Project, Prompt, Response, Task, TaskResponse
from annotate.ordering import Ordering

from .leases import raise_epoch


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
    """Make `overlap` the number of judgments wanted, of open tasks too; returns how many tasks changed.

    A task that has enough already is complete. Leases that are out stay good.
    """
    with transaction.atomic():
        tasks = Task.objects.filter(project=project, state=Task.State.OPEN).exclude(judgments_wanted=overlap)
        # Locked first: the update below must count the leases of a claim that is just committing.
        ids = list(tasks.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True))
        held = (
            Assignment.objects.filter(task=OuterRef("pk"), state__in=Assignment.HELD)
            .order_by()
            .values("task")
            .annotate(held=Count("pk"))
            .values("held")
        )
        changed = tasks.update(
            judgments_wanted=overlap,
            slots_free=Greatest(0, overlap - F("judgments_given") - Coalesce(Subquery(held), 0)),
        )
        Task.objects.filter(pk__in=ids, judgments_given__gte=overlap).update(state=Task.State.COMPLETE)
        Project.objects.filter(pk=project.pk).update(overlap=overlap)
        raise_epoch(project_id=project.pk)
    return changed
