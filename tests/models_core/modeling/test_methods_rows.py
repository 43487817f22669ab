"""A row is the same alone and among unequal others, under every method: in packed training, scoring and sampling.

The second implementation is plain transformers, one row at a time: virtual tokens as embeddings or as a cache in front.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from models_core.contract.settings import METHODS
from models_core.generation import generate
from models_core.modeling import adapters
from models_core.modeling.adapters.layers import trunk
from models_core.modeling.adapters.soft_prompts import KINDS
from models_core.modeling.forward import group_logits
from models_core.modeling.loading import head
from models_core.modeling.packing import Group, hidden_states, pack
from models_core.training import memory
from tests.models_core.tiny import make_tiny_model
from tests.models_core.tuned import prepared

GROUPS = [
    Group([5, 6, 7, 8], [[9, 10], [11], [12, 13, 14]]),
    Group([20], [[21, 22, 23]]),
    Group([30, 31, 32, 33, 34, 35, 36], [[37]]),
]
TOLERANCE = 1e-6
SOFT = tuple(KINDS)


@pytest.fixture(scope="module", params=["llama", "qwen", "gpt2", "neox"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp(request.param), kind=request.param)


def alone(model: Any, row: list[int]) -> Tensor:
    """Last hidden states of one unpadded row, computed by plain transformers: [tokens, width]."""
    body, ids = trunk(model), torch.tensor([row])
    virtual = getattr(body, "virtual_tokens", None)
    if virtual is None:
        return body(input_ids=ids).last_hidden_state[0]
    table = virtual.current().to(body.get_input_embeddings().weight.dtype)
    if virtual.kind == "embeddings":
        embeddings = torch.cat([table, body.get_input_embeddings()(ids[0])])[None]
        return body(inputs_embeds=embeddings).last_hidden_state[0, virtual.count :]
    cache = Cache(layer_class_to_replicate=DynamicLayer)
    for layer, (keys, values) in enumerate(table):
        cache.update(keys[None], values[None], layer)
    mask = torch.ones(1, virtual.count + len(row), dtype=torch.long)
    return body(input_ids=ids, attention_mask=mask, past_key_values=cache).last_hidden_state[0]


@pytest.mark.parametrize("method", METHODS)
def test_packed_rows_equal_rows_alone(method: str, base: Path) -> None:
    model = prepared(base, method)
    with torch.no_grad():
        segments = hidden_states(trunk(model), packed := pack(GROUPS, sharing="always")).split(packed.layout.sizes)
        rows = [
            [*group.prompt, *response]
            for group in GROUPS
            for response in ([[], *group.responses] if len(group.responses) > 1 else group.responses)
        ]
        tolerance = 1e-4 if method == "qlora" else TOLERANCE  # fp32
        for row, segment in zip(rows, segments, strict=True):
            torch.testing.assert_close(segment, alone(model, row)[-len(segment) :], rtol=0, atol=tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_packed_gradients_equal_those_of_rows_alone(method: str, base: Path) -> None:
    model = prepared(base, method)
    learning = adapters.trainable(model)

    def gradients(loss: Tensor) -> dict[str, Tensor]:
        loss.backward()
        found = {name: weight.grad.clone() for name, weight in learning.items() if weight.grad is not None}
        model.zero_grad()
        return found

    torch.manual_seed(0)
    direction = torch.randn(16, dtype=next(iter(trunk(model).parameters())).dtype)
    packed = pack(GROUPS, sharing="always")
    together = gradients((hidden_states(trunk(model), packed)[packed.ends] @ direction).pow(2).sum())
    rows = [[*group.prompt, *response] for group in GROUPS for response in group.responses]
    apart = gradients(torch.stack([(alone(model, row)[-1] @ direction).pow(2) for row in rows]).sum())
    assert together.keys() == apart.keys()
    largest = max(gradient.abs().max().item() for gradient in apart.values())
    for name, gradient in apart.items():
        # Llama's normalisation computes in fp32 even in an fp64 model, and 4 bits compute in fp32 as a whole.
        torch.testing.assert_close(together[name], gradient, rtol=1e-4, atol=3e-6 * largest)


@pytest.mark.parametrize("method", METHODS)
def test_a_response_is_scored_alike_alone_and_among_others(method: str, base: Path) -> None:
    model = prepared(base, method, reward=True)
    model.score.to(next(trunk(model).parameters()).dtype)
    together = group_logits(model, GROUPS, budget=10_000, device="cpu")
    tolerance = 1e-4 if method == "qlora" else TOLERANCE
    for group, logits in zip(GROUPS, together, strict=True):
        assert group_logits(model, [group], budget=10_000, device="cpu")[0] == pytest.approx(logits, abs=tolerance)
        for response, logit in zip(group.responses, logits, strict=True):
            with torch.no_grad():
                plain = head(model)(alone(model, [*group.prompt, *response])[-1]).item()
            assert plain == pytest.approx(logit, abs=tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_sampling_in_an_unequal_batch_equals_each_prompt_alone(method: str, base: Path) -> None:
    model = prepared(base, method)
    prompts = [list(group.prompt) for group in GROUPS]
    how: dict[str, Any] = {"samples": 1, "max_new_tokens": 6, "temperature": 0.0, "stop_ids": [], "seed": 0}
    tolerance = 1e-4 if method == "qlora" else 1e-5  # a step's logits are taken to fp32
    with adapters.merged_for_sampling(model):
        together = generate.sample(model, prompts, batch_size=8, **how)
        for prompt, (sampled,) in zip(prompts, together, strict=True):
            ((single,),) = generate.sample(model, [prompt], batch_size=1, **how)
            assert single.ids == sampled.ids
            assert single.logprobs == pytest.approx(sampled.logprobs, abs=tolerance)
    for prompt, (sampled,) in zip(prompts, together, strict=True):
        with torch.no_grad():
            states = alone(model, [*prompt, *sampled.ids])[len(prompt) - 1 : -1]
            logprobs = model.get_output_embeddings()(states).log_softmax(dim=-1)
        assert logprobs.argmax(dim=-1).tolist() == list(sampled.ids)
        assert logprobs.max(dim=-1).values.tolist() == pytest.approx(sampled.logprobs, abs=tolerance)


@pytest.mark.parametrize("method", SOFT)
def test_gradient_checkpointing_changes_nothing(method: str, base: Path) -> None:
    model = prepared(base, method)
    found = []
    for checkpointing in (False, True):
        if checkpointing:
            memory.checkpoint_activations(model)
        hidden_states(trunk(model), pack(GROUPS, sharing="always")).pow(2).sum().backward()
        found.append({name: weight.grad.clone() for name, weight in adapters.trainable(model).items()})
        model.zero_grad()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-6, atol=1e-8)
