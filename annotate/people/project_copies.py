"""A project as the beginning of another: settings, guidelines, rubric, and by choice the exam and the people.

Never prompts, responses, tasks or judgments, but for the comparisons of the exam, of which the new project gets its
own.
"""

from django.db import transaction
from django.db.models import Prefetch

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
    """The comparisons of the exam with their known orders, in a statement for each kind of row."""
    items = list(
        Task.objects.filter(project=project, state=Task.State.EXAM, prompt__isnull=False)
        .select_related("prompt")
        .prefetch_related(
            Prefetch("task_responses", TaskResponse.objects.select_related("response__author").order_by("number"))
        )
        .order_by("pk")
    )
    prompts: dict[str, Prompt] = {}
    for item in items:
        assert item.prompt is not None
        prompt = Prompt(project=made, **{name: getattr(item.prompt, name) for name in COPIED_OF_PROMPT})
        prompt.set_content_fields()
        prompts.setdefault(prompt.content_hash, prompt)
    Prompt.objects.bulk_create(prompts.values())
    tasks, links, copies = [], [], []
    for item in items:
        assert item.prompt is not None
        prompt = prompts[item.prompt.content_hash]
        shown = list(item.task_responses.all())
        copied = [
            Response(prompt=prompt, **{name: getattr(link.response, name) for name in COPIED_OF_RESPONSE})
            for link in shown
        ]
        task = Task(
            project=made,
            kind=item.kind,
            prompt=prompt,
            state=Task.State.EXAM,
            judgments_wanted=item.judgments_wanted,
            slots_free=0,
            task_instructions=item.task_instructions,
        )
        tasks.append((item, task, dict(zip((link.response_id for link in shown), copied, strict=True))))
        copies += copied
        links += [TaskResponse(task=task, response=response, number=number) for number, response in enumerate(copied)]
    Response.objects.bulk_create(copies)
    for item, task, of in tasks:
        task.gold_tiers = [[of[key].pk for key in tier] for tier in item.gold_tiers or []]
    Task.objects.bulk_create(task for _item, task, _of in tasks)
    TaskResponse.objects.bulk_create(links)
    return len(tasks)


def _copy_people(project: Project, made: Project, by: User) -> int:
    """Everybody in the roles that they have; `by` manages the new one already."""
    have = set(Membership.objects.filter(project=made).values_list("user", "role"))
    memberships = Membership.objects.filter(project=project, user__is_active=True).order_by("pk")
    copies = [
        Membership(user_id=user, project=made, role=role)
        for user, role in memberships.values_list("user", "role")
        if (user, role) not in have
    ]
    return len(Membership.objects.bulk_create(copies))
