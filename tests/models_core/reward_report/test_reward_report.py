"""The measures of a reward model's report, against hand-worked cases and slow second computations."""

import itertools
import math
import random

import numpy as np
import pytest

from models_core.contract.rows.records import RankedResponse, Ranking
from models_core.reward_report import assembly
from models_core.reward_report.heldout_judgments import ScoredJudgment, ordered_pairs
from models_core.reward_report.measures import (
    example_pairs,
    intervals,
    labelers,
    length_bias,
    listwise,
    pair_accuracy,
    probability_calibration,
)


def judgment(ranks, logits, *, prompt="p", texts=None, lengths=None, models=None, heads=(), **fields):
    texts = texts or [f"answer {index}" for index in range(len(ranks))]
    responses = tuple(
        RankedResponse(text=text, rank=rank, model=model)
        for text, rank, model in zip(texts, ranks, models or [None] * len(ranks), strict=True)
    )
    ranking = Ranking(
        id=fields.pop("id", "row"), messages=({"role": "user", "content": prompt},), responses=responses, **fields
    )
    return ScoredJudgment(
        ranking=ranking, logits=tuple(logits), lengths=tuple(lengths or [5] * len(ranks)), heads=heads
    )


def some(count, *, seed=0, size=4, noise=1.0):
    """Judgments of `count` prompts by a model that is right more often than not."""
    generator = random.Random(seed)
    made = []
    for number in range(count):
        k = generator.randint(2, size)
        ranks = [generator.randint(1, 3) for _ in range(k)]
        logits = [generator.gauss(-rank, noise) for rank in ranks]
        made.append(
            judgment(ranks, logits, prompt=f"prompt {number // 2}", lengths=[generator.randint(1, 40) for _ in ranks])
        )
    return made


def parts(rows):
    return {row["name"]: (row["accuracy"], row["pairs"]) for row in rows}


# ---- pairs and accuracy


def test_pairs_are_those_in_a_strict_order_that_were_read():
    found = ordered_pairs(
        [
            judgment([1, 2, 2, None, 3], [3.0, 1.0, 3.0, 9.0, None], lengths=[5, 2, 9, 1, 1]),
            judgment([1, 2], [0.0, 1.0], texts=["same", "same"]),
        ]
    )
    assert list(zip(found.better.tolist(), found.worse.tolist(), strict=True)) == [(0, 1), (0, 2)]
    assert found.difference.tolist() == [2.0, 0.0]
    assert found.correct.tolist() == [1.0, 0.5]
    assert found.longer.tolist() == [3.0, -4.0]


def test_accuracy_is_that_of_a_loop_over_all_pairs():
    judgments = some(60)
    right = total = 0.0
    shown = set()
    for item in judgments:
        for one, other in itertools.permutations(range(len(item.logits)), 2):
            if item.ranking.responses[one].rank < item.ranking.responses[other].rank:
                total += 1
                shown.add(item.ranking.messages[0]["content"])
                right += (item.logits[one] > item.logits[other]) + 0.5 * (item.logits[one] == item.logits[other])
    found = pair_accuracy.accuracy(ordered_pairs(judgments))
    assert (found.value, found.count, found.prompts) == (pytest.approx(right / total), total, len(shown))


def test_the_interval_resamples_prompts_and_not_their_pairs():
    """40 prompts whose 36 pairs are all right or all wrong tell as much as 40 pairs do, not as 1440."""
    outcomes, prompts = np.repeat([1.0] * 28 + [0.0] * 12, 36), np.repeat(np.arange(40), 36)
    share = intervals.estimate_mean(outcomes, prompts)
    low, high = share.low, share.high
    generator = random.Random(1)
    draws = sorted(np.mean(generator.choices([1.0] * 28 + [0.0] * 12, k=40)) for _ in range(4000))
    assert (low, high) == pytest.approx((draws[100], draws[3900]), abs=0.03)
    assert high - low > 0.2


def test_unequal_prompts_are_resampled_with_all_their_pairs():
    generator = np.random.default_rng(3)
    sizes = generator.integers(1, 9, size=50)
    prompts = np.repeat(np.arange(50), sizes)
    outcomes = (generator.random(len(prompts)) < 0.7).astype(float)
    found = intervals.estimate_mean(outcomes, prompts)
    draws = []
    for _ in range(3000):
        chosen = generator.integers(50, size=50)
        rows = np.concatenate([np.flatnonzero(prompts == prompt) for prompt in chosen])
        draws.append(outcomes[rows].mean())
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.012)


