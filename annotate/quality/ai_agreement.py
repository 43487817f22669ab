"""How far an AI labeler agrees with people, by use case: what decides whether its judgments may count.

On every task that people judged too, each pair that a person ordered strictly is compared with the AI labeler's order:
agreement is 1, a tie of the AI labeler 1/2, the opposite 0. The pairs of one task go together (annotate.quality
.intervals). Beside it stand how far people agree with each other on the same tasks, how often the AI labeler kept its
verdict when the responses changed places, and how often it and people prefer the longer response.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Self

from django.db import transaction
from django.db.models.functions import Length
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.labeling.ordering import Ordering
from annotate.models import AILabeler, Judgment, Prompt, Response, User
from annotate.people import audit
from annotate.quality.intervals import Share

MOST_TASKS = 20_000
"""The latest judgments of the AI labeler that are measured."""
BATCH = 500
ALL = ""
"""The key of the measures over all use cases."""
MEASURES = ("agreement", "people", "consistency", "longer", "people_longer")
Ranks = Mapping[int, int]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of one use case, or of all (`use_case` empty).

    tasks: that people judged too. agreement: with people. people: of people with each other on these tasks.
    consistency: pairs judged alike in both orders. longer, people_longer: strict preferences for the longer response.
    """

    use_case: str
    tasks: int
    agreement: Share
    people: Share
    consistency: Share
    longer: Share
    people_longer: Share

    @property
    def label(self) -> str:
        return str(Prompt.UseCase(self.use_case).label) if self.use_case else _("All use cases")

    @property
    def length_bias(self) -> float | None:
        """How much more often than people the AI labeler prefers the longer response."""
        if self.longer.rate is None or self.people_longer.rate is None:
            return None
        return self.longer.rate - self.people_longer.rate

    def passes(self, labeler: AILabeler) -> bool:
        low = self.agreement.low
        return self.tasks >= labeler.least_tasks and low is not None and low >= labeler.least_agreement

    @classmethod
    def read(cls, use_case: str, stored: Mapping[str, Any]) -> Self:
        shares = {name: Share(*stored[name]) for name in MEASURES}
        return cls(use_case=use_case, tasks=stored["tasks"], **shares)


def rows(labeler: AILabeler) -> list[Agreement]:
    """As they were measured last: all use cases together first, then each by its number of tasks."""
    found = [Agreement.read(name, values) for name, values in labeler.measures.items()]
    return sorted(found, key=lambda row: (row.use_case != ALL, -row.tasks, row.use_case))


