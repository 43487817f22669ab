import math

import pytest
import torch

from models_core.preferences.ranking_loss import Pair, PairBatch, RankedPairs, ranked_pairs, ranking_loss
from models_core.rl.losses import kl_loss, policy_loss, value_loss


def sigmoid_loss(difference: float) -> float:
    return math.log(1 + math.exp(-difference))


def test_two_rankings_of_the_same_responses_weigh_as_two_groups_would() -> None:
    first, second = RankedPairs(3, ranked_pairs([1, 2, 3])), RankedPairs(3, ranked_pairs([2, 1, 2]), weight=0.5)
    scores = torch.tensor([0.3, -1.2, 0.8], dtype=torch.float64, requires_grad=True)
    shared = ranking_loss(scores, PairBatch.from_groups([[first, second]]))
    apart = ranking_loss(scores.repeat(2), PairBatch.from_groups([[first], [second]]))
    assert shared.item() == pytest.approx(apart.item(), abs=1e-12)
    gradients = [torch.autograd.grad(loss, scores)[0] for loss in (shared, apart)]
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=0)


def test_a_strict_ranking_gives_all_pairs() -> None:
    assert ranked_pairs([1, 3, 2]) == [Pair(0, 1, 1.0), Pair(0, 2, 1.0), Pair(2, 1, 1.0)]


def test_unranked_responses_are_in_no_pair() -> None:
    assert ranked_pairs([None, 2, 1]) == [Pair(2, 1, 1.0)]


def test_ties_are_skipped_or_get_a_target_of_one_half() -> None:
    assert ranked_pairs([1, 1]) == []
    assert ranked_pairs([1, 1, 2], ties="soft") == [Pair(0, 1, 0.5), Pair(0, 2, 1.0), Pair(1, 2, 1.0)]


def test_ranking_loss_by_hand() -> None:
    """Two rankings: K = 3 counts the mean of its three pairs, K = 2 its one; together they are a plain sum."""
    comparisons = PairBatch.from_groups(
        [[RankedPairs(3, ranked_pairs([1, 2, 3]))], [RankedPairs(2, ranked_pairs([2, 1]))]]
    )
    scores = torch.tensor([2.0, 1.0, -1.0, 0.5, 0.0])
    expected = (sigmoid_loss(1) + sigmoid_loss(3) + sigmoid_loss(2)) / 3 + sigmoid_loss(-0.5)
    assert ranking_loss(scores, comparisons).item() == pytest.approx(expected)


def test_a_margin_is_taken_off_the_difference_of_ordered_pairs_only() -> None:
    margins = {1.0: 0.5, 0.5: 0.0}
    pairs = ranked_pairs([1, 1, 2], ties="soft")
    group = RankedPairs(3, [pair._replace(margin=margins[pair.target]) for pair in pairs])
    scores = torch.tensor([1.0, 0.0, 0.0])
    tie = 0.5 * sigmoid_loss(1) + 0.5 * sigmoid_loss(-1)
    expected = (tie + sigmoid_loss(0.5) + sigmoid_loss(-0.5)) / 3
    assert ranking_loss(scores, PairBatch.from_groups([[group]])).item() == pytest.approx(expected)


def test_a_tie_is_best_where_both_score_alike() -> None:
    comparisons = PairBatch.from_groups([[RankedPairs(2, ranked_pairs([1, 1], ties="soft"))]])
    scores = torch.zeros(2, requires_grad=True)
    loss = ranking_loss(scores, comparisons)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert scores.grad is not None
    assert scores.grad.tolist() == [0.0, 0.0]


def test_a_ranking_without_pairs_teaches_nothing() -> None:
    assert ranking_loss(torch.tensor([1.0, 2.0]), PairBatch.from_groups([[RankedPairs(2, [])]])).item() == 0.0


def test_a_weight_multiplies_the_whole_ranking() -> None:
    scores = torch.tensor([1.0, 0.0, 3.0])
    plain = ranking_loss(scores, PairBatch.from_groups([[RankedPairs(3, ranked_pairs([1, 2, 3]))]]))
    heavy = ranking_loss(scores, PairBatch.from_groups([[RankedPairs(3, ranked_pairs([1, 2, 3]), weight=2.5)]]))
    assert heavy.item() == pytest.approx(2.5 * plain.item())


