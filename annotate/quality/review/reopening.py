"""Judged tasks given out again, chosen by a filter, for so many judgments more.

Adjudicated tasks are none of them, since their order is decided, nor what a chat brought. Whoever judged a task doesn't
get it again. The judgments that there are go on counting.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.labeling.queue import recounting
from annotate.models import Judgment, Project, Task, TaskReopening, User
from annotate.people import audit
from annotate.people.permissions import Capability, count_people_who_judge, ensure, too_many_judgments
from annotate.quality.review.batch_changes import Job

MOST_JUDGMENTS = 50
MOST_COUNTED = 10_000
"""A preview counts no further."""
FEW_JUDGMENTS = 50_000
"""So many are listed and their tasks looked up; of more it is asked for each task whether it has one."""


@dataclass(frozen=True, kw_only=True)
class TaskFilter:
    """Which judged tasks. labeler: who judged them; after, before: when a judgment of theirs, or of anybody, was given;
    agreement_below: of their labelers on pairs. What is None says nothing."""

    labeler: int | None = None
    after: datetime | None = None
    before: datetime | None = None
    use_case: str = ""
    agreement_below: float | None = None

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> Self:
        times = {name: parse_datetime(values[name]) for name in ("after", "before") if values.get(name)}
        return cls(**{**values, **times})

    def as_json(self) -> dict[str, Any]:
        """What it says, as plain JSON."""
        values: dict[str, Any] = {
            "labeler": self.labeler,
            "after": self.after and self.after.isoformat(),
            "before": self.before and self.before.isoformat(),
            "use_case": self.use_case,
            "agreement_below": self.agreement_below,
        }
        return {name: value for name, value in values.items() if value not in (None, "")}

    def tasks(self, project: Project) -> QuerySet[Task]:
        """The complete tasks that it chooses."""
        chosen = Task.objects.filter(state=Task.State.COMPLETE, judgments_given__gt=0)
        judged = self._judgments(project)
        is_listed = judged is not None and judged.order_by()[: FEW_JUDGMENTS + 1].count() <= FEW_JUDGMENTS
        if judged is not None and is_listed:
            chosen = chosen.filter(pk__in=judged.order_by().values("task"))
        elif judged is not None:
            chosen = chosen.filter(Exists(judged.filter(task=OuterRef("pk"))))
        if self.agreement_below is None:
            chosen = chosen.filter(project=project)
        else:
            # By the index of agreements: with the tasks' project too, SQLite would go through all of its tasks.
            chosen = chosen.filter(consensus__project=project, consensus__agreement__lt=self.agreement_below)
        if self.use_case:
            chosen = chosen.filter(prompt__use_case=self.use_case)
        of_task = Judgment.objects.filter(task=OuterRef("pk"))
        return chosen.filter(
            ~Exists(of_task.filter(Judgment.ADJUDICATED)), ~Exists(of_task.filter(chat_turn__isnull=False))
        )

    def _judgments(self, project: Project) -> QuerySet[Judgment] | None:
        """Those of which a task has to have one; None where it says nothing of judgments."""
        if self.labeler is None and self.after is None and self.before is None:
            return None
        found = Judgment.objects.filter(Judgment.COUNTED, project=project)
        found = found.filter(labeler=self.labeler) if self.labeler is not None else found
        found = found.filter(created_at__gte=self.after) if self.after is not None else found
        return found.filter(created_at__lt=self.before) if self.before is not None else found


def preview(*, project: Project, chosen: TaskFilter) -> int:
    """How many tasks would be given out again; MOST_COUNTED where there are as many or more."""
    return chosen.tasks(project).order_by()[:MOST_COUNTED].count()


def reopen(*, project: Project, chosen: TaskFilter, judgments: int, by: User) -> TaskReopening:
    """Give the chosen tasks out again, each for so many judgments more.

    Raises NotYours, and Refused for a filter that chooses nothing, and for more judgments than people may give.
    """
    ensure(by, Capability.MANAGE, project)
    if not 1 <= judgments <= MOST_JUDGMENTS:
        raise Refused(_("Ask for 1 to %(most)d judgments more.") % {"most": MOST_JUDGMENTS}, status=400)
    if judgments > (people := count_people_who_judge(project)):
        raise Refused(too_many_judgments(judgments, people), status=400)
    if not chosen.tasks(project).exists():
        raise Refused(_("No judged task is like that, so there is nothing to give out again."), status=400)
    with transaction.atomic():
        reopening = TaskReopening.objects.create(
            project=project, filters=chosen.as_json(), judgments=judgments, created_by=by
        )
        audit.record(
            verb="tasks.reopened",
            actor=by,
            subject=reopening,
            project=project,
            filters=chosen.as_json(),
            judgments=judgments,
        )
    JOB.begin(reopening)
    return reopening


def _left(reopening: TaskReopening) -> QuerySet[Any, int]:
    chosen = TaskFilter.stored(reopening.filters).tasks(reopening.project)
    # What is complete once more behind this place was given out by this change already.
    return chosen.filter(pk__gt=reopening.last_task).order_by("pk").values_list("pk", flat=True)


def _apply(reopening: TaskReopening, tasks: list[int]) -> int:
    TaskReopening.objects.filter(pk=reopening.pk).update(last_task=tasks[-1])
    return recounting.want_more(tasks, project_id=reopening.project_id, judgments=reopening.judgments)


JOB = Job(TaskReopening, left=_left, apply=_apply)
