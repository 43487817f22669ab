"""What the page of an evaluation shows, computed by a job when something was judged since and kept in its row."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Count, Max, Q, QuerySet
from django.db.models.functions import Length
from django.utils import timezone

from annotate.labeling.ordering import Ordering
from annotate.models import Judgment, Response
from rlhf.human_evaluation import bradley_terry, comparisons, sequential_test, win_rates
from rlhf.human_evaluation.comparisons import SAME_TEXT, Comparison, JudgedPrompt, Order
from rlhf.human_evaluation.sequential_test import SequentialTest
from rlhf.human_evaluation.win_rates import WinRate
from rlhf.models import EvaluationItem, HumanEvaluation

BATCH = 500
DIGITS = 6


def refresh(evaluation: HumanEvaluation) -> bool:
    """Compute the figures again where judgments changed since; whether they did."""
    state = state_of(Q(task__evaluation_item__evaluation=evaluation))
    if evaluation.figures and evaluation.figures_of == state:
        return False
    evaluation.figures = compute(evaluation)
    evaluation.figures_of, evaluation.figures_at = state, timezone.now()
    evaluation.save(update_fields=["figures", "figures_of", "figures_at"])
    return True


def state_of(which: Q) -> str:
    """A text that changes whenever a judgment is given, revised, taken back or left out."""
    found = Judgment.objects.filter(Judgment.WORK, which).aggregate(n=Count("pk"), last=Max("latest"))
    return f"{found['n']}-{found['last'] or 0}"


def compute(evaluation: HumanEvaluation) -> dict[str, Any]:
    """{judgments, prompts, complete, same_text, pairs, groups, ratings, controlled}, as JSON."""
    judged = list(judged_prompts(evaluation.items.all()))
    order = list(evaluation.evaluated.order_by("place").values_list("version", flat=True))
    all_of_them = [one for prompt in judged for one in comparisons.of_prompt(prompt)]
    complete = {prompt.prompt for prompt in judged if prompt.is_complete}
    scores = comparisons.prompt_scores(all_of_them)
    alpha = sequential_test.corrected(evaluation.alpha, versions=len(order))
    pairs = [(first, second) for place, first in enumerate(order) for second in order[place + 1 :]]
    return {
        "judgments": sum(len(prompt.orders) for prompt in judged if prompt.orders != [SAME_TEXT]),
        "prompts": len(judged),
        "complete": len(complete),
        "same_text": sum(prompt.orders == [SAME_TEXT] for prompt in judged),
        "alpha": alpha,
        "pairs": [
            _pair(
                first,
                second,
                scores=_oriented(scores, first, second),
                complete=complete,
                alpha=alpha,
                margin=evaluation.margin,
            )
            for first, second in pairs
        ],
        "groups": [
            group
            for name in ("use_case", "language")
            for group in _groups(name, judged, [(pair, _oriented(scores, *pair)) for pair in pairs])
        ],
        "ratings": rated(all_of_them, anchor=order[0], seed=evaluation.pk),
        "controlled": rated(all_of_them, anchor=order[0], seed=evaluation.pk, control_length=True),
    }


def judged_prompts(items: QuerySet[EvaluationItem]) -> Iterable[JudgedPrompt]:
    """Prompts with their judgments as they are now, those without any among them."""
    rows = items.exclude(responses={}).select_related("evaluation", "prompt").order_by("pk")
    found = list(rows)
    for start in range(0, len(found), BATCH):
        some = found[start : start + BATCH]
        orders = _orders([item.task_id for item in some if item.task_id is not None])
        shown = {key for item in some for keys in item.responses.values() for key in keys}
        lengths = dict(Response.objects.filter(pk__in=shown).order_by().values_list("pk", Length("text")))
        for item in some:
            given = [SAME_TEXT] if item.task_id is None else orders[item.task_id]
            wanted = 1 if item.task_id is None else item.evaluation.judgments_per_prompt
            yield JudgedPrompt(
                prompt=item.prompt_id,
                responses={int(version): keys for version, keys in item.responses.items()},
                orders=given,
                is_complete=len(given) >= wanted,
                lengths=lengths,
                use_case=item.prompt.use_case,
                language=item.prompt.language,
            )


def _orders(task_ids: Sequence[int]) -> dict[int, list[Order]]:
    found: dict[int, list[Order]] = defaultdict(list)
    judgments = Judgment.objects.filter(Judgment.WORK, task__in=task_ids).order_by("pk")
    for task, tiers, unacceptable in judgments.values_list("task", "latest__tiers", "latest__all_unacceptable"):
        found[task].append(Order(Ordering.stored(tiers), unacceptable))
    return found


def _oriented(scores: dict[comparisons.Pair, dict[int, float]], first: int, second: int) -> dict[int, float]:
    """{prompt: score of `first` against `second`}, whichever of them is the first of the pair that is stored."""
    if (first, second) in scores:
        return scores[first, second]
    return {prompt: 1 - score for prompt, score in scores.get((second, first), {}).items()}


def _pair(
    first: int, second: int, *, scores: dict[int, float], complete: set[int], alpha: float, margin: float
) -> dict[str, Any]:
    tested = [score for prompt, score in scores.items() if prompt in complete]
    test = SequentialTest(scores=sum(tested), count=len(tested), alpha=alpha, margin=margin)
    low, high = test.interval
    return {
        "first": first,
        "second": second,
        **_win_rate(WinRate.of(scores.values())),
        "tested": test.count,
        "anytime_low": low,
        "anytime_high": high,
        "e_value": test.e_value,
        "verdict": str(test.verdict),
    }


def _win_rate(found: WinRate) -> dict[str, Any]:
    names = ("rate", "low", "high", "wins", "ties", "losses", "prompts")
    return {name: getattr(found, name) for name in names}


def _groups(
    name: str, judged: Sequence[JudgedPrompt], pairs: Sequence[tuple[comparisons.Pair, dict[int, float]]]
) -> Iterable[dict[str, Any]]:
    groups = {prompt.prompt: getattr(prompt, name) for prompt in judged}
    for (first, second), scores in pairs:
        for value, found in win_rates.by_group(scores, groups).items():
            yield {"by": name, "value": value, "first": first, "second": second, **_win_rate(found)}


def rated(all_of_them: Sequence[Comparison], *, anchor: int, seed: int, control_length: bool = False) -> dict[str, Any]:
    """Ratings as JSON: {anchor, versions: [{version, rating, low, high}], length_effect, unconnected}."""
    found = bradley_terry.rate(all_of_them, anchor=anchor, seed=seed, control_length=control_length)
    return {
        "anchor": anchor,
        "versions": [
            {"version": one.version, "rating": one.rating, "low": one.low, "high": one.high} for one in found.ratings
        ],
        "length_effect": found.length_effect,
        "unconnected": list(found.unconnected),
    }
