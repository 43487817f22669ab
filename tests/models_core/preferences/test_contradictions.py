"""One judge who says both, and several who disagree."""

from typing import Any

import pytest

from models_core.contract.errors import BadInput
from models_core.contract.rows.records import Ranking
from models_core.contract.settings import RewardConfig, parse
from models_core.preferences.comparisons import ParsedComparisons, build_comparisons
from models_core.preferences.skipped_rows import SkippedRows
from tests.models_core.preferences.judgment_rows import better, ranking


def parsed(*rankings: Ranking, **settings: Any) -> tuple[ParsedComparisons, SkippedRows]:
    skipped = SkippedRows()
    return build_comparisons(rankings, settings=parse(RewardConfig, settings), skipped=skipped), skipped


BOTH_WAYS = [
    ranking(("a", 1), ("b", 2), ("c", 3), id="1", labeler="anna"),
    better("b", "a", id="2", labeler="anna"),
    better("b", "a", id="3", labeler="ben"),
    better("b", "a", id="4", labeler="anna", prompt="another"),
]


def test_a_labeler_who_says_both_is_counted_and_named() -> None:
    result, _ = parsed(*BOTH_WAYS)
    assert len(result.comparisons) == 4
    assert result.contradictions.report() == {
        "own_pairs": 1,
        "own_rows": ["anna: rows 1, 2"],
        "pairs_judged_by_several": 1,
        "pairs_disagreed_on": 1,
    }


def test_his_pairs_are_left_out_where_a_setting_says_so_and_the_rest_stays() -> None:
    result, skipped = parsed(*BOTH_WAYS, contradictions="skip")
    assert [(v.rows[0].id, [v.texts[p.better] + v.texts[p.worse] for p in v.pairs]) for v in result.comparisons] == [
        ("1", ["ac", "bc"]),
        ("3", ["ba"]),
        ("4", ["ba"]),
    ]
    assert skipped.report() == {"contradictory_pairs": {"count": 2, "rows": ["1", "2"]}}


def test_he_is_refused_where_a_setting_says_so() -> None:
    with pytest.raises(BadInput, match=r"same two responses both ways \(anna: rows 1, 2\)"):
        parsed(*BOTH_WAYS, contradictions="refuse")
    assert len(parsed(*BOTH_WAYS[1:], contradictions="refuse")[0].comparisons) == 3


def test_a_machine_is_one_judge_and_nobody_is_none() -> None:
    machine = [better("a", "b", id="1", judge="gpt-4"), better("b", "a", id="2", judge="gpt-4")]
    unnamed = [better("a", "b", id="1", judge="human"), better("b", "a", id="2")]
    assert parsed(*machine)[0].contradictions.own() == ["gpt-4: rows 1, 2"]
    assert parsed(*unnamed)[0].contradictions.report() == {
        "own_pairs": 0,
        "own_rows": [],
        "pairs_judged_by_several": 1,
        "pairs_disagreed_on": 1,
    }


def test_those_who_agree_are_no_disagreement() -> None:
    rows = [better("a", "b", id="1", labeler="anna"), better("a", "b", id="2", labeler="ben")]
    report = parsed(*rows, better("a", "c", id="3", labeler="anna"))[0].contradictions.report()
    assert (report["pairs_judged_by_several"], report["pairs_disagreed_on"]) == (1, 0)