@pytest.mark.parametrize(("hits", "trials"), [(3, 5), (0, 4), (4, 4), (2.5, 6)])
def test_few_prompts_get_jeffreys_interval(hits, trials):
    outcomes = np.full(trials, hits / trials)
    found = intervals.estimate_mean(outcomes, np.arange(trials))
    grid = np.linspace(1e-7, 1 - 1e-7, 400_001)
    density = grid ** (hits - 0.5) * (1 - grid) ** (trials - hits - 0.5)
    mass = np.cumsum(density) / density.sum()
    low = 0.0 if hits == 0 else grid[np.searchsorted(mass, 0.025)]
    high = 1.0 if hits == trials else grid[np.searchsorted(mass, 0.975)]
    assert (found.low, found.high) == pytest.approx((low, high), abs=2e-3)
    assert found.is_small


def test_all_right_on_many_prompts_is_still_no_certainty():
    found = intervals.estimate_mean(np.ones(200), np.arange(200))
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.98 < found.low < 0.99


def test_nothing_has_no_share():
    assert intervals.estimate_mean(np.array([]), np.array([], dtype=int)) == intervals.Estimate(None, None, None, 0, 0)


# ---- groups


def test_every_group_has_its_own_accuracy_and_what_is_not_said_is_a_group():
    judgments = [
        judgment(
            [1, 2], [1.0, 0.0], prompt="a", lang="en", source="s", judge="human", labeler="ann", models=["p-1", "p-1"]
        ),
        judgment(
            [1, 2], [0.0, 1.0], prompt="b", lang="zh", source="s", judge="gpt-4", labeler="bob", models=["p-1", "p-2"]
        ),
        judgment([1, 2], [2.0, 1.0], prompt="c", judge="human", margin=3.0),
    ]
    by = pair_accuracy.by_group(ordered_pairs(judgments))
    assert parts(by["language"]) == {"en": (1.0, 1), "zh": (0.0, 1), None: (1.0, 1)}
    assert parts(by["source"]) == {"s": (0.5, 2), None: (1.0, 1)}
    assert parts(by["judge"]) == {"human": (1.0, 2), "ai": (0.0, 1)}
    assert parts(by["labeler"]) == {"ann": (1.0, 1), "bob": (0.0, 1), None: (1.0, 1)}
    assert parts(by["policy"]) == {"p-1": (0.5, 2), "p-2": (0.0, 1), None: (1.0, 1)}
    assert parts(by["margin"]) == {"3": (1.0, 1)}
    assert "distance" not in by
    assert all(row["small"] for rows in by.values() for row in rows)


def test_many_groups_end_in_one_line_for_all_others():
    judgments = [
        judgment([1, 2], [float(number % 2), 0.5], prompt=f"{number}", source=f"source {min(number, 29):02}")
        for number in range(40)
    ]
    rows = pair_accuracy.by_group(ordered_pairs(judgments))["source"]
    assert len(rows) == pair_accuracy.MAX_GROUPS
    assert (rows[0]["name"], rows[0]["pairs"]) == ("source 29", 11)
    assert (rows[-1]["name"], rows[-1]["others"], rows[-1]["pairs"]) == (None, 11, 11)
    assert sum(row["pairs"] for row in rows) == 40


def test_labeled_margins_of_many_values_are_cut_at_their_quartiles():
    judgments = [judgment([1, 2], [1.0, 0.0], prompt=str(n), margin=float(n)) for n in range(12)]
    assert parts(pair_accuracy.by_group(ordered_pairs(judgments))["margin"]) == {
        "0.00–2.75": (1.0, 3),
        "2.75–5.50": (1.0, 3),
        "5.50–8.25": (1.0, 3),
        "8.25–11.00": (1.0, 3),
    }


def test_pairs_far_apart_in_the_ranking_are_one_line():
    item = judgment(range(1, 10), [0.0, *range(9, 1, -1)])
    rows = pair_accuracy.by_group(ordered_pairs([item]))["distance"]
    assert [(row["name"], row["pairs"]) for row in rows] == [
        *zip(["1", "2", "3", "4", "5"], [8, 7, 6, 5, 4], strict=True), ("≥6", 6),
    ]  # fmt: skip
    assert rows[0]["accuracy"] == pytest.approx(7 / 8)


