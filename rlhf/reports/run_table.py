"""A table of runs: filters, order, chosen settings and results, page by page; and several runs beside each other."""

import datetime
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from annotate.data.text import row_number
from annotate.models import Project
from annotate.rendering.local_times import midnight, written_day
from models_core.contract.settings import STAGES
from rlhf.models import RunInput, Stage, TrainingRun
from rlhf.reports import labels
from rlhf.reports.curves import HEADLINES, shown

PAGE = 25
MOST_SORTED = 5000
"""Runs that are sorted by another column than their number, the newest; and rows of a file."""
MOST_COLUMNS = 12
MISSING = "–"
SETTING, RESULT = "config.", "result."


@dataclass(frozen=True, kw_only=True)
class RunFilters:
    """What an address lets through; anything that is not a value of its filter is left out."""

    project: Project
    live: bool = False
    stage: str = ""
    status: str = ""
    model: int | None = None
    """A version that a run reads or made."""
    by: int | None = None
    since: datetime.date | None = None
    until: datetime.date | None = None

    @classmethod
    def of(cls, project: Project, query: Mapping[str, str]) -> "RunFilters":
        stage, status = query.get("stage", ""), query.get("status", "")
        return cls(
            project=project,
            live=query.get("show") == "live",
            stage=stage if stage in Stage.values else "",
            status=status if status in TrainingRun.Status.values else "",
            model=row_number(query.get("model", "")),
            by=row_number(query.get("by", "")),
            since=written_day(query.get("since", "")),
            until=written_day(query.get("until", "")),
        )

    @property
    def any(self) -> bool:
        return bool(self.stage or self.status or self.model or self.by or self.since or self.until)

    def runs(self) -> QuerySet[TrainingRun]:
        found = self.project.training_runs.all()
        is_live = Q(queue=TrainingRun.LIVE_QUEUE)
        found = found.filter(is_live if self.live else ~is_live)
        if self.stage:
            found = found.filter(stage=self.stage)
        if self.status:
            found = found.filter(status=self.status)
        if self.model is not None:
            reads = RunInput.objects.filter(version=self.model).values("run")
            found = found.filter(Q(produced=self.model) | Q(pk__in=reads))
        if self.by is not None:
            found = found.filter(created_by=self.by)
        if self.since is not None:
            found = found.filter(created_at__gte=midnight(self.since))
        if self.until is not None:
            found = found.filter(created_at__lt=midnight(self.until + datetime.timedelta(days=1)))
        return found


@dataclass(frozen=True, slots=True)
class Column:
    """A setting ("config.epochs") or a result ("result.accuracy")."""

    key: str

    @property
    def name(self) -> str:
        return self.key.partition(".")[2]

    @property
    def label(self) -> str:
        return labels.in_words(self.name)

    def value(self, run: TrainingRun) -> Any:
        if self.key.startswith(RESULT):
            return run.result.get(self.name)
        return setting(run, self.name)

    def text(self, run: TrainingRun) -> str:
        return as_text(self.value(run))


def setting(run: TrainingRun, name: str) -> Any:
    """A setting as it was given, or its stage's default; None where the stage has none of this name."""
    given = run.config | run.options
    return given[name] if name in given else _defaults(run.stage).get(name)


def _defaults(stage: str) -> dict[str, Any]:
    return {item.name: item.default for item in fields(STAGES[stage])} if stage in STAGES else {}


def as_text(value: Any) -> str:
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return shown(value) if isinstance(value, int | float) else str(value)[:80]


BUILT_IN: dict[str, Callable[[TrainingRun], Any]] = {
    "stage": lambda run: run.stage,
    "status": lambda run: run.status,
    "by": lambda run: run.created_by.display_name if run.created_by else "",
    "seconds": lambda run: seconds(run),
}
"""Columns that every run has, beside its number: what they are sorted by."""


def seconds(run: TrainingRun) -> float | None:
    """From the start of its last attempt to its end, or until now."""
    if run.started_at is None:
        return None
    return ((run.finished_at or timezone.now()) - run.started_at).total_seconds()


def duration(run: TrainingRun) -> str:
    taken = seconds(run)
    return MISSING if taken is None else time_in_words(taken)