def measure(labeler: AILabeler) -> AILabeler:
    """Measure the judgments of its latest version and store that. Use cases that fall below the bound count no more."""
    clusters: dict[str, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    tasks: Counter[str] = Counter()
    for use_case, of_task in _tasks(labeler):
        for key in (use_case, ALL):
            tasks[key] += of_task["people_judged"][1]
            for name in MEASURES:
                clusters[key][name].append(of_task[name])
    stored: dict[str, dict[str, Any]] = {
        key: {"tasks": tasks[key]} | {name: _stored(by_name[name]) for name in MEASURES}
        for key, by_name in clusters.items()
    }
    with transaction.atomic():
        locked = AILabeler.objects.select_for_update(no_key=True).get(pk=labeler.pk)
        if locked.version != labeler.version:
            return locked  # what was measured is not what it judges with now
        locked.measures, locked.measured_at = stored, timezone.now()
        passing = set(_passing(locked))
        fallen = [name for name in locked.counted_use_cases if name not in passing]
        if fallen:
            locked.counted_use_cases = [name for name in locked.counted_use_cases if name in passing]
            locked.is_counted = locked.is_counted and bool(locked.counted_use_cases)
            audit.record(
                verb="ai_labeler.below_bound",
                actor=None,
                subject=locked,
                project=locked.project,
                use_cases=fallen,
            )
        locked.save(update_fields=["measures", "measured_at", "counted_use_cases", "is_counted"])
    return locked


def count(labeler: AILabeler, *, by: User | None) -> AILabeler:
    """Let its judgments count in the use cases that pass the bound now. Raises Refused where none does."""
    labeler = measure(labeler)
    with transaction.atomic():
        locked = AILabeler.objects.select_for_update(no_key=True).get(pk=labeler.pk)
        passing = _passing(locked)
        if not passing:
            raise Refused(
                _(
                    "In no use case does it reach the bound: an interval of agreement above %(bound)s on at least "
                    "%(tasks)s tasks that people judged too."
                )
                % {"bound": f"{100 * locked.least_agreement:.0f}%", "tasks": locked.least_tasks}
            )
        locked.is_counted, locked.counted_use_cases = True, passing
        locked.save(update_fields=["is_counted", "counted_use_cases"])
        audit.record(
            verb="ai_labeler.counted", actor=by, subject=locked, project=locked.project, use_cases=passing,
            version=locked.version,
        )  # fmt: skip
    return locked


def stop_counting(labeler: AILabeler, *, by: User | None) -> None:
    with transaction.atomic():
        changed = AILabeler.objects.filter(pk=labeler.pk, is_counted=True)
        if changed.update(is_counted=False, counted_use_cases=[]):
            audit.record(verb="ai_labeler.not_counted", actor=by, subject=labeler, project=labeler.project)


def _passing(labeler: AILabeler) -> list[str]:
    return [row.use_case for row in rows(labeler) if row.use_case != ALL and row.passes(labeler)]


def _stored(clusters: list[tuple[int, int]]) -> list[Any]:
    """A share as JSON. Hits and totals of agreement are counted twice, so that a tie is a whole number."""
    share = Share.of_clusters(clusters)
    return [share.hits, share.total, share.low, share.high, share.clusters]


def _tasks(labeler: AILabeler) -> Iterator[tuple[str, dict[str, tuple[int, int]]]]:
    """(use case, {measure: (hits, total)}) of each task that the latest version judged."""
    own = Judgment.objects.filter(
        Judgment.BY_AI, ai_labeler=labeler, latest__content__judge_version=labeler.version
    ).order_by("-pk")
    keys = list(own.values_list("pk", flat=True)[:MOST_TASKS])
    for start in range(0, len(keys), BATCH):
        names = ("task", "task__prompt__use_case", "latest__tiers", "latest__content")
        judged = {row["task"]: row for row in own.filter(pk__in=keys[start : start + BATCH]).values(*names)}
        ranks: dict[int, list[Ranks]] = defaultdict(list)
        given = Judgment.objects.filter(Judgment.COUNTED, task__in=list(judged)).order_by("pk")
        for task, tiers in given.values_list("task", "latest__tiers"):
            ranks[task].append(Ordering.stored(tiers).ranks())
        shown = {key for row in judged.values() for tier in row["latest__tiers"] for key in tier}
        lengths = _lengths(shown)
        for task, row in judged.items():
            ai = Ordering.stored(row["latest__tiers"]).ranks()
            content = row["latest__content"]
            consistent = (int(content.get("consistent", 0)), int(content.get("pairs", 0)))
            yield row["task__prompt__use_case"], _of_task(ai, ranks[task], lengths, consistent)


def _lengths(responses: Iterable[int]) -> dict[int, int]:
    keys = sorted(responses)
    found: dict[int, int] = {}
    for start in range(0, len(keys), BATCH):
        some = Response.objects.filter(pk__in=keys[start : start + BATCH]).order_by()
        found |= dict(some.values_list("pk", Length("text")))
    return found


def _of_task(
    ai: Ranks, people: list[Ranks], lengths: Mapping[int, int], consistent: tuple[int, int]
) -> dict[str, tuple[int, int]]:
    with_people = [_agreeing(person, ai) for person in people]
    among_people = [_agreeing(one, other, is_strict=True) for one, other in combinations(people, 2)]
    return {
        "people_judged": (0, int(any(total for _hits, total in with_people))),
        "agreement": _sum(with_people),
        "people": _sum(among_people),
        "consistency": consistent,
        "longer": _longer(ai, lengths) if people else (0, 0),
        "people_longer": _sum(_longer(person, lengths) for person in people),
    }


def _agreeing(person: Ranks, other: Ranks, *, is_strict: bool = False) -> tuple[int, int]:
    """(hits, total), each counted twice, over the pairs that the person ordered strictly; a tie of the other is half a
    hit, or with `is_strict` leaves the pair out."""
    hits = total = 0
    for a, b in combinations([key for key in person if key in other], 2):
        wanted = _sign(person[a] - person[b])
        given = _sign(other[a] - other[b])
        if not wanted or (is_strict and not given):
            continue
        total += 2
        hits += 2 * (given == wanted) + (given == 0)
    return hits, total


def _longer(ranks: Ranks, lengths: Mapping[int, int]) -> tuple[int, int]:
    """(strict preferences for the longer response, those between responses of different lengths)."""
    hits = total = 0
    for a, b in combinations(ranks, 2):
        better, worse = (a, b) if ranks[a] < ranks[b] else (b, a)
        if ranks[a] != ranks[b] and lengths[better] != lengths[worse]:
            total += 1
            hits += lengths[better] > lengths[worse]
    return hits, total


def _sum(counts: Iterable[tuple[int, int]]) -> tuple[int, int]:
    pairs = list(counts)
    return sum(hits for hits, _ in pairs), sum(total for _, total in pairs)


def _sign(difference: int) -> int:
    return (difference > 0) - (difference < 0)
