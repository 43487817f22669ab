"""The measures of a period, out of the stored sums: of a project, by labeler, use case, language, criterion and time.

    report = PeriodReport(project, Period.last_days(28))
    report.total.agreement.rate, report.by_labeler[user.pk].median_seconds, report.trend, report.criteria

Whole months of a period are read as months, and whole weeks of the rest as weeks, so a report reads a dozen or two of
rows a labeler however long the period is.
Days are days of UTC. docs/measures.md has the formulas.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from math import factorial
from typing import Any, Self

from django.db.models import Min, Q, QuerySet, Sum

from annotate.models import MeasuresState, MeasureSums, Project, User
from annotate.quality import agreement
from annotate.quality.intervals import Estimate, Moments, Share, jackknife, quantile
from annotate.quality.measures.contributions import DIFFERENCE_UNIT, GROUPS, SCORE_UNIT, TAU_UNIT

Cut, Grain = MeasureSums.Cut, MeasureSums.Grain
_DAY = timedelta(days=1)
MOST_DAYS = 92
"""A trend over more days than this goes by months."""


def today() -> date:
    return datetime.now(UTC).date()


@dataclass(frozen=True, slots=True)
class Period:
    """Days from the first to the last, both within it."""

    first: date
    last: date

    @classmethod
    def last_days(cls, days: int) -> Self:
        return cls(today() - timedelta(days=days - 1), today())

    @classmethod
    def last_weeks(cls, weeks: int) -> Self:
        """From a Monday on; the week of today is the last one."""
        monday = today() - today().weekday() * _DAY
        return cls(monday - 7 * (weeks - 1) * _DAY, today())

    @classmethod
    def everything(cls, project: Project) -> Self:
        """From the month of the project's first judgment until today."""
        state = MeasuresState.objects.filter(project=project).first() or MeasuresState(project=project)
        first = _rows(state, Cut.PROJECT).filter(grain=Grain.MONTH).aggregate(first=Min("start"))["first"]
        return cls(min(first or today(), today()), today())

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def before(self) -> Self:
        """The period of the same length that ends where this one begins."""
        return type(self)(self.first - timedelta(days=self.days), self.first - timedelta(days=1))

    @property
    def grain(self) -> str:
        return Grain.DAY if self.days <= MOST_DAYS else Grain.MONTH

    @property
    def starts(self) -> list[date]:
        """Of its days, or of the months that it touches: the points of a trend."""
        if self.grain == Grain.DAY:
            return [self.first + timedelta(days=number) for number in range(self.days)]
        return list(_months(self.first, self.last))

    @property
    def rows(self) -> Q:
        """Its rows of sums: months that lie in it whole, whole weeks of what is left, and the days left then."""
        months = [start for start in _months(self.first, self.last) if self._has_whole(start, _month_end(start))]
        ends = (
            [self]
            if not months
            else [
                type(self)(self.first, months[0] - _DAY),
                type(self)(min(_month_end(months[-1]), self.last) + _DAY, self.last),
            ]
        )
        weeks, days = [], []
        for end in ends:
            mondays = [start for start in _weeks(end.first, end.last) if end._has_whole(start, start + 6 * _DAY)]
            weeks += mondays
            in_weeks = {monday + number * _DAY for monday in mondays for number in range(7)}
            days += [day for day in map(end._day, range(end.days)) if day not in in_weeks]
        return (
            Q(grain=Grain.DAY, start__in=days)
            | Q(grain=Grain.WEEK, start__in=weeks)
            | Q(grain=Grain.MONTH, start__in=months)
        )

    def _day(self, number: int) -> date:
        return self.first + number * _DAY

    def _has_whole(self, first: date, last: date) -> bool:
        """Whether these days lie in it; after today there is nothing."""
        return first >= self.first and (last <= self.last or self.last >= today())


