"""Comparisons that come into the queue."""

from collections.abc import Sequence

from django.db import transaction

from annotate.errors import Refused
from annotate.labeling.ordering import Ordering
from annotate.labeling.queue.adaptive_overlap import first_overlap
from annotate.labeling.queue.leases import raise_epoch
from annotate.models import Project, Prompt, Response, Task, TaskResponse


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
        raise Refused("A task compares responses to one prompt of its project.", status=400)
    if not Project.MIN_RESPONSES <= len(responses) <= Project.MAX_RESPONSES:
        raise Refused(f"A task compares {Project.MIN_RESPONSES} to {Project.MAX_RESPONSES} responses.", status=400)
    if gold_tiers is not None:
        gold_tiers = Ordering.validated(gold_tiers, [response.pk for response in responses]).tiers
    with transaction.atomic():
        overlap = first_overlap(Project.objects.get(pk=project.pk))
        task = Task.objects.create(
            project=project,
            prompt=prompt,
            judgments_wanted=overlap,
            slots_free=overlap,
            priority=priority,
            gold_tiers=gold_tiers,
            has_edits=Response.include_edits(responses),
        )
        TaskResponse.objects.bulk_create(
            TaskResponse(task=task, response=response, number=number) for number, response in enumerate(responses)
        )
        raise_epoch(project_id=project.pk)
    return task
