"""A project as the beginning of another: settings, guidelines, rubric, and by choice the exam and the people.

Never prompts, responses, tasks or judgments, but for the comparisons of the exam, of which the new project gets its
own.
"""

from django.db import transaction

from annotate.models import Membership, Project, Prompt, Response, Task, TaskResponse, User
from annotate.people import audit
from annotate.people.permissions import Capability, ensure
from annotate.people.projects import FIELDS, create_project

COPIED_OF_PROMPT = ("messages", "kind", "use_case", "language", "source", "sensitive")
COPIED_OF_RESPONSE = ("text", "author", "sampling", "seed", "finish_reason")


def copy_project(*, project: Project, by: User, name: str, exam: bool, people: bool) -> Project:
    """Open a project like this one, which `by` manages. Raises NotYours, and Refused for a name that can't be."""
    ensure(by, Capability.MANAGE, project)
    values = {field: getattr(project, field) for field in FIELDS if field != "name"}
    if not exam:
        values["exam_threshold"] = None
    guidelines, rubric = project.guidelines, project.rubric
    with transaction.atomic():
        made = create_project(
            by=by,
            name=name,
            **values,
            guidelines=guidelines.text if guidelines else "",
            criteria=rubric.criteria if rubric else [],
            flags=rubric.flags if rubric else [],
        )
        items = _copy_exam(project, made) if exam else 0
        members = _copy_people(project, made, by) if people else 0
        audit.record(
            verb="project.copied", actor=by, subject=made, project=made, of=project.slug, exam=items, members=members
        )
    return made


def _copy_exam(project: Project, made: Project) -> int:
    """The comparisons of the exam with their known orders; at most exam.MOST_ITEMS, so one transaction has room."""
    items = Task.objects.filter(project=project, state=Task.State.EXAM).select_related("prompt").order_by("pk")
    copied = 0
    for item in items:
        if item.prompt is None:
            continue
        fields = {name: getattr(item.prompt, name) for name in COPIED_OF_PROMPT}
        prompt = Prompt.known(project_id=made.pk, digest=item.prompt.content_hash)
        prompt = prompt or Prompt.objects.create(project=made, **fields)
        of = {
            link.response_id: Response.objects.create(
                prompt=prompt, **{name: getattr(link.response, name) for name in COPIED_OF_RESPONSE}
            )
            for link in item.task_responses.select_related("response__author").order_by("number")
        }
        task = Task.objects.create(
            project=made,
            kind=item.kind,
            prompt=prompt,
            state=Task.State.EXAM,
            judgments_wanted=item.judgments_wanted,
            slots_free=0,
            gold_tiers=[[of[key].pk for key in tier] for tier in item.gold_tiers or []],
            task_instructions=item.task_instructions,
        )
        TaskResponse.objects.bulk_create(
            TaskResponse(task=task, response=response, number=number) for number, response in enumerate(of.values())
        )
        copied += 1
    return copied


def _copy_people(project: Project, made: Project, by: User) -> int:
    """Everybody in the roles that they have; `by` manages the new one already."""
    have = set(Membership.objects.filter(project=made).values_list("user", "role"))
    copied = 0
    for membership in Membership.objects.filter(project=project, user__is_active=True).order_by("pk"):
        if (membership.user_id, membership.role) not in have:
            Membership.objects.create(user_id=membership.user_id, project=made, role=membership.role)
            copied += 1
    return copied