def test_k_forwards_give_the_loss_and_gradient_of_explicit_pairs() -> None:
    """The pairwise form scores both sides of every pair anew; ours scores each response once."""
    torch.manual_seed(0)
    head = torch.nn.Linear(5, 1, bias=False, dtype=torch.float64)
    responses = [torch.randn(k, 5, dtype=torch.float64) for k in (4, 2, 9)]
    ranks = [[2, 1, 2, 4], [1, 2], [9, 8, 7, 6, 5, 4, 3, 2, 1]]
    groups = [RankedPairs(len(rank), ranked_pairs(rank)) for rank in ranks]

    once = (
        ranking_loss(head(torch.cat(responses)).squeeze(-1), PairBatch.from_groups([[group] for group in groups])) / 3
    )
    (gradient,) = torch.autograd.grad(once, [head.weight])

    pairwise = torch.zeros((), dtype=torch.float64)
    for features, rank in zip(responses, ranks, strict=True):
        losses = [
            -torch.log(torch.sigmoid(head(features[i]) - head(features[j])))
            for i in range(len(rank))
            for j in range(len(rank))
            if rank[i] < rank[j]
        ]
        pairwise = pairwise + torch.stack(losses).mean() / 3
    (pairwise_gradient,) = torch.autograd.grad(pairwise, [head.weight])

    torch.testing.assert_close(once, pairwise, rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient, pairwise_gradient, rtol=0, atol=1e-12)


def test_policy_loss_by_hand() -> None:
    ratios = torch.tensor([1.0, 1.5, 1.5, 0.5, 0.5])
    advantages = torch.tensor([2.0, 1.0, -1.0, 1.0, -1.0])
    result = policy_loss(ratios.log(), torch.zeros(5), advantages, clip_range=0.2)
    # Gains are capped at 1.2, losses not: -2, -1.2, +1.5, -0.5, and -1 * 0.5 held at +0.8.
    assert result.loss.item() == pytest.approx(-2 - 1.2 + 1.5 - 0.5 + 0.8)
    assert result.clipped.item() == 2
    k3 = sum(ratio - 1 - math.log(ratio) for ratio in (1.0, 1.5, 1.5, 0.5, 0.5))
    assert result.approx_kl.item() == pytest.approx(k3)


def test_a_clipped_token_has_no_gradient() -> None:
    log_probs = torch.tensor([math.log(1.5), math.log(1.1)], requires_grad=True)
    policy_loss(log_probs, torch.zeros(2), torch.ones(2), clip_range=0.2).loss.backward()
    assert log_probs.grad is not None
    assert log_probs.grad.tolist() == pytest.approx([0.0, -1.1])


def test_value_loss_by_hand() -> None:
    values, old, returns = torch.tensor([1.0, 0.1]), torch.zeros(2), torch.ones(2)
    result = value_loss(values, old, returns, clip_range=0.2)
    # The first is right but moved too far: held at 0.2 it is off by 0.8. The second is within the clip, off by 0.9.
    assert result.loss.item() == pytest.approx(0.5 * (0.64 + 0.81))
    assert result.clipped.item() == 1


def test_weights_are_those_of_the_tokens_in_the_policy_loss_alone() -> None:
    ratios, advantages = torch.tensor([1.0, 1.5, 0.5]), torch.tensor([2.0, 1.0, -1.0])
    plain = policy_loss(ratios.log(), torch.zeros(3), advantages, clip_range=0.2)
    weighted = policy_loss(
        ratios.log(), torch.zeros(3), advantages, clip_range=0.2, weights=torch.tensor([0.5, 2.0, 1.0])
    )
    assert weighted.loss.item() == pytest.approx(0.5 * -2 + 2 * -1.2 + 0.8)
    assert (weighted.clipped.item(), weighted.approx_kl.item()) == (plain.clipped.item(), plain.approx_kl.item())


def test_kl_loss_by_hand_and_nothing_at_the_reference() -> None:
    log_probs = torch.tensor([-1.0, -2.0], requires_grad=True)
    reference = torch.tensor([-1.0, -1.5])
    loss = kl_loss(log_probs, reference, torch.tensor([1.0, 0.5]))
    loss.backward()
    assert loss.item() == pytest.approx(0.5 * (math.exp(0.5) - 0.5 - 1))
    assert log_probs.grad is not None
    assert log_probs.grad.tolist() == pytest.approx([0.0, 0.5 * (1 - math.exp(0.5))])
