"""Win rates, the stopping rule and ratings, against hand-worked numbers, exact enumeration and other libraries."""

import math
import random
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from annotate.labeling.ordering import Ordering
from annotate.quality.intervals import wilson
from rlhf.human_evaluation import bradley_terry, comparisons, sequential_test
from rlhf.human_evaluation.comparisons import SAME_TEXT, Comparison, JudgedPrompt, Order
from rlhf.human_evaluation.sequential_test import PRIOR, SequentialTest, Verdict
from rlhf.human_evaluation.win_rates import WinRate, by_group

A, B, C = 1, 2, 3


def order(*tiers: list[int], unacceptable: bool = False) -> Order:
    return Order(Ordering(tuple(tuple(tier) for tier in tiers)), unacceptable)


def judged(orders: list[Order], responses: dict[int, list[int]] | None = None, prompt: int = 1) -> JudgedPrompt:
    responses = responses or {A: [10], B: [20]}
    keys = [key for own in responses.values() for key in own]
    lengths = {key: key for key in keys}
    return JudgedPrompt(prompt=prompt, responses=responses, orders=orders, is_complete=True, lengths=lengths)


def compare(first: int, second: int, score: float, *, prompt: int = 0, lengths: tuple[int, int] = (1, 1)) -> Comparison:
    return Comparison(prompt, first, second, score, 1.0, *lengths)


class TestComparisons:
    def test_two_responses_of_each_version_give_four_comparisons_that_weigh_1_together(self):
        found = list(comparisons.of_prompt(judged([order([10], [20, 11], [21])], {A: [10, 11], B: [20, 21]})))
        assert found == [
            Comparison(1, A, B, 1.0, 0.25, 10, 20),
            Comparison(1, A, B, 1.0, 0.25, 10, 21),
            Comparison(1, A, B, 0.5, 0.25, 11, 20),
            Comparison(1, A, B, 1.0, 0.25, 11, 21),
        ]
        assert comparisons.prompt_scores(found) == {(A, B): {1: 0.875}}

    @pytest.mark.parametrize(
        ("given", "score"),
        [
            ([order([10], [20])], 1.0),
            ([order([20], [10])], 0.0),
            ([order([10, 20])], 0.5),
            ([order(unacceptable=True)], 0.5),
            # Several judgments: their mean.
            ([order([10], [20]), order([10, 20]), order([20], [10]), order([10], [20])], 0.625),
            ([SAME_TEXT], None),
            ([], None),
        ],
    )
    def test_a_tie_and_all_unacceptable_are_one_half_for_each(self, given, score):
        found = comparisons.prompt_scores(comparisons.of_prompt(judged(given)))
        assert found == ({} if score is None else {(A, B): {1: score}})

    def test_a_response_that_both_versions_gave_is_tied_without_being_asked(self):
        found = list(comparisons.of_prompt(judged([SAME_TEXT], {A: [10], B: [10]})))
        assert found == [Comparison(1, A, B, 0.5, 1.0, 10, 10)]

    def test_a_response_that_was_not_ranked_is_compared_with_nothing(self):
        found = list(comparisons.of_prompt(judged([order([10], [30])], {A: [10], B: [20], C: [30]})))
        assert [(one.first, one.second, one.score) for one in found] == [(A, C, 1.0)]