class Measures:
    """What some sums say. Shares have a 95% interval; `rate`, `value` and the like are None without data.

    of_labeler: agreement is that of one labeler with the others of their tasks; else that of all labelers with each
    other.
    """

    def __init__(self, sums: Mapping[str, int], *, of_labeler: bool = False) -> None:
        self.sums = sums
        self._agreement = "others" if of_labeler else "agreement"

    def moments(self, name: str) -> Moments:
        """By the names that annotate.quality.measures.contributions gives."""
        return Moments.read(self.sums, name)

    def share(self, name: str) -> Share:
        return Share.of_moments(self.moments(name))

    def groups(self, name: str) -> dict[str, Share]:
        """{group: share} of the shares called "name|group"."""
        found = {parts[-1].rsplit(".", 1)[0] for parts, _count in self.family(name)}
        return {group: self.share(f"{name}|{group}") for group in found}

    def part(self, name: str, of: str) -> Share:
        """How many of the judgments counted as `of` are counted as `name`."""
        return Share.of_trials(self.sums.get(name, 0), self.sums.get(of, 0))

    @property
    def judgments(self) -> int:
        """Of a labeler with those of hidden checks, which are work; of a project without, since they are no data."""
        checks = 0 if self._agreement == "others" else self.sums.get("is_check", 0)
        return self.sums.get("judgments", 0) - checks

    @property
    def surplus(self) -> int:
        return self.sums.get("surplus", 0)

    @property
    def revised(self) -> int:
        return self.sums.get("revised", 0)

    @property
    def left_out(self) -> int:
        """Judgments that a manager has left out: they are in no other figure, and not among `judgments`."""
        return self.sums.get("left_out", 0)

    @property
    def imported(self) -> int:
        return self.sums.get("imported", 0)

    @property
    def unacceptable(self) -> Share:
        return self.part("unacceptable", "judgments")

    @property
    def hours(self) -> float:
        return self.sums.get("milliseconds", 0) / 3_600_000

    @property
    def per_hour(self) -> float | None:
        return self.sums.get("timed", 0) / self.hours if self.hours else None

    @cached_property
    def quartiles(self) -> tuple[float, float, float] | None:
        """Of the seconds a judgment took, each rounded to two digits."""
        histogram = {float(name[-1]): count for name, count in self.family("seconds")}
        low, middle, high = (quantile(histogram, share) for share in (0.25, 0.5, 0.75))
        return None if low is None or middle is None or high is None else (low, middle, high)

    @property
    def median_seconds(self) -> float | None:
        return self.quartiles[1] if self.quartiles else None

    @cached_property
    def agreement(self) -> Share:
        return self.share(self._agreement)

    @cached_property
    def strict_agreement(self) -> Share:
        """Of the pairs that neither labeler tied."""
        return self.share(f"{self._agreement}_strict")

    @cached_property
    def tau(self) -> Estimate:
        """The mean of Kendall's tau-b over all two labelers of a task."""
        moments = self.moments(f"{self._agreement}_tau")
        return Estimate.of_mean(moments, unit=TAU_UNIT, lowest=-1.0, highest=1.0)

    @cached_property
    def alpha(self) -> Estimate:
        """Krippendorff's alpha of the ranks. None for one labeler."""
        return self._alpha("rank")

    @cached_property
    def majority(self) -> Share:
        """Agreement with the majority of the other labelers of the task."""
        return self.share("majority")

    @cached_property
    def adjudicated(self) -> Share:
        """Pairs ordered as the reviewer who adjudicated the task has them."""
        return self.share("adjudicated")

    @cached_property
    def gold(self) -> Share:
        return self.share("gold")

    @cached_property
    def consistency(self) -> Estimate:
        """The mean share of pairs that a labeler orders as before in a repeat of a task of theirs."""
        moments = self.moments("consistency")
        return Estimate.of_mean(moments, unit=SCORE_UNIT, lowest=0.0, highest=1.0)

    @property
    def repeats(self) -> int:
        """Judgments that `consistency` rests on."""
        return self.moments("consistency").clusters

    @cached_property
    def reward(self) -> Share:
        """Pairs of which the preferred response has the reward model's higher score."""
        return self.share("reward")

    @cached_property
    def position(self) -> Share:
        """Pairs of which the preferred response stood first on the page; half of them without a bias."""
        return self.share("position")

    @cached_property
    def length(self) -> Share:
        """Pairs of which the preferred response is the longer one."""
        return self.share("length")

    @cached_property
    def best_first(self) -> Share:
        """Judgments whose best response stood first on the page."""
        hits = sum(count for _, count in self.family("best_first"))
        return Share.of_trials(hits, sum(count for _, count in self.family("best")))

    @property
    def best_first_by_chance(self) -> float | None:
        """What `best_first` would be without a bias: one in K, for K responses."""
        of = {int(name[-1]): count for name, count in self.family("best")}
        return sum(count / size for size, count in of.items()) / sum(of.values()) if of else None

    @cached_property
    def as_shown(self) -> Share:
        """Complete orders without ties that are the order of the page."""
        hits = sum(count for _, count in self.family("as_shown"))
        return Share.of_trials(hits, sum(count for _, count in self.family("ordered")))

    @property
    def as_shown_by_chance(self) -> float | None:
        of = {int(name[-1]): count for name, count in self.family("ordered")}
        return sum(count / factorial(size) for size, count in of.items()) / sum(of.values()) if of else None

    @property
    def same_ratings(self) -> Share:
        """Judgments that give every response the same rating by every criterion."""
        return self.part("same_ratings", "rated")

    @property
    def hasty(self) -> Share:
        """Judgments that took less than a third of the time in which their responses can be read once."""
        return self.part("hasty", "paced")

    @property
    def pasted(self) -> Share:
        """Written texts that came faster than anybody types."""
        return self.part("pasted", "written")

    @cached_property
    def speed_bias(self) -> Estimate:
        """Agreement of hasty judgments with others minus that of the other judgments."""
        hasty = self.moments("hasty_others")
        return Estimate.of_difference(hasty, self.moments("others") - hasty)

    @property
    def criteria(self) -> list[str]:
        names = {name[-1] for family in ("agreement_rating", "others_rating") for name, _ in self.family(f"{family}")}
        return sorted({name.rsplit(".", 1)[0] for name in names})

    def criterion_agreement(self, name: str) -> Share:
        """Pairs of equal ratings by this criterion."""
        return self.share(f"{self._agreement}_rating|{name}")

    def criterion_alpha(self, name: str) -> Estimate:
        return self._alpha(f"rating:{name}")

    def criterion_difference(self, name: str) -> float | None:
        """By how much a labeler's ratings are higher than those of others of the same responses, on average."""
        compared = self.moments(f"others_rating|{name}").n
        return self.sums.get(f"rating_difference|{name}", 0) * DIFFERENCE_UNIT / compared if compared else None

    def change_since(self, before: "Measures") -> Estimate:
        """The agreement minus that of an earlier period."""
        return Estimate.of_difference(self.moments(self._agreement), before.moments(self._agreement))

    def family(self, name: str) -> Iterator[tuple[list[str], int]]:
        """(parts of the name, count) of the counters "name|part|..."."""
        for key, count in self.sums.items():
            if key.startswith(f"{name}|"):
                yield key.split("|"), count

    def _alpha(self, subject: str) -> Estimate:
        groups: list[dict[str, int]] = [{} for _ in range(GROUPS)]
        prefix = f"alpha|{subject}|"
        for key, count in self.sums.items():
            if key.startswith(prefix):
                group, _, cell = key[len(prefix) :].partition("|")
                groups[int(group)][cell] = count
        return jackknife(groups, _alpha_of_cells, highest=1.0)