def time_in_words(taken: float) -> str:
    minutes, rest = divmod(round(taken), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return _("%(h)d h %(m)d min") % {"h": hours, "m": minutes}
    return _("%(m)d min %(s)d s") % {"m": minutes, "s": rest} if minutes else _("%(s)d s") % {"s": rest}


@dataclass(frozen=True, kw_only=True)
class RunTable:
    """A page of the runs that pass the filters, sorted, and its columns.

    sort: "run" (its number), a key of BUILT_IN, or a column's key. after: the last run of the page before.
    chosen: keys of columns; where none is chosen, the settings that differ and the first results.
    """

    filters: RunFilters
    sort: str = "run"
    descending: bool = True
    after: int | None = None
    chosen: Sequence[str] = field(default=())

    @cached_property
    def _sorted(self) -> list[TrainingRun]:
        """At most one run more than a page."""
        found = self.filters.runs()
        if self.sort == "run":
            if self.after is not None:
                found = found.filter(pk__lt=self.after) if self.descending else found.filter(pk__gt=self.after)
            return list(_whole(found.order_by("-pk" if self.descending else "pk"))[: PAGE + 1])
        key = BUILT_IN.get(self.sort) or Column(self.sort).value
        light = found.select_related("created_by").defer("log", "error").order_by("-pk")[:MOST_SORTED]
        ordered = [run.pk for run in _order(light, key, descending=self.descending)]
        begin = ordered.index(self.after) + 1 if self.after in ordered else 0
        wanted = ordered[begin : begin + PAGE + 1]
        rows = _whole(self.filters.project.training_runs.filter(pk__in=wanted)).in_bulk()
        return [rows[number] for number in wanted if number in rows]

    @property
    def runs(self) -> list[TrainingRun]:
        return self._sorted[:PAGE]

    @property
    def next(self) -> int | None:
        """The `after` of the following page."""
        return self._sorted[PAGE - 1].pk if len(self._sorted) > PAGE else None

    @cached_property
    def columns(self) -> list[Column]:
        if self.chosen:
            known = {column.key for column in self.offered}
            return [Column(key) for key in dict.fromkeys(self.chosen) if key in known][:MOST_COLUMNS]
        found = [Column(SETTING + name) for name in differing(self.runs)][: MOST_COLUMNS // 2]
        counts = Counter(name for run in self.runs for name in HEADLINES if _is_number(run.result.get(name)))
        best = sorted(counts, key=lambda name: (-counts[name], HEADLINES.index(name)))[:4]
        return [*found, *(Column(RESULT + name) for name in HEADLINES if name in best)]

    @cached_property
    def offered(self) -> list[Column]:
        """Every setting and number of the runs of this page, and what was chosen by its form."""
        return all_columns(self.runs)

    @property
    def cells(self) -> list[tuple[TrainingRun, list[str], str]]:
        """(run, its value of each column, its duration)."""
        return [(run, [column.text(run) for column in self.columns], duration(run)) for run in self.runs]


def _whole(runs: QuerySet[TrainingRun]) -> QuerySet[TrainingRun]:
    found = runs.select_related("produced", "iteration", "created_by").prefetch_related("run_inputs__version")
    return found.defer("log")


def _order(
    runs: Iterable[TrainingRun], key: Callable[[TrainingRun], Any], *, descending: bool
) -> Iterator[TrainingRun]:
    """Numbers before texts, runs without a value last in both directions; of equal ones the newest first."""
    with_value, without = [], []
    for run in runs:
        value = key(run)
        if value is None or value == "":
            without.append(run)
        elif _is_number(value):
            with_value.append(((0, float(value), ""), run))
        else:
            with_value.append(((1, 0.0, str(value)), run))
    with_value.sort(key=lambda pair: pair[0], reverse=descending)
    yield from (run for _key, run in with_value)
    yield from without


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def differing(runs: Sequence[TrainingRun]) -> list[str]:
    """Settings that runs of the same stage have with different values, by name."""
    found = set()
    for stage in {run.stage for run in runs}:
        same = [run for run in runs if run.stage == stage]
        names = {name for run in same for name in run.config | run.options}
        found |= {name for name in names if len({as_text(setting(run, name)) for run in same}) > 1}
    return sorted(found)


def all_columns(runs: Sequence[TrainingRun]) -> list[Column]:
    settings = sorted({name for run in runs for name in run.config | run.options})
    results = sorted({name for run in runs for name, value in run.result.items() if _is_number(value)})
    return [*(Column(SETTING + name) for name in settings), *(Column(RESULT + name) for name in results)]


def differences(runs: Sequence[TrainingRun]) -> list[tuple[Column, list[str]]]:
    """(setting, its value in each run) of the settings that differ between any two of them."""
    names = {name for run in runs for name in run.config | run.options}
    rows = [(Column(SETTING + name), [as_text(setting(run, name)) for run in runs]) for name in sorted(names)]
    return [(column, values) for column, values in rows if len(set(values)) > 1]


def results(runs: Sequence[TrainingRun]) -> list[tuple[Column, list[str]]]:
    """(number, its value in each run) of every number of their results."""
    columns = [column for column in all_columns(runs) if column.key.startswith(RESULT)]
    return [(column, [column.text(run) for run in runs]) for column in columns]


def file_rows(filters: RunFilters) -> Iterator[list[Any]]:
    """The newest MOST_SORTED runs as rows of a file, its head first: all settings as they were given, all numbers."""
    runs = list(filters.runs().select_related("created_by", "produced").defer("log").order_by("-pk")[:MOST_SORTED])
    columns = all_columns(runs)
    head = ["run", "stage", "status", "created", "by", "seconds", "model"]
    yield [*head, *(column.key for column in columns)]
    for run in runs:
        model = str(run.produced) if run.produced else ""
        by = run.created_by.display_name if run.created_by else ""
        about = [run.pk, run.stage, run.status, run.created_at.isoformat(timespec="seconds"), by, seconds(run), model]
        yield [*about, *(_plain(column.value(run)) for column in columns)]


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | str) else str(value)
