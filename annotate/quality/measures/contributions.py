"""What the judgments of one task add to the sums. Pure; no database.

A contribution is a JSON object that is kept with the task (TaskMeasures), so that exactly what was added is taken out
again when a judgment of the task changes:

    {"key": [kind, use case, language],
     "task": [day, counts, shares],                       its agreement, on the day of its last judgment
     "wins": shares,                                      which responses win (win_counts.py), on the task's day
     "judgments": [[day, labeler, counts, shares], ...]}  what each judgment says for itself, on its own day

counts: {name: whole number}. shares: {name: [h, n]}, "h of n" within this task or judgment, which is one cluster of
annotate.quality.intervals.Moments. Names with a part behind a bar are families, such as "seconds|20". A day is one of
UTC. docs/measures.md says what each of them measures.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import lru_cache
from itertools import combinations
from typing import Any

from annotate.labeling.ordering import Ordering
from annotate.models import MeasureSums
from annotate.quality import agreement
from annotate.quality.aggregation.votes import pair_votes
from annotate.quality.intervals import cluster_counters
from annotate.quality.preference_analysis import win_counts

Contribution = dict[str, Any]
Cut, Grain = MeasureSums.Cut, MeasureSums.Grain
Key = tuple[str, str, date, int | None, str, str, str]
"""cut, grain, start, labeler, kind, use case, language: as MeasureSums.KEY names them."""

GROUPS = 10
"""Tasks are in so many groups by their number: what the jackknife leaves out one by one."""
TAU_UNIT = 1e-4
"""Values of tau are added up as whole multiples of this."""
DIFFERENCE_UNIT = 0.01
SCORE_UNIT = 1e-4
MOST_STEPS = 20
"""A criterion with more steps is put into so many, or its coincidence matrix would have thousands of cells."""

# Reading aloud at the normal speed of a fluent reader, characters a second (Trauzettel-Klosinski and Dietz 2012: 987
# and 255 a minute), and typing by the fastest of 168,000 people (Dhakal et al. 2018: about 120 words a minute); a
# character of Chinese, Japanese or Korean takes at least two keystrokes.
READING = {"latin": 987 / 60, "cjk": 255 / 60}
TYPING = {"latin": 10.0, "cjk": 4.0}
CJK = ("zh", "ja", "ko")
HASTE = 1 / 3
"""A judgment is hasty that took less than this share of the time in which its responses can be read once."""
SHORTEST_READING = 3.0
"""Seconds of reading below which haste cannot be measured."""
SHORTEST_WRITTEN = 200
"""Characters below which a pasted text cannot be detected."""


@dataclass(frozen=True, kw_only=True)
class JudgmentFacts:
    """What is read of a judgment that counts.

    shown: response ids in the order of the page, or none where nobody saw them here (an import). is_counted: whether it
    is work of its own; a choice within a chat is a part of the chat. left_out: it counts as work alone. is_check:
    of a hidden check, which is work and says something of the labeler, but no data of the project. written: characters
    that the labeler wrote. consistency: of a repeat, the share of pairs ordered as the first time.
    scales: {criterion: (lowest, highest)} of its rubric.
    """

    labeler: int
    day: date
    ordering: Ordering
    shown: Sequence[int] = ()
    seconds: float | None = None
    surplus: bool = False
    revised: bool = False
    unacceptable: bool = False
    by_ai: bool = False
    imported: bool = False
    is_counted: bool = True
    left_out: bool = False
    is_check: bool = False
    consistency: float | None = None
    ratings: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    written: int = 0


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """What is read of a task: its judgments, the lengths and reward scores of its responses.

    is_shared: whether its labelers are compared with each other; gold tasks compare each with the known order alone.
    authors: {response: under which name its author is counted}.
    """

    number: int
    kind: str
    use_case: str
    language: str
    judgments: Sequence[JudgmentFacts] = ()
    gold: Ordering | None = None
    adjudicated: Ordering | None = None
    is_shared: bool = True
    lengths: Mapping[int, int] = field(default_factory=dict)
    scores: Mapping[int, float] = field(default_factory=dict)
    authors: Mapping[int, str] = field(default_factory=dict)


def contribution(task: TaskFacts) -> Contribution:
    """Empty where no judgment counts."""
    if not task.judgments:
        return {}
    excluded, task = [one for one in task.judgments if one.left_out], _without_left_out(task)
    ranks = {judgment.labeler: judgment.ordering.ranks() for judgment in task.judgments} if task.is_shared else {}
    compared = {
        (one, other): agreement.compare(ranks[one], ranks[other]) for one, other in combinations(sorted(ranks), 2)
    }
    votes = pair_votes(judgment.ordering for judgment in task.judgments) if len(ranks) > 2 else {}
    rows: list[Any] = [[one.day.isoformat(), one.labeler, _left_out_counts(one), {}] for one in excluded]
    for judgment in task.judgments:
        counts, shares = _own_counts(judgment, task), _own_shares(judgment, task)
        if mine := ranks.get(judgment.labeler):
            others = [found for pair, found in compared.items() if judgment.labeler in pair]
            shares |= _comparison_shares("others", others)
            if counts.get("hasty"):
                shares["hasty_others"] = shares["others"]
            shares["majority"] = agreement.agreement_with_majority(mine, votes)
        _add_rating_comparisons(counts, shares, judgment, task)
        rows.append([judgment.day.isoformat(), judgment.labeler, _filled(counts), _filled_shares(shares)])
    day = max(judgment.day for judgment in task.judgments or excluded)
    counts, shares, wins = Counter[str](), {}, {}
    if not any(judgment.is_check for judgment in task.judgments):
        counts = _task_counts(task, list(ranks.values()))
        shares = _comparison_shares("agreement", compared.values()) | _rating_shares(task)
        wins = _win_shares(task)
    return {
        "key": [task.kind, task.use_case, task.language],
        "task": [day.isoformat(), _filled(counts), _filled_shares(shares)],
        "wins": _filled_shares(wins),
        "judgments": rows,
    }


def sums_of(found: Contribution) -> Iterator[tuple[Key, dict[str, int]]]:
    """The rows of sums that a contribution is a part of, with what it adds to each."""
    if not found:
        return
    kind, use_case, language = found["key"]
    day, counts, shares = found["task"]
    added = _counters(counts, shares)
    for grain, start in _starts(day):
        yield (Cut.PROJECT, grain, start, None, kind, "", ""), added
        yield (Cut.SEGMENT, grain, start, None, kind, use_case, language), added
    if wins := _counters({}, found["wins"]):
        for grain, start in _starts(day):
            yield (Cut.WINS, grain, start, None, kind, "", ""), wins
            yield (Cut.WINS_BY, grain, start, None, kind, use_case, language), wins
    for day, labeler, counts, shares in found["judgments"]:
        added = _counters(counts, shares)
        for grain, start in _starts(day):
            yield (Cut.PROJECT, grain, start, None, kind, "", ""), added
            yield (Cut.SEGMENT, grain, start, None, kind, use_case, language), added
            yield (Cut.LABELER, grain, start, labeler, kind, "", ""), added
            yield (Cut.BOTH, grain, start, labeler, kind, use_case, language), added


def rounded_seconds(seconds: float) -> float:
    """To two significant digits: what the quartiles of times are computed from."""
    if seconds <= 0:
        return 0.0
    digits = 1 - math.floor(math.log10(seconds))
    return round(seconds, digits)


@lru_cache(maxsize=1_000)
def _starts(day: str) -> list[tuple[str, date]]:
    when = date.fromisoformat(day)
    monday = when - timedelta(days=when.weekday())
    return [(Grain.DAY, when), (Grain.WEEK, monday), (Grain.MONTH, when.replace(day=1))]


def _counters(counts: Mapping[str, int], shares: Mapping[str, Sequence[int]]) -> dict[str, int]:
    added = dict(counts)
    for name, (h, n) in shares.items():
        added |= cluster_counters(name, h, n)
    return added


def _without_left_out(task: TaskFacts) -> TaskFacts:
    return replace(task, judgments=[one for one in task.judgments if not one.left_out])


def _left_out_counts(judgment: JudgmentFacts) -> dict[str, int]:
    """Of work that was done and counts for nothing else."""
    milliseconds = round((judgment.seconds or 0.0) * 1_000)
    return _filled({"left_out": int(judgment.is_counted), "left_out_milliseconds": milliseconds})


def _own_counts(judgment: JudgmentFacts, task: TaskFacts) -> Counter[str]:
    counts: Counter[str] = Counter()
    if judgment.is_counted:
        counts["judgments"] = 1
        for name in ("surplus", "revised", "unacceptable", "by_ai", "imported", "is_check"):
            counts[name] = int(getattr(judgment, name))
        if judgment.seconds is not None:
            counts["timed"] = 1
            counts["milliseconds"] = round(judgment.seconds * 1_000)
            counts[f"seconds|{rounded_seconds(judgment.seconds):g}"] = 1
    script = "cjk" if task.language.lower().startswith(CJK) else "latin"
    if judgment.seconds is not None and judgment.shown:
        reading = sum(task.lengths.get(key, 0) for key in judgment.shown) / READING[script]
        if reading >= SHORTEST_READING:
            counts["paced"] = 1
            counts["hasty"] = int(judgment.seconds < HASTE * reading)
    if judgment.seconds is not None and judgment.written >= SHORTEST_WRITTEN:
        counts["written"] = 1
        counts["pasted"] = int(judgment.written > TYPING[script] * judgment.seconds)
    tiers, shown = judgment.ordering.tiers, tuple(judgment.shown)
    if len(shown) > 1 and len(tiers) == len(shown):
        counts[f"ordered|{len(shown)}"] = 1
        counts[f"as_shown|{len(shown)}"] = int(tuple(key for tier in tiers for key in tier) == shown)
    if len(shown) > 1 and len(tiers) > 1 and len(tiers[0]) == 1 and len(judgment.ordering) == len(shown):
        counts[f"best|{len(shown)}"] = 1
        counts[f"best_first|{len(shown)}"] = int(tiers[0][0] == shown[0])
    given = [value for ratings in judgment.ratings.values() for value in ratings.values()]
    if len(given) > 1:
        counts["rated"] = 1
        counts["same_ratings"] = int(len(set(given)) == 1)
    return counts


def _own_shares(judgment: JudgmentFacts, task: TaskFacts) -> dict[str, tuple[int, int]]:
    shares = {
        "length": agreement.larger_wins(judgment.ordering, task.lengths),
        "reward": agreement.larger_wins(judgment.ordering, task.scores),
    }
    if judgment.consistency is not None:
        shares["consistency"] = (round(judgment.consistency / SCORE_UNIT), 1)
    if judgment.shown:
        shares["position"] = agreement.first_shown_wins(judgment.ordering, judgment.shown)
    if task.adjudicated is not None:
        shares["adjudicated"] = agreement.against_gold(judgment.ordering, task.adjudicated)
    if task.gold is not None:
        shares["gold"] = agreement.against_gold(judgment.ordering, task.gold)
    return shares


def _comparison_shares(name: str, compared: Iterable[agreement.Comparison]) -> dict[str, tuple[int, int]]:
    """How far the labelers compared agree: on all pairs, on those that neither ties, and by tau-b."""
    hits = pairs = strict_hits = strict_pairs = tau = taus = 0
    for found in compared:
        hits, pairs = hits + found.hits, pairs + found.pairs
        strict_hits, strict_pairs = strict_hits + found.strict_hits, strict_pairs + found.strict_pairs
        if found.tau_b is not None:
            tau, taus = tau + round(found.tau_b / TAU_UNIT), taus + 1
    return {name: (hits, pairs), f"{name}_strict": (strict_hits, strict_pairs), f"{name}_tau": (tau, taus)}


def _add_rating_comparisons(
    counts: Counter[str], shares: dict[str, tuple[int, int]], judgment: JudgmentFacts, task: TaskFacts
) -> None:
    """How a labeler's ratings stand beside those of the others: equal ones, and the mean difference from them."""
    if not task.is_shared:
        return
    for response_id, ratings in judgment.ratings.items():
        for name, value in ratings.items():
            others = [
                other.ratings[response_id][name]
                for other in task.judgments
                if other is not judgment and name in other.ratings.get(response_id, ())
            ]
            hits, total = shares.get(f"others_rating|{name}", (0, 0))
            shares[f"others_rating|{name}"] = (hits + others.count(value), total + len(others))
            counts[f"rating_difference|{name}"] += sum(round((value - other) / DIFFERENCE_UNIT) for other in others)


