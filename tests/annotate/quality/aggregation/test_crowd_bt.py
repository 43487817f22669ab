"""Crowd-BT: its strengths and reliabilities are modes of the posteriors that its docstring writes down."""

import math

import numpy as np
import pytest

from annotate.labeling.ordering import Ordering
from annotate.quality.aggregation import crowd_bt
from annotate.quality.aggregation.crowd_bt import FOLLOWED, REVERSED, TIE_MEAN, TIE_SPREAD, CrowdBT

Task = dict[int, Ordering]
SPREAD = 1.5
A, B, C, D = 1, 2, 3, 4


def task(**given: list[list[int]]) -> Task:
    """Labelers are called after letters: task(a=[[A], [B]])."""
    return {ord(name): Ordering.stored(tiers) for name, tiers in given.items()}


def outcome_probability(distance: float, outcome: int, *, eta: float, tie: float) -> float:
    total = math.exp(distance / 2) + math.exp(-distance / 2) + math.exp(tie)
    if outcome == 0:
        return math.exp(tie) / total
    along, against = math.exp(outcome * distance / 2) / total, math.exp(-outcome * distance / 2) / total
    return eta * along + (1 - eta) * against


def log_posterior(strength: dict[int, float], judgments: Task, model: CrowdBT) -> float:
    total = -sum(value**2 for value in strength.values()) / (2 * model.spread**2)
    for labeler, ordering in judgments.items():
        for pairs, outcome in ((ordering.pairs(), 1), (ordering.ties(), 0)):
            for i, j in pairs:
                likelihood = outcome_probability(
                    strength[i] - strength[j], outcome, eta=model.of(labeler), tie=model.tie
                )
                total += 2 / len(ordering) * math.log(likelihood)
    return total


class TestStrengths:
    def test_of_perfect_labelers_without_ties_are_those_of_regularised_bradley_terry(self) -> None:
        """The values are of choix 0.4.1: opt_pairwise(5, wins, alpha=1 / (2 * 1.5**2), tol=1e-12)."""
        wins = [(0, 1), (0, 1), (1, 0), (0, 2), (1, 2), (2, 3), (3, 2), (2, 3), (3, 4), (0, 4), (1, 4), (4, 3)]
        judgments = {number: Ordering(((better,), (worse,))) for number, (better, worse) in enumerate(wins)}
        model = CrowdBT(reliability=dict.fromkeys(judgments, 1.0), tie=-60.0, spread=1.5)
        (found,) = crowd_bt.strengths([judgments], model)
        expected = [1.108602, 0.660483, -0.377171, -0.674641, -0.717273]
        assert [found[item] for item in range(5)] == pytest.approx(expected, abs=1e-6)

    def test_are_the_mode_of_the_posterior(self) -> None:
        judgments = task(a=[[A], [B, C], [D]], b=[[B], [A], [D], [C]], c=[[D], [A]], d=[[C], [B]])
        model = CrowdBT(reliability={ord("a"): 0.9, ord("b"): 0.7, ord("c"): 0.3}, tie=-0.5)
        (found,) = crowd_bt.strengths([judgments], model)
        best = log_posterior(found, judgments, model)
        step = 1e-4
        for item in found:
            up, down = ({**found, item: found[item] + sign * step} for sign in (1, -1))
            slope = (log_posterior(up, judgments, model) - log_posterior(down, judgments, model)) / (2 * step)
            assert slope == pytest.approx(0.0, abs=1e-5)
            assert max(log_posterior(up, judgments, model), log_posterior(down, judgments, model)) < best

    def test_a_response_that_always_wins_is_finite_and_grows_with_the_votes(self) -> None:
        few, many = (task(**{chr(97 + n): [[A], [B]] for n in range(votes)}) for votes in (1, 20))
        model = CrowdBT(reliability={ord("a") + n: 1.0 for n in range(20)}, tie=-60.0)
        (one, more) = (crowd_bt.strengths([judgments], model)[0] for judgments in (few, many))
        assert 0 < one[A] < more[A] < 10
        assert one[A] == -one[B]

    def test_several_tasks_at_once_are_the_same_as_one_by_one(self) -> None:
        tasks = [task(a=[[A], [B]]), task(), task(a=[[C], [A], [B]], b=[[A], [C]]), task(b=[[A]])]
        together = crowd_bt.strengths(tasks)
        for found, given in zip(together, tasks, strict=True):
            assert found == pytest.approx(crowd_bt.strengths([given])[0], abs=1e-5)


