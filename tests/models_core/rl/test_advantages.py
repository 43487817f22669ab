import pytest
import torch

from models_core.rl.advantages import (
    KLController,
    gae,
    grpo_advantages,
    kl_penalised_rewards,
    rloo_advantages,
)


def test_the_score_arrives_at_the_last_real_token_and_the_penalty_at_every_one() -> None:
    mask = torch.tensor([[True, True, True], [True, True, False]])
    rewards = kl_penalised_rewards(
        scores=torch.tensor([2.0, -1.0]),
        log_probs=torch.tensor([[-1.0, -2.0, -3.0], [-1.0, -1.0, 77.0]]),
        reference_log_probs=torch.tensor([[-2.0, -2.0, -1.0], [-1.5, -0.5, float("nan")]]),
        mask=mask,
        kl_coef=0.1,
    )
    assert rewards[0].tolist() == pytest.approx([-0.1, 0.0, 0.2 + 2.0])
    assert rewards[1].tolist() == pytest.approx([-0.05, 0.05 - 1.0, 0.0])


def test_advantages_by_hand() -> None:
    rewards = torch.tensor([[0.0, 0.0, 1.0]])
    values = torch.tensor([[0.5, 0.4, 0.2]])
    result = gae(rewards, values, torch.ones(1, 3, dtype=torch.bool), gamma=1.0, gae_lambda=0.5)
    # delta = [-0.1, -0.2, 0.8]; A_3 = 0.8, A_2 = -0.2 + 0.4 = 0.2, A_1 = -0.1 + 0.1 = 0.
    assert result.advantages[0].tolist() == pytest.approx([0.0, 0.2, 0.8], abs=1e-6)
    assert result.returns[0].tolist() == pytest.approx([0.5, 0.6, 1.0])


def test_advantages_equal_a_second_implementation_at_every_length() -> None:
    """The definition: a discounted double sum of temporal differences, row by row, without padding."""
    torch.manual_seed(0)
    lengths, width, gamma, lam = [1, 4, 7], 7, 0.9, 0.8
    rewards, values = torch.randn(2, 3, width, dtype=torch.float64)
    mask = torch.arange(width)[None] < torch.tensor(lengths)[:, None]
    values_with_rubbish = torch.where(mask, values, torch.nan)
    result = gae(torch.where(mask, rewards, 0.0), values_with_rubbish, mask, gamma=gamma, gae_lambda=lam)
    for row, length in enumerate(lengths):
        v = [*values[row, :length].tolist(), 0.0]
        delta = [rewards[row, t].item() + gamma * v[t + 1] - v[t] for t in range(length)]
        for t in range(length):
            advantage = sum((gamma * lam) ** (k - t) * delta[k] for k in range(t, length))
            assert result.advantages[row, t].item() == pytest.approx(advantage, abs=1e-12)
            assert result.returns[row, t].item() == pytest.approx(advantage + v[t], abs=1e-12)
        assert result.advantages[row, length:].tolist() == [0.0] * (width - length)
        assert result.returns[row, length:].tolist() == [0.0] * (width - length)


def test_with_lambda_one_and_no_discount_the_return_is_the_sum_of_rewards_to_come() -> None:
    rewards = torch.tensor([[1.0, 2.0, 4.0]])
    result = gae(
        rewards, torch.tensor([[9.0, -3.0, 5.0]]), torch.ones(1, 3, dtype=torch.bool), gamma=1.0, gae_lambda=1.0
    )
    assert result.returns[0].tolist() == pytest.approx([7.0, 6.0, 4.0])


@pytest.mark.parametrize(
    ("kl", "expected"),
    [(6.0, 0.1), (6.6, 0.1 * (1 + 0.1 * 64 / 1000)), (60.0, 0.1 * (1 + 0.2 * 64 / 1000)), (0.0, 0.1 * (1 - 0.0128))],
)
def test_the_kl_coefficient_is_steered_in_proportion_and_clipped(kl: float, expected: float) -> None:
    controller = KLController(coef=0.1, target=6.0, horizon=1000)
    controller.update(kl=kl, episodes=64)
    assert controller.coef == pytest.approx(expected)


def test_without_a_target_the_kl_coefficient_is_fixed() -> None:
    controller = KLController(coef=0.1, target=0.0, horizon=1000)
    controller.update(kl=50.0, episodes=64)
    assert controller.coef == 0.1


# ---- group baselines -------------------------------------------------------------------------------------------------


def test_a_response_gains_what_it_is_above_the_mean_of_the_others() -> None:
    """Two prompts, three responses each."""
    gained = rloo_advantages(torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0]), 3)
    assert gained.tolist() == pytest.approx([1 - 4, 2 - 3.5, 6 - 1.5, -1.5, -1.5, 3])


def test_a_responses_own_reward_is_nowhere_in_its_baseline() -> None:
    """What makes the baseline unbiased: raising one reward by 1 raises its own advantage by 1."""
    rewards = torch.tensor([0.3, -1.2, 0.8, 2.0], dtype=torch.float64)
    raised = rewards + torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    difference = rloo_advantages(raised, 4) - rloo_advantages(rewards, 4)
    assert difference.tolist() == pytest.approx([-1 / 3, 1, -1 / 3, -1 / 3])


def test_grpo_advantages_have_mean_0_and_deviation_1_within_each_prompt() -> None:
    gained = grpo_advantages(torch.tensor([1.0, 2.0, 6.0, 10.0, 10.0, 10.0]), 3)
    mean, deviation = 3.0, ((4 + 1 + 9) / 2) ** 0.5
    assert gained.tolist() == pytest.approx([(value - mean) / deviation for value in (1, 2, 6)] + [0, 0, 0], abs=1e-5)
