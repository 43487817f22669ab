"""What is known of one labeler in a project: pace, agreement, known orders, signs, and the latest work."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import cached_property
from typing import Any

from django.db.models import Exists, OuterRef

from annotate.labeling import judged_texts
from annotate.models import Judgment, JudgmentAcceptance, JudgmentReturn, LabelerReliability, Project, User
from annotate.quality.dashboard import DAYS, TREND_WEEKS
from annotate.quality.measures.advice import Advice, advice
from annotate.quality.measures.report import Measures, Period, PeriodReport, today

RECENT = 20


class LabelerPage:
    """Each figure is computed when it is first asked for; days are those of UTC."""

    def __init__(self, project: Project, labeler: User, *, days: int = DAYS[1]) -> None:
        self.project, self.labeler = project, labeler
        self.days = days if days in DAYS else DAYS[1]
        self.report = PeriodReport(project, Period.last_days(self.days), labeler=labeler)

    @property
    def measures(self) -> Measures:
        return self.report.total

    @cached_property
    def agreement_change(self) -> Any:
        return self.measures.change_since(self.report.before.total)

    @cached_property
    def advice(self) -> list[Advice]:
        return advice(self.measures)

    @cached_property
    def per_day(self) -> list[tuple[date, Measures]]:
        return self.report.trend

    @cached_property
    def weeks(self) -> list[tuple[date, Measures]]:
        """(Monday, measures) of the last TREND_WEEKS weeks."""
        monday = today() - timedelta(days=today().weekday())
        first = monday - timedelta(weeks=TREND_WEEKS - 1)
        sums: dict[date, Counter[str]] = defaultdict(Counter)
        for day, measures in PeriodReport(self.project, Period(first, today()), labeler=self.labeler).trend:
            sums[day - timedelta(days=day.weekday())].update(measures.sums)
        starts = [first + timedelta(weeks=number) for number in range(TREND_WEEKS)]
        return [(start, Measures(sums.get(start, {}), of_labeler=True)) for start in starts]

    @cached_property
    def has_gold(self) -> bool:
        return any(measures.gold.total for _week, measures in self.weeks)

    @cached_property
    def reliability(self) -> LabelerReliability | None:
        return LabelerReliability.objects.filter(project=self.project, labeler=self.labeler, comparisons__gt=0).first()

    @cached_property
    def recent(self) -> list[tuple[Judgment, str]]:
        """The latest judgments with their lines."""
        returned = JudgmentReturn.objects.filter(JudgmentReturn.OPEN, judgment=OuterRef("pk"))
        accepted = JudgmentAcceptance.objects.filter(revision=OuterRef("latest"))
        found = Judgment.objects.filter(project=self.project, labeler=self.labeler, latest__isnull=False)
        latest = (
            found.order_by("-created_at")
            .select_related("latest__rubric", "labeler", "task__prompt", "assignment")
            .annotate(is_returned=Exists(returned), is_accepted=Exists(accepted))[:RECENT]
        )
        return [(judgment, judged_texts.line(judgment)) for judgment in latest]


def csv_rows(page: LabelerPage, name: str) -> Iterator[Sequence[Any]] | None:
    """The table of a chart with its head; None for a name that no chart has."""
    if name == "days":
        head = ("day", "judgments", "hours", "median_seconds")
        days = [(day.isoformat(), of.judgments, round(of.hours, 2), of.median_seconds) for day, of in page.per_day]
        return iter([head, *days])
    if name == "weeks":
        shares = ("agreement", "majority", "gold")
        week_head = ("week", *(f"{share}{part}" for share in shares for part in ("", "_low", "_high", "_pairs")))
        rows = [
            (
                start.isoformat(),
                *(cell for share in (getattr(of, name) for name in shares) for cell in _cells(share)),
            )
            for start, of in page.weeks
        ]
        return iter([week_head, *rows])
    return None


def _cells(share: Any) -> tuple[Any, ...]:
    return (share.rate, share.low, share.high, share.total)
