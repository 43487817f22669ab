"""What a reward model hears in rankings, under every policy."""

from typing import Any

import pytest

from models_core.contract.errors import BadInput
from models_core.contract.rows.records import RankedResponse, Ranking
from models_core.contract.settings import RewardConfig, parse
from models_core.preferences.comparisons import Comparison, build_comparisons
from models_core.preferences.ranking_loss import Pair
from models_core.preferences.skipped_rows import SkippedRows
from tests.models_core.preferences.judgment_rows import better, ranking


def parsed(*rankings: Ranking, combine: bool = True, **settings: Any) -> tuple[list[Comparison], SkippedRows]:
    skipped = SkippedRows()
    made = build_comparisons(rankings, settings=parse(RewardConfig, settings), skipped=skipped, combine=combine)
    return made.comparisons, skipped


def said(comparisons: list[Comparison]) -> list[tuple[set[str], float]]:
    """Verdicts as {"better > worse"} with their weights."""
    signs = {1.0: ">", 0.5: "="}
    return [
        ({f"{v.texts[p.better]} {signs[p.target]} {v.texts[p.worse]}" for p in v.pairs}, v.weight) for v in comparisons
    ]


def test_a_ranking_keeps_its_row_and_makes_all_its_pairs() -> None:
    row = ranking(("b", 2), ("a", 1), ("c", 2), ("unranked", None))
    (comparison,), skipped = parsed(row)
    assert comparison.rows == (row,)
    assert comparison.pairs == (Pair(1, 0, 1.0), Pair(1, 2, 1.0))
    assert skipped.report() == {}


def test_ties_teach_only_where_a_setting_says_so() -> None:
    (comparison,), _ = parsed(ranking(("a", 1), ("b", 1), ("c", 2)), ties="soft")
    assert comparison.pairs == (Pair(0, 1, 0.5), Pair(0, 2, 1.0), Pair(1, 2, 1.0))


UNUSABLE = {
    "fewer_than_two_ranked": ranking(("a", 1), ("b", None), id="x"),
    "all_tied": ranking(("a", 3), ("b", 3), id="x"),
    "equal_responses": ranking(("a", 1), ("a", 2), id="x"),
}


@pytest.mark.parametrize("reason", UNUSABLE)
def test_a_ranking_that_orders_nothing_is_left_out_and_named(reason: str) -> None:
    comparisons, skipped = parsed(better("a", "b"), UNUSABLE[reason])
    assert len(comparisons) == 1
    assert skipped.report() == {reason: {"count": 1, "rows": ["x"]}}


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("fewer_than_two_ranked", "The row 'x' ranks fewer than two of its responses."),
        ("all_tied", "The row 'x' ranks all responses alike."),
        ("equal_responses", "The row 'x' orders no two responses that differ."),
    ],
)
def test_a_ranking_that_orders_nothing_is_refused_where_a_setting_says_so(reason: str, sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        parsed(better("a", "b"), UNUSABLE[reason], unusable_rows="refuse")
    assert str(caught.value) == sentence


def test_equal_texts_in_a_ranking_are_in_no_pair_with_each_other() -> None:
    (comparison,), _ = parsed(ranking(("a", 1), ("a", 2), ("b", 3)))
    assert comparison.pairs == (Pair(0, 2, 1.0), Pair(1, 2, 1.0))


def test_a_row_that_says_the_same_again_counts_once() -> None:
    """In another order of the responses, with gaps in its ranks, under another id: it is the same judgment."""
    first = ranking(("a", 1), ("b", 2), id="1", labeler="anna")
    again = ranking(("b", 7), ("a", 3), id="2", labeler="anna")
    others = [
        ranking(("a", 1), ("b", 2), id="3", labeler="ben"),
        ranking(("a", 1), ("b", 2), id="4", labeler="anna", prompt="Bye"),
        ranking(("b", 1), ("a", 2), id="5", labeler="anna"),
        ranking(("a", 1), ("b", 2), id="6", judge="ai"),
    ]
    comparisons, skipped = parsed(first, again, *others)
    assert [comparison.rows[0].id for comparison in comparisons] == ["1", "3", "4", "5", "6"]
    assert skipped.report() == {"duplicates": {"count": 1, "rows": ["2"]}}
    assert len(parsed(first, again, *others, deduplicate=False)[0]) == 6


def test_a_weight_is_the_rows_times_the_labelers_times_the_machines() -> None:
    rows = [
        better("a", "b", labeler="anna", weight=0.5),
        better("a", "b", labeler="ben"),
        better("a", "b", judge="gpt-4", labeler="anna"),
        better("a", "b", judge="human", labeler="cleo"),
    ]
    comparisons, _ = parsed(*rows, labeler_weights="anna=2, ben = 0.25", ai_weight=0.1)
    assert [comparison.weight for comparison in comparisons] == pytest.approx([1.0, 0.25, 0.2, 1.0])


def test_what_counts_nothing_is_left_out() -> None:
    rows = [better("a", "b", id="1", judge="ai"), better("a", "b", id="2", weight=0.0), better("a", "b", id="3")]
    comparisons, skipped = parsed(*rows, ai_weight=0)
    assert [comparison.rows[0].id for comparison in comparisons] == ["3"]
    assert skipped.report() == {"weightless": {"count": 2, "rows": ["1", "2"]}}


@pytest.mark.parametrize("text", ["anna", "anna=x", "anna=-1", "=2", "anna=nan"])
def test_labelers_weights_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="labeler_weights takes NAME=WEIGHT"):
        parsed(better("a", "b"), labeler_weights=text)