class TestWinRate:
    def test_it_is_the_mean_over_prompts_with_a_tie_as_one_half(self):
        scores = [1.0] * 12 + [0.5] * 4 + [0.0] * 4
        found = WinRate.of(scores)
        assert (found.wins, found.ties, found.losses, found.prompts) == (12, 4, 4, 20)
        assert found.rate == 0.7
        # Variance by hand: (12 * 0.09 + 4 * 0.04 + 4 * 0.49) / 19 = 3.2 / 19.
        half = NormalDist().inv_cdf(0.975) * math.sqrt(3.2 / 19 / 20)
        assert (found.low, found.high) == pytest.approx((0.7 - half, 0.7 + half))

    def test_few_prompts_and_wins_alone_get_wilsons_interval(self):
        assert (WinRate.of([1.0] * 30).low, WinRate.of([1.0] * 30).high) == wilson(1.0, 30)
        assert WinRate.of([1.0, 0.0, 1.0]).low == wilson(2 / 3, 3)[0]
        assert WinRate.of([]) == WinRate(rate=None, low=None, high=None)

    def test_groups_come_by_size(self):
        found = by_group({1: 1.0, 2: 0.0, 3: 0.5}, {1: "chat", 2: "chat", 3: "other"})
        assert [(name, rate.rate, rate.prompts) for name, rate in found.items()] == [
            ("chat", 0.5, 2),
            ("other", 0.5, 1),
        ]


def beta_ratio(wins: int, losses: int) -> Fraction:
    """B(a + wins, a + losses) / B(a, a) for the whole number a, exactly."""
    a, value = int(PRIOR), Fraction(1)
    for number in range(wins):
        value *= Fraction(a + number, 2 * a + number)
    for number in range(losses):
        value *= Fraction(a + number, 2 * a + wins + number)
    return value


