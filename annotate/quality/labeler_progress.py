"""A labeler's progress: open tasks, judgments so far, and agreement with gold orderings and with other labelers.

No figure reveals another labeler's judgment: each rests on tasks that this labeler has submitted, and appears from
FEWEST_TASKS tasks on.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.db.models.functions import TruncDate
from django.utils import timezone

from annotate.labeling import qualification, queue, task_kinds
from annotate.labeling.checks import lane
from annotate.labeling.sensitive_content import visibility
from annotate.models import Assignment, Judgment, Project, Task, User
from annotate.people.guidelines import Changes, changes_since_last_work
from annotate.quality import review
from annotate.quality.intervals import Share
from annotate.quality.measures.report import Measures, Period, PeriodReport

DAYS = 14
FEWEST_TASKS = 5
# Counting stops here: it takes time, and the page says "1000+".
MOST_COUNTED = 1_000


@dataclass(frozen=True, slots=True)
class OpenTasks:
    """Tasks of one kind that the labeler could do now; `more` when there are more than were counted."""

    kind: str
    count: int
    more: bool

    @property
    def label(self) -> str:
        """Their name, to be read after their number."""
        return task_kinds.get(self.kind).count_label(self.count)


@dataclass(frozen=True, slots=True)
class Day:
    """What was submitted on a day."""

    date: date
    count: int


class LabelerProgress:
    """A labeler's progress in one project. Each figure is computed when it is first read."""

    def __init__(self, *, labeler: User, project: Project) -> None:
        self.labeler = labeler
        self.project = project

    @cached_property
    def exam(self) -> qualification.ExamProgress:
        return qualification.exam_progress(user=self.labeler, project=self.project)

    @cached_property
    def open_tasks(self) -> list[OpenTasks]:
        """What the queue would give the labeler, by kind. Nothing before the exam is passed."""
        if self.project.archived_at is not None or not self.exam.qualified:
            return []
        own = Assignment.objects.filter(task=OuterRef("pk"), labeler=self.labeler)
        over = own.exclude(state__in=[Assignment.State.EXPIRED, *Assignment.HELD])
        held = own.filter(state__in=Assignment.HELD)
        tasks = Task.objects.filter(
            Q(slots_free__gt=0) | Exists(held),
            ~Exists(over),
            project=self.project,
            state=Task.State.OPEN,
            kind__in=self.project.task_kinds,
        )
        allowed = visibility.allowed_tasks(tasks, labeler=self.labeler, project=self.project)
        rules = queue.WorkRules(labeler=self.labeler, project=self.project)
        allowed = rules.allowed(allowed) if rules.pause is None else allowed.filter(Exists(held))
        kinds = list(allowed.order_by().values_list("kind", flat=True)[: MOST_COUNTED + 1])
        more = len(kinds) > MOST_COUNTED
        counted = Counter(kinds[:MOST_COUNTED])
        if not more and lane.gives_checks(self.project):
            # Only together does the sum fall by one with each task, whichever it was.
            counted[Task.Kind.COMPARE] += lane.left_with(rules, tasks=counted)
        return [OpenTasks(kind, counted[kind], more) for kind in task_kinds.names() if counted[kind]]

    @cached_property
    def returned(self) -> int:
        """Judgments that a reviewer sent back and that were not revised since."""
        return review.open_returns(labeler=self.labeler, project=self.project).count()

    @cached_property
    def changes(self) -> Changes | None:
        return changes_since_last_work(labeler=self.labeler, project=self.project)

    @cached_property
    def total(self) -> int:
        return self._judgments().count()

    @cached_property
    def measures(self) -> Measures:
        """Of all that the labeler submitted here, as far as the sums have it: some seconds ago."""
        return PeriodReport(self.project, Period.everything(self.project), labeler=self.labeler).total

    @property
    def against_gold(self) -> Share | None:
        """Agreement with gold orderings; None with fewer than FEWEST_TASKS tasks.

        Of the days before today: a figure that changes with one submit would tell which task was a gold one.
        """
        all_time = Period.everything(self.project)
        known = Period(all_time.first, all_time.last - timedelta(days=1))
        return _of_enough_tasks(PeriodReport(self.project, known, labeler=self.labeler).total.gold)

    @property
    def against_peers(self) -> Share | None:
        """Agreement with the other labelers of the same tasks; None with fewer than FEWEST_TASKS tasks."""
        return _of_enough_tasks(self.measures.agreement)

    def _judgments(self) -> QuerySet[Judgment]:
        return judgments_of(self.labeler).filter(project=self.project)


@dataclass(frozen=True, kw_only=True)
class TotalProgress:
    """Judgments of a labeler in all projects. `days` are the last DAYS, the oldest first and today last."""

    total: int
    days: list[Day]

    @property
    def today(self) -> int:
        return self.days[-1].count

    @property
    def lately(self) -> int:
        return sum(day.count for day in self.days)

    @classmethod
    def of(cls, labeler: User) -> "TotalProgress":
        today = timezone.localdate()
        first = today - timedelta(days=DAYS - 1)
        judgments = judgments_of(labeler)
        counted = dict(
            judgments.filter(created_at__date__gte=first)
            .order_by()
            .annotate(day=TruncDate("created_at"))
            .values("day")
            .annotate(count=Count("pk"))
            .values_list("day", "count")
        )
        dates = [first + timedelta(days=number) for number in range(DAYS)]
        return cls(total=judgments.count(), days=[Day(day, counted.get(day, 0)) for day in dates])

    @property
    def bars(self) -> Iterator[tuple[Day, str, str, str]]:
        """(day, left, top, height) of bars in a picture 168 by 40; a day without work is a line at its foot.

        The numbers are text, as a picture wants them and not as a language writes them.
        """
        most = max(day.count for day in self.days) or 1
        for number, day in enumerate(self.days):
            height = max(0.8, 36 * day.count / most)
            yield day, str(12 * number + 2), f"{40 - height:.2f}", f"{height:.2f}"


def judgments_of(labeler: User) -> QuerySet[Judgment]:
    """A labeler's judgments that count. A choice within a chat is a part of the chat."""
    return Judgment.objects.filter(Judgment.WORK, labeler=labeler, chat_turn=None)


def _of_enough_tasks(share: Share) -> Share | None:
    return share if share.clusters >= FEWEST_TASKS else None
