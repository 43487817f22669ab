"""Reading the tasks of a batch with their judgments, as annotate.quality.measures.contributions takes them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.functions import Length

from annotate.labeling import task_kinds
from annotate.labeling.ordering import Ordering
from annotate.models import Judgment, JudgmentRevision, QualityCheck, Response, ResponseScore, Task
from annotate.quality.measures.contributions import JudgmentFacts, TaskFacts
from annotate.quality.preference_analysis.counted_authors import CountedAuthors

APART = (Task.State.EXAM, Task.State.GOLD, Task.State.REPEAT)
"""States of tasks whose labelers are not compared with each other."""
TASK = ("pk", "kind", "state", "gold_tiers", "prompt__use_case", "prompt__language", "project__language")
JUDGMENT = (
    "task",
    "labeler",
    "left_out",
    "is_adjudication",
    "is_check",
    "created_at",
    "surplus",
    "chat_turn",
    "assignment__presentation",
    "assignment__opened_at",
    "latest__number",
    "latest__tiers",
    "latest__all_unacceptable",
    "latest__ratings",
    "latest__content",
    "latest__seconds",
    "latest__source",
    "latest__rubric__criteria",
    "quality_check__kind",
    "quality_check__score",
)
Row = dict[str, Any]


def read(
    task_ids: Sequence[int], authors: CountedAuthors | None = None
) -> tuple[dict[int, TaskFacts], dict[int, datetime | None]]:
    """({task: its facts}, {task: its consensus_stale_at}). What is marked later than that may be in the facts or not.

    Without tasks of imports that haven't finished. Models that are new to `authors` are added to them.
    """
    # The marks first: a judgment that comes now marks its task anew.
    stale = dict(Task.objects.filter(pk__in=task_ids).order_by().values_list("pk", "consensus_stale_at"))
    tasks = {row["pk"]: row for row in Task.objects.filter(pk__in=stale).order_by().values(*TASK)}
    judged: dict[int, list[Row]] = {}
    for row in _given().filter(task__in=stale).order_by("pk").values(*JUDGMENT):
        judged.setdefault(row["task"], []).append(row)
    shown = {key for rows in judged.values() for row in rows for key in row["assignment__presentation"]}
    shown |= {key for rows in judged.values() for row in rows for tier in row["latest__tiers"] for key in tier}
    responses = _Responses(sorted(shown), authors or CountedAuthors())
    return {key: _task(tasks[key], judged.get(key, []), responses) for key in tasks}, stale


def _given() -> QuerySet[Judgment]:
    """People's judgments that were not taken back: those that count, are left out, or decide between others."""
    by_people = Judgment.objects.filter(Judgment.BY_LABELERS, latest__isnull=False)
    return by_people.filter(Q(is_adjudication=False) | Judgment.ADJUDICATED)


class _Responses:
    """{response: its length, reward score, and under which name its author is counted}."""

    def __init__(self, numbers: list[int], counted: CountedAuthors) -> None:
        self.lengths: dict[int, int] = {}
        self.scores: dict[int, float] = {}
        self.authors: dict[int, str] = {}
        for start in range(0, len(numbers), 500):
            some = numbers[start : start + 500]
            rows = Response.objects.filter(pk__in=some).order_by("pk")
            for key, length, author, kind in rows.values_list("pk", Length("text"), "author", "author__kind"):
                self.lengths[key], self.authors[key] = length, counted.group(author, kind)
            scored = ResponseScore.objects.filter(response__in=some).order_by()
            self.scores |= dict(scored.values_list("response", "score"))


def _task(task: Row, rows: list[Row], responses: _Responses) -> TaskFacts:
    kind = task["kind"]
    judgments = [_judgment(row, kind) for row in rows if not row["is_adjudication"]]
    adjudicated = [Ordering.stored(row["latest__tiers"]) for row in rows if row["is_adjudication"]]
    seen = {key for row in rows for key in row["assignment__presentation"]}
    seen |= {key for judgment in judgments for tier in judgment.ordering.tiers for key in tier}
    gold = task["gold_tiers"]
    return TaskFacts(
        number=task["pk"],
        kind=kind,
        use_case=task["prompt__use_case"] or "",
        language=(task["prompt__language"] or task["project__language"]).lower(),
        judgments=judgments,
        gold=Ordering.stored(gold) if gold else None,
        adjudicated=adjudicated[0] if adjudicated else None,
        is_shared=task["state"] not in APART,
        lengths={key: responses.lengths[key] for key in seen if key in responses.lengths},
        scores={key: responses.scores[key] for key in seen if key in responses.scores},
        authors={key: responses.authors[key] for key in seen if key in responses.authors},
    )


def _judgment(row: Row, kind: str) -> JudgmentFacts:
    seen_here = row["assignment__opened_at"] is not None
    scales = {item["name"]: (item["min"], item["max"]) for item in row["latest__rubric__criteria"] or ()}
    return JudgmentFacts(
        labeler=row["labeler"],
        day=row["created_at"].astimezone(UTC).date(),
        ordering=Ordering.stored(row["latest__tiers"]),
        shown=row["assignment__presentation"] if seen_here else (),
        seconds=row["latest__seconds"],
        surplus=row["surplus"],
        revised=row["latest__number"] > 1,
        unacceptable=row["latest__all_unacceptable"],
        by_ai=row["latest__source"] == JudgmentRevision.Source.AI,
        imported=not seen_here,
        is_counted=row["chat_turn"] is None,
        left_out=row["left_out"] is not None,
        is_check=row["is_check"],
        consistency=row["quality_check__score"] if row["quality_check__kind"] == QualityCheck.Kind.REPEAT else None,
        ratings={int(key): ratings for key, ratings in row["latest__ratings"].items()},
        scales=scales,
        written=_written(kind, row["latest__content"]),
    )


def _written(kind: str, content: dict[str, Any]) -> int:
    """Characters that the labeler wrote as the work itself."""
    if not content or kind not in (Task.Kind.DEMONSTRATE, Task.Kind.WRITE_PROMPT):
        return 0
    return sum(len(turn.text) for turn in task_kinds.get(kind).texts(JudgmentRevision(content=content)))