def _alpha_of_cells(cells: Mapping[str, int]) -> float | None:
    counts = {}
    for cell, count in cells.items():
        if count:
            size, low, high = cell.split("|")
            counts[int(size), float(low), float(high)] = count
    return agreement.ordinal_alpha(agreement.coincidences(counts))


class PeriodReport:
    """The measures of a project in a period; of one labeler, use case, language or kind of task where one is given.

    Each part is read when it is first asked for, by one query.
    """

    def __init__(
        self,
        project: Project,
        period: Period,
        *,
        labeler: User | None = None,
        use_case: str = "",
        language: str = "",
        kind: str = "",
    ) -> None:
        self.project, self.period, self.labeler = project, period, labeler
        self._chosen = {"use_case": use_case, "language": language, "kind": kind}

    @cached_property
    def total(self) -> Measures:
        return self._measured(self._sums(labelers=self.labeler is not None).get((), {}))

    @cached_property
    def by_labeler(self) -> dict[int, Measures]:
        """{labeler's primary key: measures}"""
        found = self._sums("labeler", labelers=True)
        return {labeler: Measures(sums, of_labeler=True) for (labeler,), sums in found.items()}

    @cached_property
    def wins(self) -> Measures:
        """Which responses win: by author, place and length, and by the difference of reward scores."""
        return Measures(self._win_sums().get((), {}))

    @property
    def wins_by_use_case(self) -> dict[str, Measures]:
        return _by_place(self._win_segments, 0)

    @property
    def wins_by_language(self) -> dict[str, Measures]:
        return _by_place(self._win_segments, 1)

    @property
    def by_use_case(self) -> dict[str, Measures]:
        return self._by_segment(0)

    @property
    def by_language(self) -> dict[str, Measures]:
        return self._by_segment(1)

    @cached_property
    def by_kind(self) -> dict[str, Measures]:
        found = self._sums("kind", labelers=self.labeler is not None)
        return {kind: self._measured(sums) for (kind,), sums in sorted(found.items())}

    @cached_property
    def trend(self) -> list[tuple[date, Measures]]:
        """(start, measures) of every day of the period, or of every month of a long one; the oldest first."""
        return self._trend(self.period.grain, self.period.starts)

    @cached_property
    def weeks(self) -> list[tuple[date, Measures]]:
        """(Monday, measures) of every week of which the Monday lies in the period."""
        return self._trend(Grain.WEEK, list(_weeks(self.period.first, self.period.last)))

    def _trend(self, grain: str, starts: list[date]) -> list[tuple[date, Measures]]:
        rows = Q(grain=grain, start__in=starts)
        found = self._sums("start", labelers=self.labeler is not None, rows=rows)
        return [(start, self._measured(found.get((start,), {}))) for start in starts]

    @cached_property
    def judgments_by_start(self) -> dict[date, dict[int, int]]:
        """{start of a day or month: {labeler's primary key: judgments}}, as `trend` has them, without empty ones."""
        starts = self.period.starts
        rows = self._filtered(labelers=True).filter(grain=self.period.grain, start__range=(starts[0], self.period.last))
        found: dict[date, dict[int, int]] = {}
        counted = rows.order_by("start").values("start", "labeler").annotate(given=Sum("judgments"))
        for row in counted:
            if row["given"]:
                found.setdefault(row["start"], {})[row["labeler"]] = row["given"]
        return found

    @property
    def known_languages(self) -> list[str]:
        """Languages of prompts that somebody judged, in any period."""
        rows = _rows(self._state, Cut.SEGMENT).filter(grain=Grain.MONTH).order_by("language")
        return [language for language in rows.values_list("language", flat=True).distinct() if language]

    def labeler_days(self) -> Iterator[tuple[date, int, str, dict[str, int]]]:
        """(day, labeler's primary key, kind, sums) of every day on which somebody judged, in the order of the days."""
        rows = self._filtered(labelers=True).filter(grain=Grain.DAY, start__range=(self.period.first, self.period.last))
        return rows.order_by("start", "pk").values_list("start", "labeler", "kind", "sums").iterator(chunk_size=1_000)

    @property
    def criteria(self) -> list[str]:
        """Names of the rubric's criteria by which two labelers rated the same response."""
        return self.total.criteria

    @cached_property
    def before(self) -> "PeriodReport":
        """The report of the period before this one, of the same length: what a drift is measured against."""
        return type(self)(self.project, self.period.before, labeler=self.labeler, **self._chosen)

    @property
    def computed_at(self) -> datetime | None:
        """When the sums were last brought up to date; None before the first time."""
        return self._state.folded_at if self._state.generation else None

    @cached_property
    def _state(self) -> MeasuresState:
        return MeasuresState.objects.filter(project=self.project).first() or MeasuresState(project=self.project)

    def _by_segment(self, place: int) -> dict[str, Measures]:
        sums: dict[str, dict[str, int]] = {}
        for segment, counted in self._segments.items():
            _add(sums.setdefault(segment[place], {}), counted)
        return {name: self._measured(counted) for name, counted in sorted(sums.items())}

    @cached_property
    def _segments(self) -> dict[Any, dict[str, int]]:
        """{(use case, language): sums}"""
        return self._sums("use_case", "language", labelers=self.labeler is not None)

    @cached_property
    def _win_segments(self) -> dict[Any, dict[str, int]]:
        """{(use case, language): sums}"""
        return self._win_sums("use_case", "language")

    def _win_sums(self, *columns: str) -> dict[Any, dict[str, int]]:
        """{values of the columns: sums} of the period; nobody's alone."""
        chosen = {column: value for column, value in self._chosen.items() if value}
        in_segments = columns or chosen.keys() & {"use_case", "language"}
        rows = _rows(self._state, Cut.WINS_BY if in_segments else Cut.WINS).filter(self.period.rows, **chosen)
        found: dict[Any, dict[str, int]] = {}
        for *key, sums in rows.order_by().values_list(*columns, "sums"):
            _add(found.setdefault(tuple(key), {}), sums)
        return found

    def _measured(self, sums: Mapping[str, int]) -> Measures:
        return Measures(sums, of_labeler=self.labeler is not None)

    def _sums(self, *columns: str, labelers: bool, rows: Q | None = None) -> dict[Any, dict[str, int]]:
        """{values of the columns: sums} of the period, or of other rows."""
        found: dict[Any, dict[str, int]] = {}
        chosen = self._filtered(labelers=labelers, by_segment="use_case" in columns)
        chosen = chosen.filter(self.period.rows if rows is None else rows)
        for *key, sums in chosen.order_by().values_list(*columns, "sums"):
            _add(found.setdefault(tuple(key), {}), sums)
        return found

    def _filtered(self, *, labelers: bool, by_segment: bool = False) -> "QuerySet[MeasureSums]":
        """The narrowest rows that have what is asked for."""
        chosen = {column: value for column, value in self._chosen.items() if value}
        in_segments = by_segment or chosen.keys() & {"use_case", "language"}
        if labelers:
            cut = Cut.BOTH if in_segments else Cut.LABELER
        else:
            cut = Cut.SEGMENT if in_segments else Cut.PROJECT
        rows = _rows(self._state, cut).filter(**chosen)
        if labelers and self.labeler is not None:
            return rows.filter(labeler=self.labeler)
        return rows