def test_heads_that_are_apart_about_a_pair_say_so():
    """Both heads place the first pair's difference at 1; about the second they are 4 apart."""
    agreement_outcomes = judgment([1, 2], [2.0, 1.0], prompt="a", heads=((1.0, 3.0), (0.0, 2.0)))
    apart = judgment([1, 2], [0.0, 1.0], prompt="b", heads=((1.0, -1.0), (0.0, 2.0)))
    rows = pair_accuracy.by_group(ordered_pairs([agreement_outcomes, apart, judgment([1, 2], [1.0, 0.0], prompt="c")]))[
        "disagreement"
    ]
    assert [(row["name"], row["accuracy"], row["pairs"]) for row in rows] == [
        ("0.00–0.67", 1.0, 1),
        ("0.67–1.33", None, 0),
        ("1.33–2.00", 0.0, 1),
    ]


# ---- calibration


def logit(probability):
    return math.log(probability / (1 - probability))


def test_expected_calibration_error_by_hand():
    """Ten pairs at 72%, six of them right; ten at 97%, all right: (|0.6 - 0.72| + |1 - 0.97|) / 2."""
    sure, unsure = logit(0.97), logit(0.72)
    judgments = [judgment([1, 2], [unsure if n < 6 else -unsure, 0.0], prompt=f"u{n}") for n in range(10)]
    judgments += [judgment([1, 2], [sure, 0.0], prompt=f"s{n}") for n in range(10)]
    found = probability_calibration.calibration_metrics(ordered_pairs(judgments))
    assert found["ece"] == pytest.approx((0.12 + 0.03) / 2)
    first, last = found["bins"]
    assert (first["from"], first["to"], first["pairs"]) == (pytest.approx(0.7), pytest.approx(0.75), 10)
    assert (first["confidence"], first["right"]) == (pytest.approx(0.72), pytest.approx(0.6))
    assert (last["confidence"], last["right"], last["prompts"]) == (pytest.approx(0.97), 1.0, 10)
    losses = [-math.log(p) for p in [0.72] * 6 + [0.28] * 4 + [0.97] * 10]
    assert found["log_loss"] == pytest.approx(sum(losses) / 20)


def test_confidence_of_one_half_and_of_one_have_their_bins():
    found = probability_calibration.reliability_curve(
        ordered_pairs([judgment([1, 2], [0.0, 0.0], prompt="a"), judgment([1, 2], [50.0, 0.0], prompt="b")])
    )
    assert [(row["from"], row["right"], row["confidence"]) for row in found] == [(0.5, 0.5, 0.5), (0.95, 1.0, 1.0)]


def test_temperature_is_that_of_the_least_loss():
    generator = np.random.default_rng(0)
    true = generator.normal(0, 1.5, size=4000)
    difference = np.where(generator.random(4000) < 1 / (1 + np.exp(-true)), true, -true) * 3.0
    found = probability_calibration.fit_temperature(difference)
    grid = np.linspace(1, 6, 2001)
    losses = [np.logaddexp(0, -difference / temperature).mean() for temperature in grid]
    assert found == pytest.approx(grid[int(np.argmin(losses))], abs=0.003)
    assert found == pytest.approx(3.0, abs=0.3)
    assert (
        probability_calibration.expected_calibration_error(difference / found)
        < 0.02
        < probability_calibration.expected_calibration_error(difference)
    )


@pytest.mark.parametrize("difference", [[1.0, 2.0], [-1.0, 0.5], [0.0, 0.0]])
def test_no_temperature_helps_where_all_are_right_or_more_are_wrong(difference):
    assert probability_calibration.fit_temperature(np.array(difference)) is None


def test_few_pairs_of_a_calibrated_model_look_uneven():
    generator = np.random.default_rng(0)
    errors = {}
    for count in (50, 5000):
        size = np.abs(generator.normal(0, 1, size=count))
        difference = np.where(generator.random(count) < 1 / (1 + np.exp(-size)), size, -size)
        errors[count] = (
            probability_calibration.expected_calibration_error(difference),
            probability_calibration.ece_of_chance(difference),
        )
    assert errors[50][1] > 0.1 > 0.03 > errors[5000][1]
    assert errors[50][0] < errors[50][1]


