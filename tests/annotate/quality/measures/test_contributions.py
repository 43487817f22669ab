"""What a task's judgments add to the sums, by hand."""

from datetime import date

import pytest

from annotate.labeling.ordering import Ordering
from annotate.quality.intervals import Moments
from annotate.quality.measures.contributions import (
    JudgmentFacts,
    TaskFacts,
    contribution,
    rounded_seconds,
    sums_of,
)
from annotate.quality.measures.report import Measures

DAY = date(2026, 5, 4)
LONG = {1: 987, 2: 987 * 2}
"""Three minutes of reading."""


def ranked(labeler: int, *tiers: tuple[int, ...], **values: object) -> JudgmentFacts:
    return JudgmentFacts(labeler=labeler, day=DAY, ordering=Ordering(tiers), **values)  # type: ignore[arg-type]


def task(*judgments: JudgmentFacts, **values: object) -> TaskFacts:
    facts = {"number": 25, "kind": "compare", "use_case": "chat", "language": "en", **values}
    return TaskFacts(judgments=judgments, **facts)  # type: ignore[arg-type]


def sums(facts: TaskFacts, *, cut: str = "segment", labeler: int | None = None) -> dict[str, int]:
    """Those of one row, by day."""
    found: dict[str, int] = {}
    for key, added in sums_of(contribution(facts)):
        if (key[0], key[1], key[3]) == (cut, "day", labeler):
            for name, count in added.items():
                found[name] = found.get(name, 0) + count
    return found


def moments(facts: TaskFacts, name: str, labeler: int | None = None) -> Moments:
    return Moments.read(sums(facts, cut="labeler" if labeler else "segment", labeler=labeler), name)


def test_a_task_that_nobody_judged_adds_nothing() -> None:
    assert contribution(task()) == {}
    assert list(sums_of({})) == []


def test_agreement_is_a_cluster_of_the_task_and_of_each_labeler() -> None:
    facts = task(ranked(7, (1,), (2,), (3,)), ranked(8, (1,), (3,), (2,)), ranked(9, (3,), (2,), (1,)))
    # 7 and 8 agree on 2 of 3 pairs, 7 and 9 on none, 8 and 9 on one.
    assert moments(facts, "agreement") == Moments.of_cluster(3, 9)
    assert moments(facts, "others", labeler=7) == Moments.of_cluster(2, 6)
    assert moments(facts, "others", labeler=9) == Moments.of_cluster(1, 6)
    # tau: 7 and 8 by 1/3, 7 and 9 by -1, 8 and 9 by -1/3.
    assert moments(facts, "agreement_tau") == Moments.of_cluster(3_333 - 10_000 - 3_333, 3)
    assert sums(facts)["shared_tasks"] == 1


def test_the_task_counts_on_the_day_of_its_last_judgment_and_judgments_on_their_own() -> None:
    late = JudgmentFacts(labeler=8, day=date(2026, 6, 1), ordering=Ordering(((1,), (2,))))
    found = list(sums_of(contribution(task(ranked(7, (1,), (2,)), late))))
    days = {key[2] for key, added in found if key[1] == "day" and "agreement.n" in added}
    assert days == {date(2026, 6, 1)}
    rows = dict(found)
    assert rows["labeler", "day", DAY, 7, "compare", "", ""]["judgments"] == 1
    assert rows["labeler", "month", date(2026, 6, 1), 8, "compare", "", ""]["judgments"] == 1


def test_gold_tasks_compare_nobody_with_others() -> None:
    known = Ordering(((1,), (2,)))
    facts = task(ranked(7, (1,), (2,)), ranked(8, (2,), (1,)), gold=known, is_shared=False)
    assert moments(facts, "agreement") == Moments()
    assert moments(facts, "gold") == Moments(clusters=2, h=1, n=2, hh=1, hn=1, nn=2)
    assert sums(facts)["judgments"] == 2


@pytest.mark.parametrize(
    ("seconds", "language", "hasty", "paced"),
    [(59.9, "en", 1, 1), (60.1, "en", 0, 1), (232.0, "zh", 1, 1), (233.0, "zh", 0, 1), (None, "en", 0, 0)],
)
def test_haste_is_less_than_a_third_of_the_time_of_reading(
    seconds: float | None, language: str, hasty: int, paced: int
) -> None:
    facts = task(ranked(7, (1,), (2,), shown=[2, 1], seconds=seconds), language=language, lengths=LONG)
    found = sums(facts)
    assert (found.get("hasty", 0), found.get("paced", 0)) == (hasty, paced)