def _rating_shares(task: TaskFacts) -> dict[str, tuple[int, int]]:
    if not task.is_shared:
        return {}
    shares = {}
    for name, units in _rating_units(task).items():
        hits = sum(count * (count - 1) // 2 for unit in units for count in Counter(unit).values())
        shares[f"agreement_rating|{name}"] = (hits, sum(len(unit) * (len(unit) - 1) // 2 for unit in units))
    return shares


def _win_shares(task: TaskFacts) -> dict[str, tuple[int, int]]:
    if not task.is_shared:
        return {}
    judged = [(judgment.ordering, judgment.shown) for judgment in task.judgments]
    return win_counts.shares(judged, lengths=task.lengths, scores=task.scores, authors=task.authors)


def _task_counts(task: TaskFacts, ranks: list[dict[int, int]]) -> Counter[str]:
    """The tasks with several judgments, and what coincidence matrices are made of: "alpha|what|group|m|low|high"."""
    counts: Counter[str] = Counter({"shared_tasks": int(len(ranks) > 1)})
    subjects = {"rank": agreement.rank_units(ranks)}
    if task.is_shared:
        subjects |= {f"rating:{name}": units for name, units in _rating_units(task).items()}
    for subject, units in subjects.items():
        for (size, low, high), count in agreement.coincidence_counts(units).items():
            counts[f"alpha|{subject}|{task.number % GROUPS}|{size}|{low:g}|{high:g}"] += count
    return counts


def _rating_units(task: TaskFacts) -> dict[str, list[list[float]]]:
    """{criterion: for each response the values that it was rated with}."""
    units: dict[str, dict[int, list[float]]] = {}
    for judgment in task.judgments:
        for response_id, ratings in judgment.ratings.items():
            for name, value in ratings.items():
                step = _step(value, judgment.scales.get(name))
                if step is not None:
                    units.setdefault(name, {}).setdefault(response_id, []).append(step)
    return {name: list(of_response.values()) for name, of_response in units.items()}


def _step(value: float, scale: tuple[float, float] | None) -> float | None:
    """The value as a category: as it is on a scale of few whole steps, or the step of MOST_STEPS that it is on."""
    if scale is None:
        return float(round(value)) if abs(value) <= MOST_STEPS else None
    lowest, highest = scale
    if highest - lowest <= MOST_STEPS:
        return float(round(value))
    return float(round((value - lowest) / (highest - lowest) * MOST_STEPS))


def _filled(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in sorted(counts.items()) if count}


def _filled_shares(shares: Mapping[str, tuple[int, int]]) -> dict[str, list[int]]:
    return {name: list(share) for name, share in sorted(shares.items()) if share[1]}
