"""A model is itself: whatever family, losses, scores, gradients and greedy text are those of transformers' own forward.

Beside every quantity stands that of the same files, opened by plain transformers, one row at a time without padding.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from models_core.contract.errors import BadInput
from models_core.demonstrations.examples import Example
from models_core.demonstrations.token_losses import loss_positions, token_losses
from models_core.generation import generate
from models_core.modeling import families, forward, loading
from models_core.modeling.adapters.layers import stack
from models_core.modeling.loading import load_policy, new_reward_model
from models_core.modeling.packing import Group, pack
from tests.models_core.many_families import FAST, MODELS, NO_REWARD_MODEL, make
from tests.models_core.tiny import make_tiny_tokenizer

CPU = torch.device("cpu")
ALIKE = [60, 61, 62, 63, 64, 65, 66, 67, 68]
GROUPS = [
    Group([*ALIKE, 5, 6, 7, 8, 9, 10, 11, 12], [[9, 10, 33], [11, 2], [12, 13, 14, 15, 16, 17]]),
    Group([*ALIKE, 20, 21], [[21, 22, 23]]),
    Group([*ALIKE, *range(30, 48)], [[40, 41, *range(50, 58)], [42]]),
    Group([*ALIKE, 9, 4], [[7]]),
]
"""Prompts that begin alike, of one to three responses; rows of 12 to 37 tokens."""
SHORT = [Group([5, 6], [[7, 8], [9, 10, 11]]), Group([12], [[13, 14]])]
"""Rows no longer than any window here."""
PROMPTS = [[5, 6, 7, 8, 9, 10, 11, 12], [20, 21], [*range(30, 48)], [9, 4, 7, 3, 8], [33, 7, 7, 1, 8]]


@dataclass(frozen=True)
class Case:
    name: str
    folder: Path
    ours: Any
    plain: Any


@pytest.fixture(scope="module", params=MODELS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = make(request.param, tmp_path_factory.mktemp("family") / request.param)
    ours = load_policy(folder, device=CPU, dtype=torch.float32)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return Case(request.param, folder, ours, plain)


def rows(groups: list[Group]) -> list[tuple[list[int], list[int]]]:
    return [(list(group.prompt), list(response)) for group in groups for response in group.responses]


def plain_log_probs(model: Any, groups: list[Group]) -> list[torch.Tensor]:
    """Of every response's tokens, row by row."""
    found = []
    for prompt, response in rows(groups):
        logits = model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
        found.append(logits.log_softmax(-1)[range(len(response)), response])
    return found


@pytest.mark.parametrize("groups", [GROUPS, SHORT], ids=["long", "short"])
def test_log_probabilities_are_those_of_the_models_own_forward(case: Case, groups: list[Group]) -> None:
    """What PPO, DPO and pretraining read, for several responses to a prompt and prompts that begin alike."""
    with torch.no_grad():
        expected = plain_log_probs(case.plain, groups)
        for sharing in ("auto", "always", "never"):
            found = forward.response_log_probs(case.ours, pack(groups, sharing=sharing))
            torch.testing.assert_close(found, torch.cat(expected), atol=1e-5, rtol=1e-5)
    whole = torch.cat(forward.group_log_probs(case.ours, groups, budget=60, device=CPU))
    torch.testing.assert_close(whole, torch.stack([row.sum() for row in expected]), atol=5e-5, rtol=1e-5)


def test_loss_and_gradients_of_a_step_of_sft_are_those_of_the_models_own_forward(case: Case) -> None:
    examples = [Example(prompt, response, [], 0) for prompt, response in rows(GROUPS)]
    at = loss_positions(examples, whole_rows=False, device=CPU)
    for model in (case.ours, case.plain):
        model.zero_grad()
    loss = token_losses(case.ours, examples, at, device=CPU).mean()
    loss.backward()
    expected = -torch.cat(plain_log_probs(case.plain, GROUPS)).mean()
    expected.backward()
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=0)
    gradients = {name: weight.grad for name, weight in case.plain.named_parameters() if weight.grad is not None}
    assert gradients
    found = {name: weight.grad for name, weight in case.ours.named_parameters() if weight.grad is not None}
    assert {name for name, each in gradients.items() if each.any()} <= found.keys()
    for name, gradient in found.items():
        largest = max(1.0, float(gradient.abs().max()))
        assert (gradient - gradients[name]).abs().max() <= 1e-5 * largest + 1e-4 * gradients[name].abs().max(), name


def test_greedy_text_is_that_of_generate_for_prompts_of_different_lengths(case: Case) -> None:
    responses = generate.sample(
        case.ours, PROMPTS, samples=1, max_new_tokens=14, temperature=0, stop_ids=[2, 50], seed=0, batch_size=8
    )
    for prompt, (response,) in zip(PROMPTS, responses, strict=True):
        ids = torch.tensor([prompt])
        generated = case.plain.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=14, do_sample=False, eos_token_id=[2, 50],
            pad_token_id=0,
        )  # fmt: skip
        assert list(response.ids) == generated[0, len(prompt) :].tolist()
        with torch.no_grad():
            (expected,) = plain_log_probs(case.plain, [Group(prompt, [response.ids])])
        torch.testing.assert_close(torch.tensor(response.logprobs), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layers", [0, 2])
def test_scores_are_those_of_sequence_classification_in_plain_transformers(
    case: Case, layers: int, tmp_path: Path
) -> None:
    """Read row by row from the files that are saved; also of the first layers alone (`trunk_layers`)."""
    started = partial(new_reward_model, case.folder, device=CPU, dtype=torch.float32, seed=1, trunk_layers=layers)
    if case.name in NO_REWARD_MODEL:
        with pytest.raises(BadInput, match="cannot become a reward model: transformers has no sequence classification"):
            started()
        return
    model = started()
    assert len(stack(model, needed_by="the test")) == layers or not layers
    found = torch.cat(forward.group_head_logits(model, GROUPS, budget=60, device=CPU)).squeeze(-1)
    loading.save_reward_model(tmp_path / "rm", model, make_tiny_tokenizer())
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm", dtype=torch.float32).eval()
    with torch.no_grad():
        alone = [plain(torch.tensor([[*prompt, *response]])).logits[0, 0] for prompt, response in rows(GROUPS)]
    torch.testing.assert_close(found, torch.stack(alone), atol=2e-5, rtol=1e-5)
    again = loading.load_reward_model(tmp_path / "rm", device=CPU, dtype=torch.float32)
    torch.testing.assert_close(forward.reward_logits(again, pack(GROUPS)), found, atol=2e-5, rtol=1e-5)


def test_only_configurations_that_the_fast_ways_know_take_them(case: Case) -> None:
    assert families.fast_ways(case.ours).packed == (case.name in FAST)
