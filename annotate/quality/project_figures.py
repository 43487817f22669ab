"""Counts of a project for its pages. A small project is counted as it is; those of a large one are kept by a job, which
counts them again a minute after something changed, so that no page counts a million rows.
"""

import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count, F, Max, Min, Q, Sum
from django.utils import timezone

from annotate.labeling import task_kinds
from annotate.models import Demonstration, Judgment, Project, ProjectFigures, Prompt, Response, Task

SMALL = 2_000
"""Up to so many prompts, tasks and judgments a page counts itself."""
REST = 20.0
"""A project is not counted again before so many times as long as counting it took have passed."""
SECONDS = 30.0
"""Of work in one run of the job."""

State = Task.State


@dataclass(frozen=True, kw_only=True)
class Figures:
    """kinds: {kind: {"open", "complete", "withdrawn", "judgments"}}. wanted: judgments that open tasks still want.
    oldest_open: ISO 8601 time at which the oldest task with a free place was made. splits: {split: prompts}.
    use_cases, languages: {name: [prompts, judgments]} of the prompts. computed_at: None where they were counted now.
    """

    prompts: int = 0
    responses: int = 0
    demonstrations: int = 0
    judgments: int = 0
    surplus: int = 0
    wanted: int = 0
    oldest_open: str | None = None
    kinds: dict[str, dict[str, int]] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    use_cases: dict[str, list[int]] = field(default_factory=dict)
    languages: dict[str, list[int]] = field(default_factory=dict)
    computed_at: datetime | None = None

    @property
    def tasks_open(self) -> int:
        return sum(kind["open"] for kind in self.kinds.values())

    @property
    def tasks_complete(self) -> int:
        return sum(kind["complete"] for kind in self.kinds.values())


@dataclass(frozen=True, kw_only=True)
class KindCount:
    """The tasks of one kind in a project. `on`: labelers get them."""

    kind: str
    on: bool
    open: int
    complete: int
    withdrawn: int
    judgments: int

    @property
    def label(self) -> str:
        return str(task_kinds.get(self.kind).label)


def of(project: Project) -> Figures | None:
    """The figures; None of a large project that the job hasn't counted yet."""
    if is_small(project):
        return count(project)
    stored = ProjectFigures.objects.filter(project=project).first()
    return Figures(**stored.values, computed_at=stored.computed_at) if stored is not None else None


def is_small(project: Project) -> bool:
    return not any(
        model.objects.filter(project=project).order_by()[SMALL : SMALL + 1].exists()
        for model in (Prompt, Task, Judgment)
    )


def kind_counts(project: Project, figures: Figures | None) -> list[KindCount]:
    """Every kind of task, also those that there are none of; none at all where nothing is counted yet."""
    if figures is None:
        return []
    none = {"open": 0, "complete": 0, "withdrawn": 0, "judgments": 0}
    return [
        KindCount(kind=kind, on=kind in project.task_kinds, **(none | figures.kinds.get(kind, {})))
        for kind in task_kinds.names()
    ]


def count(project: Project) -> Figures:
    """Count everything now."""
    judgments = Judgment.objects.filter(Judgment.COUNTED, project=project).aggregate(
        all=Count("pk"), surplus=Count("pk", filter=Q(surplus=True))
    )
    tasks = Task.objects.filter(project=project).order_by().values("kind")
    by_kind = tasks.annotate(
        open=Count("pk", filter=Q(state=State.OPEN)),
        complete=Count("pk", filter=Q(state=State.COMPLETE)),
        withdrawn=Count("pk", filter=Q(state=State.WITHDRAWN)),
        given=Sum("judgments_given"),
    )
    still = Task.objects.filter(project=project, state=State.OPEN, judgments_wanted__gt=F("judgments_given"))
    wanted = still.aggregate(n=Sum(F("judgments_wanted") - F("judgments_given")))["n"]
    waiting = Task.objects.filter(project=project, state=State.OPEN, slots_free__gt=0)
    oldest = waiting.order_by().aggregate(time=Min("created_at"))["time"]
    use_cases, languages = _coverage(project)
    by_split = Prompt.objects.filter(project=project).order_by().values_list("split").annotate(Count("pk"))
    return Figures(
        prompts=sum(prompts for prompts, _judgments in use_cases.values()),
        responses=Response.objects.filter(prompt__project=project).count(),
        demonstrations=Demonstration.objects.filter(prompt__project=project, withdrawn_at=None)
        .exclude(assignment__isnull=False, assignment__is_check=True)
        .count(),
        judgments=judgments["all"],
        surplus=judgments["surplus"],
        wanted=wanted or 0,
        oldest_open=oldest.isoformat() if oldest is not None else None,
        kinds={
            row["kind"]: {
                **{name: row[name] for name in ("open", "complete", "withdrawn")},
                "judgments": row["given"],
            }
            for row in by_kind
        },
        splits=dict(by_split),
        use_cases=use_cases,
        languages=languages,
    )


def _coverage(project: Project) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """({use case: [prompts, judgments]}, {language: the same}) of the project's prompts."""
    use_cases: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    languages: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    prompts = Prompt.objects.filter(project=project).order_by().values("use_case", "language").annotate(n=Count("pk"))
    tasks = Task.objects.filter(project=project, judgments_given__gt=0, prompt__isnull=False).order_by()
    judged = tasks.values(use_case=F("prompt__use_case"), language=F("prompt__language"))
    for place, rows in enumerate((prompts, judged.annotate(n=Sum("judgments_given")))):
        for row in rows:
            use_cases[row["use_case"]][place] += row["n"]
            languages[row["language"]][place] += row["n"]
    return dict(use_cases), dict(languages)


def refresh_due(*, seconds: float = SECONDS) -> int:
    """The job: count the large projects in which something changed; how many were counted."""
    end, counted = time.monotonic() + seconds, 0
    known = ProjectFigures.objects.in_bulk()
    for project in Project.objects.filter(archived_at=None).order_by("pk"):
        stored, marker = known.get(project.pk), _marker(project)
        if is_small(project) or (stored is not None and (stored.marker == marker or _is_resting(stored))):
            continue
        _store(project, marker)
        counted += 1
        if time.monotonic() > end:
            break
    return counted


def _store(project: Project, marker: str) -> None:
    began = time.monotonic()
    values: dict[str, Any] = asdict(count(project))
    values.pop("computed_at")
    seconds = time.monotonic() - began
    ProjectFigures.objects.update_or_create(
        project=project,
        defaults={"values": values, "marker": marker, "computed_at": timezone.now(), "count_seconds": seconds},
    )


def _is_resting(stored: ProjectFigures) -> bool:
    return (timezone.now() - stored.computed_at).total_seconds() < REST * stored.count_seconds


def _marker(project: Project) -> str:
    """What changes with what is counted: the last of each record, and the project's own counters."""
    newest = [
        model.objects.filter(project=project).order_by().aggregate(n=Max("pk"))["n"]
        for model in (Prompt, Task, Judgment)
    ]
    last_event = project.audit_events.order_by().aggregate(n=Max("pk"))["n"]
    return "-".join(str(number) for number in (*newest, last_event, project.queue_epoch, project.reopened_count))