class TestConsensus:
    def test_a_reliable_labeler_outweighs_two_who_order_at_random(self) -> None:
        judgments = task(a=[[A], [B]], b=[[B], [A]], c=[[B], [A]])
        at_random = CrowdBT(reliability={ord("a"): 0.95, ord("b"): 0.5, ord("c"): 0.5}, tie=-3.0)
        alike = CrowdBT(reliability={ord(name): 0.8 for name in "abc"}, tie=-3.0)
        assert crowd_bt.consensus([judgments], at_random)[0].tiers == ((A,), (B,))
        assert crowd_bt.consensus([judgments], alike)[0].tiers == ((B,), (A,))

    def test_equal_evidence_is_a_tie_and_more_votes_give_more_confidence(self) -> None:
        model = CrowdBT(reliability={ord(name): 0.9 for name in "abc"}, tie=-3.0)
        split, one, three = crowd_bt.consensus(
            [
                task(a=[[A], [B]], b=[[B], [A]]),
                task(a=[[A], [B]]),
                task(a=[[A], [B]], b=[[A], [B]], c=[[A], [B]]),
            ],
            model,
        )
        assert split.tiers == ((A, B),)
        assert split.confidence == pytest.approx(math.exp(-3) / (2 + math.exp(-3)))
        assert (one.tiers, three.tiers) == (((A,), (B,)), ((A,), (B,)))
        assert 0.5 < one.confidence < three.confidence < 0.9

    def test_a_tie_is_the_consensus_where_it_is_the_most_probable_outcome(self) -> None:
        reliability = {ord(name): 0.95 for name in "abcd"}
        judgments = task(**{name: [[A, B], [C]] for name in "abcd"})
        few_ties, many_ties = (CrowdBT(reliability=reliability, tie=tie) for tie in (-1.0, 6.0))
        assert crowd_bt.consensus([judgments], few_ties)[0].tiers == ((A, B), (C,))
        assert crowd_bt.consensus([judgments], many_ties)[0].tiers == ((A, B, C),)

    def test_nothing_compared_is_no_consensus(self) -> None:
        assert crowd_bt.consensus([task(a=[[A]]), task()])[0].tiers == ()


def simulated(*, tasks: int, reliabilities: list[float], seed: int = 0) -> list[Task]:
    """Pairs judged by three of the labelers each, drawn from the model itself; a tenth to a fifth are ties."""
    random, result = np.random.default_rng(seed), []
    for distance in random.normal(0, SPREAD * 2**0.5, tasks):
        judgments: Task = {}
        for labeler in random.choice(len(reliabilities), 3, replace=False):
            chances = [
                outcome_probability(distance, outcome, eta=reliabilities[labeler], tie=-0.7) for outcome in (1, -1, 0)
            ]
            tiers = ([[A], [B]], [[B], [A]], [[A, B]])[random.choice(3, p=chances)]
            judgments[int(labeler)] = Ordering.stored(tiers)
        result.append(judgments)
    return result


class TestEstimate:
    def test_reliabilities_that_judgments_were_drawn_from_are_found_again(self) -> None:
        true = [0.97, 0.9, 0.75, 0.5]
        model = crowd_bt.estimate(simulated(tasks=3_000, reliabilities=true))
        assert [model.of(labeler) for labeler in range(4)] == pytest.approx(true, abs=0.05)
        assert model.tie == pytest.approx(-0.7, abs=0.1)
        assert sum(model.comparisons.values()) == 9_000

    def test_is_the_mode_of_the_posterior_with_the_strengths_integrated_out(self) -> None:
        """Against a plain sum over a fine grid of distances, which knows no quadrature and no EM."""
        tasks = simulated(tasks=60, reliabilities=[0.95, 0.8, 0.6])
        model = crowd_bt.estimate(tasks)
        distances = np.linspace(-30, 30, 1501)
        density = np.exp(-(distances**2) / (4 * model.spread**2))

        def log_marginal(eta: dict[int, float], tie: float) -> float:
            prior = sum(FOLLOWED * math.log(e) + REVERSED * math.log(1 - e) for e in eta.values())
            total = prior - (tie - TIE_MEAN) ** 2 / (2 * TIE_SPREAD**2)
            for judgments in tasks:
                likelihood = density.copy()
                for labeler, ordering in judgments.items():
                    ranks = ordering.ranks()
                    outcome = int(np.sign(ranks[B] - ranks[A]))
                    z = np.exp(distances / 2) + np.exp(-distances / 2) + math.exp(tie)
                    along, against = np.exp(outcome * distances / 2) / z, np.exp(-outcome * distances / 2) / z
                    e = eta[labeler]
                    likelihood *= math.exp(tie) / z if outcome == 0 else e * along + (1 - e) * against
                total += math.log(likelihood.sum())
            return total

        eta, step = dict(model.reliability), 1e-3
        for labeler in eta:
            up, down = ({**eta, labeler: eta[labeler] + sign * step} for sign in (1, -1))
            slope = (log_marginal(up, model.tie) - log_marginal(down, model.tie)) / (2 * step)
            assert slope == pytest.approx(0.0, abs=0.02)
        slope = (log_marginal(eta, model.tie + step) - log_marginal(eta, model.tie - step)) / (2 * step)
        assert slope == pytest.approx(0.0, abs=0.02)

    def test_a_labeler_who_shared_no_pair_is_typical(self) -> None:
        tasks = [*simulated(tasks=20, reliabilities=[0.9, 0.9, 0.9]), task(z=[[A], [B]])]
        model = crowd_bt.estimate(tasks)
        assert ord("z") not in model.reliability
        assert model.of(ord("z")) == pytest.approx(0.8)
        assert crowd_bt.estimate([task(z=[[A], [B]])]) == CrowdBT()

    def test_does_not_depend_on_the_order_of_the_tasks(self) -> None:
        tasks = simulated(tasks=50, reliabilities=[0.9, 0.7, 0.8])
        assert crowd_bt.estimate(tasks) == crowd_bt.estimate(tasks[::-1])

    def test_a_labeler_who_says_the_reverse_is_found_out(self) -> None:
        tasks = [task(a=[[A], [B]], b=[[A], [B]], c=[[B], [A]])] * 40
        model = crowd_bt.estimate(tasks)
        assert model.of(ord("a")) > 0.9 > 0.3 > model.of(ord("c"))
        assert model.weight(ord("c")) == 0.0
        assert model.weight(ord("a")) == pytest.approx(2 * model.of(ord("a")) - 1)
