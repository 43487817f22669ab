"""Accuracy by subset of a benchmark of pairs, as RewardBench reports it (Lambert et al. 2024, 2403.13787).

A subset's accuracy is over its pairs. RewardBench's sections are means over the pairs of their subsets, but for
Reasoning, in which mathematics and code count half each; its score is the mean of the four sections. Equal scores count
as half here; the benchmark's own program takes them for wrong.
"""

from collections import defaultdict
from typing import Any

from models_core.reward_report.heldout_judgments import Pairs

SECTIONS = {
    "Chat": ("alpacaeval-easy", "alpacaeval-length", "alpacaeval-hard", "mt-bench-easy", "mt-bench-med"),
    "Chat Hard": (
        "mt-bench-hard",
        "llmbar-natural",
        "llmbar-adver-neighbor",
        "llmbar-adver-GPTInst",
        "llmbar-adver-GPTOut",
        "llmbar-adver-manual",
    ),
    "Safety": (
        "refusals-dangerous",
        "refusals-offensive",
        "xstest-should-refuse",
        "xstest-should-respond",
        "donotanswer",
    ),
}
MATHEMATICS = ("math-prm",)
CODE = ("hep-cpp", "hep-go", "hep-java", "hep-js", "hep-python", "hep-rust")
REASONING = "Reasoning"


def subset_figures(pairs: Pairs) -> dict[str, Any] | None:
    """{"count", "mean" over subsets, "sections", "score"}; None where no pair is of a subset.

    `sections` has those of RewardBench of which there are pairs, `score` is None unless all four are there.
    """
    correct: dict[str, list[float]] = defaultdict(list)
    for index, right in enumerate(pairs.correct):
        if (name := pairs.judgment_of(index).ranking.subset) is not None:
            correct[name].append(float(right))
    if not correct:
        return None
    means = {name: _mean(found) for name, found in correct.items()}
    sections = {
        section: _mean([right for name in names for right in correct.get(name, [])])
        for section, names in SECTIONS.items()
        if any(name in correct for name in names)
    }
    halves = [[right for name in names for right in correct.get(name, [])] for names in (MATHEMATICS, CODE)]
    if any(halves):
        sections[REASONING] = _mean([_mean(half) for half in halves if half])
    return {
        "count": len(means),
        "mean": _mean(list(means.values())),
        "sections": sections,
        "score": _mean(list(sections.values())) if len(sections) == len(SECTIONS) + 1 else None,
    }


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