# ---- length


def test_length_by_hand():
    """Three prompts: people want the longer twice; the model always takes the longer."""
    judgments = [
        judgment([1, 2], [2.0, 1.0], prompt="a", lengths=[9, 3]),
        judgment([1, 2], [5.0, 4.0], prompt="b", lengths=[8, 4]),
        judgment([1, 2], [0.0, 1.0], prompt="c", lengths=[2, 6]),
    ]
    found = length_bias.length_metrics(ordered_pairs(judgments), judgments)
    assert (found["longer_wins"]["accuracy"], found["rule"]) == (pytest.approx(2 / 3), "longer")
    assert found["lead"]["difference"] == 0.0
    assert (found["with_rule"]["accuracy"], found["with_rule"]["pairs"]) == (1.0, 2)
    assert (found["against_rule"]["accuracy"], found["against_rule"]["pairs"]) == (0.0, 1)
    assert found["model_prefers_longer"]["share"] == 1.0
    assert found["people_prefer_longer"]["share"] == pytest.approx(2 / 3)


def test_where_people_want_short_responses_the_rule_is_the_shorter_one():
    judgments = [judgment([1, 2], [1.0, 0.0], prompt=str(n), lengths=[2, 6] if n else [6, 2]) for n in range(4)]
    found = length_bias.length_metrics(ordered_pairs(judgments), judgments)
    assert found["rule"] == "shorter"
    assert found["lead"]["difference"] == pytest.approx(1 - 0.75)
    assert (found["with_rule"]["pairs"], found["against_rule"]["pairs"]) == (3, 1)
    assert found["model_prefers_longer"]["share"] == 0.25


def test_correlation_within_a_prompt_is_not_that_between_prompts():
    """Long responses stand under prompts with high scores, and within each prompt the shorter one scores higher."""
    judgments = [
        judgment(
            [1, 2, 3], [10.0 * n + 3, 10.0 * n + 2, 10.0 * n + 1], prompt=str(n), lengths=[base, 2 * base, 4 * base]
        )
        for n, base in enumerate((1, 10, 100))
    ]
    found = length_bias.length_metrics(ordered_pairs(judgments), judgments)
    assert found["correlation_within_prompt"] == pytest.approx(-1.0)
    assert found["correlation"] > 0.7


def test_two_labelers_of_the_same_responses_do_not_count_their_lengths_twice():
    first = judgment([1, 2, 3], [1.0, 2.0, 0.0], lengths=[1, 2, 4], labeler="ann")
    second = judgment([3, 2, 1], [1.0, 2.0, 0.0], lengths=[1, 2, 4], labeler="bob")
    once, twice = (length_bias.length_metrics(ordered_pairs(found), found) for found in ([first], [first, second]))
    assert once["correlation_within_prompt"] == twice["correlation_within_prompt"]


def test_equal_lengths_have_no_correlation():
    judgments = [judgment([1, 2], [1.0, 0.0], prompt=str(n)) for n in range(4)]
    found = length_bias.length_metrics(ordered_pairs(judgments), judgments)
    assert (found["correlation"], found["correlation_within_prompt"]) == (None, None)
    assert found["model_prefers_longer"]["share"] is None


# ---- ordering


def slow_tau_b(ranks, logits):
    concordant = discordant = ties_ranks = ties_logits = 0
    for one, other in itertools.combinations(range(len(ranks)), 2):
        first, second = ranks[other] - ranks[one], logits[one] - logits[other]
        concordant += first * second > 0
        discordant += first * second < 0
        ties_ranks += first == 0 and second != 0
        ties_logits += second == 0 and first != 0
    decided = concordant + discordant
    return (concordant - discordant) / math.sqrt((decided + ties_ranks) * (decided + ties_logits))


def test_kendalls_tau_b_with_ties_is_that_of_counting_pairs():
    generator = random.Random(2)
    for _ in range(50):
        ranks = [1, 2, *(generator.randint(1, 4) for _ in range(generator.randint(0, 7)))]
        logits = [0.0, 1.0, *(float(generator.randint(0, 3)) for _ in ranks[2:])]
        assert listwise.tau_b(ranks, logits) == pytest.approx(slow_tau_b(ranks, logits))
    assert listwise.tau_b([1, 2], [1.0, 1.0]) == 0.0