def _by_place(segments: Mapping[Any, dict[str, int]], place: int) -> dict[str, Measures]:
    sums: dict[str, dict[str, int]] = {}
    for segment, counted in segments.items():
        _add(sums.setdefault(segment[place], {}), counted)
    return {name: Measures(counted) for name, counted in sorted(sums.items())}


def _add(total: dict[str, int], sums: Mapping[str, int]) -> None:
    if not total:
        total.update(sums)
        return
    for name, count in sums.items():
        total[name] = total.get(name, 0) + count


def _rows(state: MeasuresState, cut: str) -> "QuerySet[MeasureSums]":
    """Whether they have a labeler follows from the cut; saying it leads to the index that begins with the cut."""
    rows = MeasureSums.objects.filter(project=state.project_id, generation=state.generation, cut=cut)
    return rows.filter(labeler__isnull=cut not in (Cut.LABELER, Cut.BOTH))


def _months(first: date, last: date) -> Iterator[date]:
    """The first days of the months that the days from first to last touch."""
    month = first.replace(day=1)
    while month <= last:
        yield month
        month = _month_end(month) + timedelta(days=1)


def _weeks(first: date, last: date) -> Iterator[date]:
    """The Mondays from first to last."""
    monday = first + -first.weekday() % 7 * _DAY
    while monday <= last:
        yield monday
        monday += 7 * _DAY


def _month_end(month: date) -> date:
    return (month.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