def test_haste_is_not_told_of_short_texts_nor_of_imports() -> None:
    assert "paced" not in sums(task(ranked(7, (1,), (2,), shown=[1, 2], seconds=1.0), lengths={1: 20, 2: 20}))
    assert "paced" not in sums(task(ranked(7, (1,), (2,), seconds=1.0), lengths=LONG))


@pytest.mark.parametrize(("written", "seconds", "pasted"), [(400, 39.0, 1), (400, 41.0, 0), (199, 1.0, None)])
def test_pasting_is_writing_faster_than_anybody_types(written: int, seconds: float, pasted: int | None) -> None:
    found = sums(task(ranked(7, written=written, seconds=seconds), kind="demonstrate"))
    assert found.get("pasted", 0 if "written" in found else None) == pasted


def test_orders_as_shown_and_the_best_one_first() -> None:
    as_shown = sums(task(ranked(7, (2,), (1,), (3,), shown=[2, 1, 3])))
    assert (as_shown["as_shown|3"], as_shown["ordered|3"], as_shown["best_first|3"]) == (1, 1, 1)
    tied = sums(task(ranked(7, (2,), (1, 3), shown=[1, 2, 3])))
    assert "ordered|3" not in tied
    assert (tied["best|3"], tied.get("best_first|3", 0)) == (1, 0)
    unranked = sums(task(ranked(7, (2,), (1,), shown=[1, 2, 3])))
    assert "best|3" not in unranked


def test_what_is_left_out_is_counted_as_work_alone() -> None:
    kept, other = ranked(7, (1,), (2,), seconds=5.0), ranked(8, (2,), (1,), seconds=60.0, left_out=True)
    facts = task(kept, other, adjudicated=Ordering(((1,), (2,))))
    assert moments(facts, "agreement") == Moments()
    assert moments(facts, "adjudicated") == Moments.of_cluster(1, 1)
    assert sums(facts, cut="labeler", labeler=8) == {"left_out": 1, "left_out_milliseconds": 60_000}
    assert sums(facts)["judgments"] == 1


def test_a_choice_within_a_chat_is_no_work_of_its_own_and_shows_biases_all_the_same() -> None:
    found = sums(task(ranked(7, (2,), (1,), shown=[2, 1], is_counted=False, seconds=4.0)))
    assert "judgments" not in found
    assert "timed" not in found
    assert found["position.n"] == 1


def test_ratings_of_two_labelers() -> None:
    scale = {"quality": (1.0, 7.0)}
    facts = task(
        ranked(7, (1,), (2,), ratings={1: {"quality": 7}, 2: {"quality": 3}}, scales=scale),
        ranked(8, (1,), (2,), ratings={1: {"quality": 5}, 2: {"quality": 3}}, scales=scale),
    )
    assert moments(facts, "agreement_rating|quality") == Moments.of_cluster(1, 2)
    mine = Measures(sums(facts, cut="labeler", labeler=7), of_labeler=True)
    assert (mine.criterion_agreement("quality").hits, mine.criterion_difference("quality")) == (1, 1.0)
    whole = Measures(sums(facts))
    assert whole.criteria == ["quality"]
    # Values 7 5 and 3 3, n = 4: o(5, 7) = 1, n_3 = 2, n_5 = n_7 = 1. Distances: 5-7: (2 - 1)^2 = 1;
    # 3-5: (3 - 1.5)^2 = 2.25; 3-7: (4 - 1.5)^2 = 6.25. alpha = 1 - 3 * 1 / (1 + 2 * 2.25 + 2 * 6.25) = 5 / 6.
    assert whole.criterion_alpha("quality").value == pytest.approx(5 / 6)


def test_a_wide_scale_is_put_into_steps() -> None:
    judgments = [
        ranked(labeler, ratings={1: {"quality": value}}, scales={"quality": (0.0, 100.0)})
        for labeler, value in ((7, 52), (8, 49))
    ]
    cells = [name for name in sums(task(*judgments, kind="rate")) if name.startswith("alpha|rating:quality")]
    assert cells == ["alpha|rating:quality|5|2|10|10"]


@pytest.mark.parametrize(("seconds", "rounded"), [(0, 0), (0.234, 0.23), (12.34, 12), (123.4, 120), (1_999, 2_000)])
def test_times_are_rounded_to_two_digits(seconds: float, rounded: float) -> None:
    assert rounded_seconds(seconds) == rounded