@pytest.mark.parametrize(
    ("ranks", "logits", "expected"),
    [
        ([1, 2, 3], [3.0, 2.0, 1.0], 1.0),
        ([2, 1, 3], [3.0, 2.0, 1.0], 0.0),
        ([1, 1, 2], [1.0, 5.0, 0.0], 1.0),
        ([1, 2, 3], [4.0, 4.0, 1.0], 0.5),
        ([2, 1, 1], [7.0, 7.0, 7.0], 2 / 3),
    ],
)
def test_top1_with_ties(ranks, logits, expected):
    assert listwise.top1(ranks, logits) == pytest.approx(expected)


def test_ordering_is_a_mean_over_judgments_that_order_something():
    found = listwise.listwise_metrics(
        [
            judgment([1, 2, 3], [3.0, 2.0, 1.0], prompt="a"),
            judgment([1, 2, 3], [2.0, 3.0, 1.0], prompt="b"),
            judgment([1, 1, 1], [2.0, 3.0, 1.0], prompt="c"),
            judgment([1, None, 2, 2], [1.0, 9.0, None, 0.0], prompt="d"),
        ]
    )
    assert found["tau_b"]["mean"] == pytest.approx((1 + 1 / 3 + 1) / 3)
    assert (found["top1"]["share"], found["top1"]["judgments"]) == (pytest.approx(2 / 3), 3)
    assert found["top1_of_chance"] == pytest.approx((1 / 3 + 1 / 3 + 1 / 2) / 3)
    assert found["most_responses"] == 3


def test_scores_are_shifted_and_scaled_and_their_histogram_holds_all():
    judgments = [judgment([1, 2], [float(n), -float(n)], prompt=str(n)) for n in range(20)]
    found = listwise.score_distribution(judgments, shift=1.0, scale=2.0)
    assert (found["minimum"], found["maximum"], found["mean"]) == (-10.0, 9.0, pytest.approx(-0.5))
    assert found["deviation"] == pytest.approx(np.std([sign * n for n in range(20) for sign in (1, -1)]) / 2)
    assert (found["best"]["mean"], found["worst"]["mean"]) == (pytest.approx(4.25), pytest.approx(-5.25))
    assert sum(found["histogram"]["best"]) == sum(found["histogram"]["worst"]) == 20
    assert len(found["histogram"]["edges"]) == listwise.HISTOGRAM_BINS + 1


def test_equal_scores_have_a_histogram_too():
    found = listwise.score_distribution([judgment([1, 2], [1.0, 1.0])], shift=0.0, scale=1.0)
    assert sum(found["histogram"]["best"]) == 1
    assert found["deviation"] == 0.0


# ---- labelers


def test_agreement_of_labelers_by_hand():
    """On one prompt ann and bob agree on 3 of 3 pairs, cid with either on 1 of his 2; dee judged elsewhere."""
    texts = ["x", "y", "z"]
    judgments = [
        judgment([1, 2, 3], [3.0, 2.0, 1.0], texts=texts, labeler="ann"),
        judgment([3, 2, 1], [1.0, 2.0, 3.0], texts=texts[::-1], labeler="bob"),
        judgment([1, 2, 1], [3.0, 2.0, 1.0], texts=["x", "y", "z"], labeler="cid"),
        judgment([1, 2], [0.0, 1.0], prompt="q", labeler="dee"),
        judgment([1, 2, 3], [3.0, 2.0, 1.0], texts=texts[::-1], labeler="robot", judge="gpt-4"),
        judgment([1, 2, 3], [3.0, 2.0, 1.0], texts=texts[::-1]),
    ]
    found = labelers.labeler_agreement(ordered_pairs(judgments), [item.ranking for item in judgments])
    assert found["number"] == 4
    assert (found["agreement"]["share"], found["agreement"]["pairs"]) == (pytest.approx(5 / 7), 7)
    each = {row["name"]: row for row in found["each"]}
    assert (each["ann"]["others"]["share"], each["cid"]["others"]["share"]) == (pytest.approx(4 / 5), 0.5)
    assert (each["dee"]["others"]["share"], each["dee"]["model"]["accuracy"]) == (None, 0.0)
    assert (each["ann"]["model"]["accuracy"], each["cid"]["model"]["accuracy"]) == (1.0, 0.5)