class TestSequentialTest:
    @pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (9, 1), (40, 21), (3, 60)])
    def test_the_e_value_is_the_mixture_ratio_worked_out_in_fractions(self, wins, losses):
        exact = beta_ratio(wins, losses) * 2 ** (wins + losses)
        assert math.exp(sequential_test.log_e_value(wins, wins + losses)) == pytest.approx(float(exact), rel=1e-10)

    def test_looking_after_every_judgment_is_wrong_with_probability_alpha_at_most(self):
        """Exactly, over all sequences of a fair coin by their sums; the usual test at 5% is wrong far more often."""
        looks, alpha = 1_000, 0.05
        going, naive = np.zeros(looks + 1), np.zeros(looks + 1)
        going[0] = naive[0] = 1.0
        crossed = naive_crossed = 0.0
        for count in range(1, looks + 1):
            going[1 : count + 1] = (going[1 : count + 1] + going[:count]) / 2
            going[0] /= 2
            naive[1 : count + 1] = (naive[1 : count + 1] + naive[:count]) / 2
            naive[0] /= 2
            sums = np.arange(count + 1)
            values = np.array([sequential_test.log_e_value(float(total), count) for total in sums[: count // 2 + 1]])
            values = np.concatenate([values, values[: count + 1 - len(values)][::-1]])
            over = values >= -math.log(alpha)
            crossed += going[: count + 1][over].sum()
            going[: count + 1][over] = 0.0
            far = np.abs(2 * sums - count) >= 1.96 * math.sqrt(count)
            naive_crossed += naive[: count + 1][far].sum()
            naive[: count + 1][far] = 0.0
        assert 0.01 < crossed <= alpha
        assert naive_crossed > 0.4

    def test_ties_do_not_raise_the_rate_of_false_alarms(self):
        rng, alarms = random.Random(7), 0
        for _ in range(400):
            total = 0.0
            for count in range(1, 301):
                total += rng.choice([0.0, 0.25, 0.5, 0.5, 0.75, 1.0])
                if sequential_test.log_e_value(total, count) >= math.log(20):
                    alarms += 1
                    break
        assert alarms / 400 <= 0.05

    def test_the_confidence_sequence_holds_the_rates_that_are_not_rejected(self):
        low, high = sequential_test.confidence_sequence(70, 100, alpha=0.05)
        for edge, inside in ((low, low + 1e-6), (high, high - 1e-6)):
            assert sequential_test.log_e_value(70, 100, edge) == pytest.approx(math.log(20), abs=1e-6)
            assert sequential_test.log_e_value(70, 100, inside) < math.log(20)
        # Wider than the interval of one look, and decided by it.
        assert 0.5 < low < wilson(0.7, 100)[0] < wilson(0.7, 100)[1] < high
        assert sequential_test.confidence_sequence(0, 0, alpha=0.05) == (0.0, 1.0)
        assert sequential_test.confidence_sequence(0, 5, alpha=0.05)[0] == 0.0

    @pytest.mark.parametrize(
        ("scores", "count", "margin", "verdict"),
        [
            (0, 0, 0.05, Verdict.OPEN),
            (6, 6, 0.05, Verdict.OPEN),
            (70, 100, 0.05, Verdict.FIRST),
            (30, 100, 0.05, Verdict.SECOND),
            (55, 100, 0.05, Verdict.OPEN),
            (2_500, 5_000, 0.05, Verdict.EQUAL),
            (2_500, 5_000, 0.0, Verdict.OPEN),
        ],
    )
    def test_verdicts(self, scores, count, margin, verdict):
        assert SequentialTest(scores=scores, count=count, alpha=0.05, margin=margin).verdict == verdict

    def test_alpha_is_shared_by_the_pairs(self):
        assert sequential_test.corrected(0.06, versions=4) == pytest.approx(0.01)
        assert sequential_test.corrected(0.05, versions=2) == 0.05


WINS = np.array([[0, 5, 8.5, 3], [3, 0, 6, 4.5], [1.5, 2, 0, 2], [3, 1.5, 4, 0]])
"""Wins with ties as halves; every version won and lost."""


def of_matrix(wins: np.ndarray) -> list[Comparison]:
    """Halves as ties: each pair's halves of one are halves of the other."""
    rows = []
    for first, second in ((i, j) for i in range(len(wins)) for j in range(i + 1, len(wins))):
        ties = 2 * (wins[first, second] % 1)
        scores = [1.0] * int(wins[first, second]) + [0.0] * int(wins[second, first]) + [0.5] * int(ties)
        rows += [compare(first, second, score, prompt=len(rows) + n) for n, score in enumerate(scores)]
    return rows


class TestBradleyTerry:
    def test_ratings_are_the_maximum_likelihood(self, monkeypatch):
        """The values are of choix 0.4.1: ilsr_pairwise_dense(WINS, tol=1e-10), as 1000 + 400 / ln 10 (t - t[0])."""
        monkeypatch.setattr(bradley_terry, "PRIOR_SPREAD", 1e6)
        found = bradley_terry.rate(of_matrix(WINS), anchor=0, seed=1, samples=2)
        ratings = {one.version: one.rating for one in found.ratings}
        assert ratings == pytest.approx({0: 1000.0, 1: 964.190107, 2: 745.186434, 3: 884.330719}, abs=1e-4)
        assert list(ratings) == [0, 1, 3, 2]

    def test_three_wins_of_four_are_odds_of_three_to_one(self):
        rows = [compare(A, B, score, prompt=n) for n, score in enumerate([1.0, 1.0, 0.5, 0.5, 1.0, 0.5, 1.0, 0.5])]
        found = bradley_terry.rate(rows, anchor=A, seed=1, samples=2)
        by_version = {one.version: one for one in found.ratings}
        assert by_version[A].rating == 1000
        # 6 of 8: 400 log10(3) points apart, less what the prior takes.
        assert by_version[B].rating == pytest.approx(1000 - 400 * math.log10(3), abs=1.0)
        assert (by_version[A].low, by_version[A].high) == (1000, 1000)

    def test_a_version_that_always_won_has_a_finite_rating(self):
        rows = [compare(A, B, 1.0, prompt=n) for n in range(20)]
        (best, worst) = bradley_terry.rate(rows, anchor=B, seed=1).ratings
        assert best.version == A
        assert 1000 == worst.rating < best.rating < 4000

    def test_versions_that_nothing_connects_with_the_anchor_are_named_and_not_rated(self):
        rows = [compare(A, B, 1.0), compare(8, 9, 1.0)]
        found = bradley_terry.rate(rows, anchor=B, seed=1, samples=2)
        assert [one.version for one in found.ratings] == [A, B]
        assert found.unconnected == [8, 9]
        assert [one.version for one in bradley_terry.rate([], anchor=B, seed=1).ratings] == [B]

    def test_the_length_control_is_scikit_learns_logistic_regression(self, monkeypatch):
        monkeypatch.setattr(bradley_terry, "PRIOR_SPREAD", 1e6)
        rng = np.random.default_rng(3)
        rows = []
        for number in range(400):
            lengths = tuple(int(length) for length in rng.integers(20, 400, 2))
            pull = (0.4, 0.0, -0.3)[number % 3] + 1.5 * (lengths[0] - lengths[1]) / sum(lengths)
            score = float(rng.random() < 1 / (1 + math.exp(-pull)))
            first, second = ((A, B), (B, C), (A, C))[number % 3]
            rows.append(compare(first, second, score, prompt=number, lengths=lengths))
        found = bradley_terry.rate(rows, anchor=A, seed=1, samples=2, control_length=True)
        z = np.array([bradley_terry.length_difference(one) for one in rows])
        z /= math.sqrt((z**2).mean())
        design = np.array([[(v == one.first) - (v == one.second) for v in (B, C)] for one in rows], dtype=float)
        model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000)
        model.fit(np.column_stack([design, z]), [one.score for one in rows])
        points = 400 / math.log(10) * model.coef_[0]
        by_version = {one.version: one.rating for one in found.ratings}
        assert by_version == pytest.approx({A: 1000, B: 1000 + points[0], C: 1000 + points[1]}, abs=0.05)
        assert found.length_effect is not None
        assert found.length_effect[0] == pytest.approx(points[2], abs=0.05)

    def test_the_control_takes_away_what_length_alone_brought(self):
        rng = random.Random(5)
        rows = []
        for number in range(600):
            # B is longer nine times of ten, and the longer one is preferred four times of five.
            longer = rng.random() < 0.9
            lengths = (100, 200) if longer else (200, 100)
            score = float((rng.random() < 0.8) != longer)
            rows.append(compare(A, B, score, prompt=number, lengths=lengths))
        plain = bradley_terry.rate(rows, anchor=A, seed=1, samples=50)
        controlled = bradley_terry.rate(rows, anchor=A, seed=1, samples=50, control_length=True)
        assert plain.ratings[0].version == B
        assert plain.ratings[0].low > 1100
        rating = next(one for one in controlled.ratings if one.version == B)
        assert rating.low < 1000 < rating.high
        assert controlled.length_effect is not None
        assert controlled.length_effect[1] > 0

    def test_intervals_cover_and_narrow_with_more_prompts(self):
        rng, covered, truth = random.Random(11), 0, 400 * math.log10(0.65 / 0.35)
        for repeat in range(24):
            rows = [compare(A, B, float(rng.random() < 0.65), prompt=n) for n in range(120)]
            best = next(one for one in bradley_terry.rate(rows, anchor=B, seed=repeat).ratings if one.version == A)
            covered += best.low <= 1000 + truth <= best.high
        assert covered >= 21
        few = bradley_terry.rate(rows[:30], anchor=B, seed=1).ratings
        many = bradley_terry.rate(rows, anchor=B, seed=1).ratings
        width = [next(one.high - one.low for one in found if one.version == A) for found in (many, few)]
        assert width[0] < width[1]

    def test_a_prompt_with_many_comparisons_is_one_sample(self):
        """The bootstrap draws prompts: ten copies of each comparison at one prompt tell no more."""
        once = [compare(A, B, float(n % 3 > 0), prompt=n) for n in range(60)]
        tenfold = [one._replace(weight=0.1) for one in once for _ in range(10)]
        few, many = (bradley_terry.rate(rows, anchor=B, seed=1).ratings[0] for rows in (once, tenfold))
        assert (many.low, many.high) == pytest.approx((few.low, few.high), abs=1e-6)
