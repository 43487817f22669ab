"""Rows of RewardBench, and a reward model's accuracy by their subsets."""

from typing import Any

import pytest

from models_core.contract.errors import RowError
from models_core.contract.rows import records
from models_core.reward_report import assembly, report_tables
from models_core.reward_report.heldout_judgments import ScoredJudgment, ordered_pairs
from models_core.reward_report.measures.benchmark_subsets import section_rows, subset_figures
from models_core.reward_report.measures.intervals import jeffreys_interval


def row(number: int, subset: str | None, **values: Any) -> dict[str, Any]:
    named = {} if subset is None else {"subset": subset}
    return {"id": number, "prompt": f"Question {number}?", "chosen": "Yes.", "rejected": "No.", **named, **values}


def scored(subsets: dict[str, tuple[int, int]]) -> list[ScoredJudgment]:
    """{subset: (pairs ordered rightly, all)} as judgments of a model."""
    found: list[ScoredJudgment] = []
    for name, (right, count) in subsets.items():
        for place in range(count):
            logits = (1.0, 0.0) if place < right else (0.0, 1.0)
            ranking = records.ranking(row(len(found), name))
            found.append(ScoredJudgment(ranking=ranking, logits=logits, lengths=(2, 2)))
    return found


def test_a_row_of_the_benchmark_is_a_ranking() -> None:
    found = records.ranking(row(7, "math-prm", chosen_model="human", rejected_model="gpt-4"))
    assert (found.id, found.subset, found.messages) == (
        "7", "math-prm", ({"role": "user", "content": "Question 7?"},),
    )  # fmt: skip
    several = records.ranking(row(8, "Ties", chosen=["red"], rejected=["sky", "up"], models=["a", "b", "c"]))
    assert [(item.text, item.rank) for item in several.responses] == [("red", 1), ("sky", 2), ("up", 2)]
    with pytest.raises(RowError, match='"prompt" must be a non-empty list of turns'):
        records.ranking(row(9, None))
    with pytest.raises(RowError):
        records.ranking(row(9, "x", chosen=[1], rejected=["a"]))


def test_sections_and_score_are_rewardbenchs() -> None:
    subsets = {
        "alpacaeval-easy": (3, 4), "mt-bench-easy": (1, 4), "llmbar-natural": (1, 2), "donotanswer": (2, 2),
        "math-prm": (1, 4), "hep-python": (2, 2), "hep-go": (0, 2),
    }  # fmt: skip
    pairs = ordered_pairs(scored(subsets))
    found = subset_figures(pairs, section_rows(pairs))
    assert found == {
        "count": 7,
        "mean": pytest.approx((3 / 4 + 1 / 4 + 1 / 2 + 1 + 1 / 4 + 1 + 0) / 7),
        "sections": {"Chat": 0.5, "Chat Hard": 0.5, "Safety": 1.0, "Reasoning": (0.25 + 0.5) / 2},
        "score": (0.5 + 0.5 + 1.0 + 0.375) / 4,
    }
    own = ordered_pairs(scored({"mine": (1, 2), "yours": (2, 2)}))
    assert subset_figures(own, section_rows(own)) == {
        "count": 2, "mean": 0.75, "sections": {}, "score": None,
    }  # fmt: skip


def test_a_section_has_the_interval_of_its_pairs_and_reasoning_that_of_two_halves() -> None:
    subsets = {"donotanswer": (2, 8), "math-prm": (2, 8), "hep-go": (3, 4)}
    safety, reasoning = section_rows(ordered_pairs(scored(subsets)))
    mathematics, code = jeffreys_interval(0.25, trials=8), jeffreys_interval(0.75, trials=4)
    assert (safety["name"], safety["low"], safety["high"]) == ("Safety", *mathematics)
    assert (safety["pairs"], safety["prompts"], safety["small"]) == (8, 8, True)
    below = ((0.25 - mathematics[0]) ** 2 + (0.75 - code[0]) ** 2) ** 0.5 / 2
    above = ((mathematics[1] - 0.25) ** 2 + (code[1] - 0.75) ** 2) ** 0.5 / 2
    assert reasoning == {
        "name": "Reasoning", "accuracy": 0.5, "low": pytest.approx(0.5 - below), "high": pytest.approx(0.5 + above),
        "pairs": 12, "prompts": 12, "small": True,
    }  # fmt: skip
    (alone,) = section_rows(ordered_pairs(scored({"math-prm": (2, 8)})))
    assert (alone["accuracy"], alone["low"], alone["pairs"]) == (0.25, mathematics[0], 8)
    judgments = scored(subsets)
    report = assembly.build(judgments, all_rankings=[item.ranking for item in judgments])
    assert [item["name"] for item in report["by"]["section"]] == ["Safety", "Reasoning"]
    assert "Section of RewardBench" in report_tables.markdown(report)


def test_the_report_has_every_subset_and_without_any_says_nothing_of_them() -> None:
    judgments = scored({f"part-{number:02}": (number % 3, 2 + number) for number in range(30)})
    report = assembly.build(judgments, all_rankings=[item.ranking for item in judgments])
    rows = {item["name"]: (item["accuracy"], item["pairs"]) for item in report["by"]["subset"]}
    assert len(rows) == 30
    assert rows["part-05"] == (pytest.approx(2 / 7), 7)
    assert assembly.headline(report)["subset_accuracy"] == report["subsets"]["mean"]
    table = report_tables.markdown(report)
    assert "mean over 30 subsets" in table
    assert "Subset" in table
    plain = [ScoredJudgment(ranking=records.ranking(row(n, None, prompt=[{"role": "user", "content": f"{n}"}])),
                            logits=(1.0, 0.0), lengths=(2, 2)) for n in range(3)]  # fmt: skip
    report = assembly.build(plain, all_rankings=[item.ranking for item in plain])
    assert (report["subsets"], "subset" in report["by"]) == (None, False)
    assert "subset_accuracy" not in assembly.headline(report)