THREE = [
    ranking(("a", 1), ("b", 2), ("c", 3), id="1", labeler="anna"),
    ranking(("c", 3), ("a", 2), ("b", 1), id="2", labeler="ben"),
    ranking(("b", 2), ("c", 1), ("a", 1), id="3", labeler="cleo", weight=4.0),
]


def test_every_judgment_of_a_task_counts() -> None:
    comparisons, _ = parsed(*THREE)
    assert [comparison.weight for comparison in comparisons] == [1.0, 1.0, 4.0]


def test_judgments_of_a_task_share_one_judgments_weight() -> None:
    comparisons, _ = parsed(*THREE, better("x", "y", weight=3.0), duplicate_judgments="share")
    assert [comparison.weight for comparison in comparisons] == pytest.approx([1 / 3, 1 / 3, 4 / 3, 3.0])


def test_most_weight_decides_each_pair() -> None:
    """a > b: anna 1 and cleo 4 against ben 1. a > c: anna and ben 2; cleo's tie is a vote only where ties teach.
    c > b: cleo 4 against 2."""
    (comparison,), _ = parsed(*THREE, duplicate_judgments="majority")
    assert said([comparison]) == [({"a > b", "a > c", "c > b"}, 2.0)]
    assert [row.id for row in comparison.rows] == ["1", "2", "3"]
    (comparison,), _ = parsed(*THREE, duplicate_judgments="majority", ties="soft")
    assert said([comparison]) == [({"a > b", "a = c", "c > b"}, 2.0)]


def test_a_draw_is_a_tie() -> None:
    rows = [better("a", "b", id="1", labeler="anna"), better("b", "a", id="2", labeler="ben")]
    comparisons, skipped = parsed(*rows, duplicate_judgments="majority")
    assert (comparisons, skipped.report()) == ([], {"no_majority": {"count": 1, "rows": ["1"]}})
    assert said(parsed(*rows, duplicate_judgments="majority", ties="soft")[0]) == [({"a = b"}, 1.0)]


def test_the_winners_margins_are_averaged_by_weight() -> None:
    rows = [
        better("a", "b", labeler="anna", margin=1.0),
        better("a", "b", labeler="ben", margin=4.0, weight=2.0),
        better("b", "a", labeler="cleo", margin=9.0),
    ]
    (comparison,), _ = parsed(*rows, duplicate_judgments="majority", margin="row")
    assert [pair.margin for pair in comparison.pairs] == [3.0]


def test_rankings_that_are_measured_on_are_not_combined() -> None:
    comparisons, _ = parsed(*THREE, duplicate_judgments="majority", combine=False)
    assert [comparison.rows[0].id for comparison in comparisons] == ["1", "2", "3"]


def rated(text: str, rank: int, **more: Any) -> RankedResponse:
    return RankedResponse(text=text, rank=rank, **more)


def margins(*responses: RankedResponse, **settings: Any) -> dict[str, float]:
    row = ranking(margin=0.5)
    (comparison,), _ = parsed(Ranking(id="r", messages=row.messages, responses=responses, margin=0.5), **settings)
    return {f"{comparison.texts[pair.better]}{comparison.texts[pair.worse]}": pair.margin for pair in comparison.pairs}


def test_margins_by_each_rule() -> None:
    plain = [rated("a", 1), rated("b", 4), rated("c", 9)]
    assert margins(*plain) == {"ab": 0.0, "ac": 0.0, "bc": 0.0}
    assert margins(*plain, margin="row", margin_scale=2) == {"ab": 1.0, "ac": 1.0, "bc": 1.0}
    assert margins(*plain, margin="ranks") == {"ab": 0.5, "ac": 1.0, "bc": 0.5}
    assert margins(*plain, margin="ratings") == {"ab": 0.0, "ac": 0.0, "bc": 0.0}
    scored = [rated("a", 1, score=2.5), rated("b", 2, score=1.0), rated("c", 3)]
    assert margins(*scored, margin="ratings", margin_scale=2) == {"ab": 3.0, "ac": 0.0, "bc": 0.0}


def test_ratings_go_before_scores_and_against_the_ranks_they_ask_for_nothing() -> None:
    responses = [
        rated("a", 1, score=9.0, ratings={"help": 5.0, "tone": 2.0}),
        rated("b", 2, score=1.0, ratings={"help": 2.0, "tone": 1.0, "length": 9.0}),
        rated("c", 3, ratings={"help": 4.0}),
    ]
    assert margins(*responses, margin="ratings") == {"ab": 2.0, "ac": 1.0, "bc": 0.0}


def test_a_tie_has_no_margin() -> None:
    tied = [rated("a", 1), rated("b", 1), rated("c", 2)]
    assert margins(*tied, margin="row", ties="soft") == {"ab": 0.0, "ac": 0.5, "bc": 0.5}