def test_a_labelers_last_word_counts():
    first, last = (judgment(ranks, [0.0, 1.0], labeler="ann").ranking for ranks in ([1, 2], [2, 1]))
    other = judgment([2, 1], [0.0, 1.0], labeler="bob").ranking
    found = labelers.labeler_agreement(ordered_pairs([]), [first, other, last])
    assert found["agreement"]["share"] == 1.0


# ---- examples


def test_the_surest_mistakes_come_first_one_a_prompt_and_the_majority_is_right():
    judgments = [
        judgment([1, 2], [0.0, 3.0], prompt="sure", id="1"),
        judgment([1, 2, 3], [0.0, 5.0, 1.0], prompt="surest", id="2", labeler="ann"),
        judgment([1, 2], [2.0, 1.0], prompt="right", id="3"),
        judgment([1, 2], [0.0, 9.0], prompt="divided", id="4", labeler="ann"),
        judgment([2, 1], [0.0, 9.0], prompt="divided", id="5", labeler="bob"),
        judgment([2, 1], [0.0, 9.0], prompt="divided", id="6", labeler="cid"),
    ]
    found = example_pairs.example_pairs(ordered_pairs(judgments), shift=1.0, scale=2.0)
    assert [item["id"] for item in found["mistakes"]] == ["2", "1"]
    surest = found["mistakes"][0]
    assert (surest["preferred"]["score"], surest["other"]["score"]) == (-0.5, 2.0)
    assert surest["confidence"] == pytest.approx(1 / (1 + math.exp(-5)))
    assert surest["said_by"] == [{"labeler": "ann", "judge": None, "id": "2"}]
    by_prompt = {item["prompt"][0]["text"]: item for item in found["right"]}
    assert set(by_prompt) == {"surest", "right", "divided"}
    assert [voter["labeler"] for voter in by_prompt["divided"]["said_by"]] == ["bob", "cid"]
    assert [voter["labeler"] for voter in by_prompt["divided"]["opposed_by"]] == ["ann"]


def test_long_texts_are_cut_and_say_so():
    item = judgment([1, 2], [0.0, 1.0], texts=["x" * 9000, "short"])
    (found,) = example_pairs.example_pairs(ordered_pairs([item]), shift=0.0, scale=1.0)["mistakes"]
    assert (len(found["preferred"]["text"]), found["preferred"]["cut"]) == (example_pairs.MAX_TEXT_CHARS, True)
    assert (found["other"]["text"], found["other"]["cut"]) == ("short", False)


# ---- the whole


def test_a_report_is_the_same_twice_and_counts_what_there_was():
    judgments = some(80)
    all_rankings = [item.ranking for item in judgments]
    report = assembly.build(judgments, all_rankings=all_rankings)
    assert report == assembly.build(judgments, all_rankings=all_rankings)
    assert (report["judgments"], report["judgments_in_all"]) == (80, 80)
    assert report["accuracy_low"] < report["accuracy"] < report["accuracy_high"]
    assert report["verdict"]["ready"] is True


@pytest.mark.parametrize("judgments", [[], [judgment([1, 1], [0.0, 1.0])], [judgment([1, 2], [None, 1.0])]])
def test_without_a_pair_the_report_says_so(judgments, tmp_path):
    report = assembly.build(judgments, all_rankings=[item.ranking for item in judgments])
    assert (report["accuracy"], report["pairs"], report["verdict"]["code"]) == (None, 0, "no_held_out")
    assembly.write(tmp_path, report)
    assert "Nothing can be said" in (tmp_path / "report.md").read_text()
    assert assembly.headline(report)["ready_for_ppo"] is None


def test_a_report_in_tables_obeys_no_control_characters(tmp_path, capsys):
    item = judgment(
        [1, 2], [0.0, 1.0], prompt="\x1b[2Jgone", texts=["a|b\nc", "\x1b]0;title\x07"], labeler="e\x1bve", lang="\x1bx"
    )
    assembly.write(tmp_path, assembly.build([item], all_rankings=[item.ranking]))
    text = (tmp_path / "report.md").read_text()
    assert "\x1b" not in text
    assert text.removeprefix("# Reward model\n").strip() in capsys.readouterr().err
