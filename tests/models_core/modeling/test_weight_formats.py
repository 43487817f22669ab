"""Weights in int8 and in 4 bits for sampling: smaller, close to the whole ones, and refused where they can't be."""

from pathlib import Path

import pytest
import torch

from models_core.commands import sample
from models_core.contract.errors import BadInput
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import SampleConfig, parse
from models_core.modeling import int8_linears, loading
from tests.models_core import recipe_runs
from tests.models_core.tiny import make_tiny_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


def test_int8_is_smaller_and_close_and_leaves_the_head(tiny: Path) -> None:
    whole = loading.load_policy(tiny, device=CPU, dtype=torch.float32)
    small = loading.load_sampler(tiny, device=CPU, dtype=torch.float32, weight_format="int8")
    torch.manual_seed(0)
    ids = torch.randint(3, 200, (4, 12))
    with torch.no_grad():
        one, other = (model(input_ids=ids).logits.softmax(-1) for model in (whole, small))
    distance = (one - other).abs().sum(-1) / 2  # total variation of each next token
    assert 0 < distance.max() < 0.01
    linears = [module for module in whole.modules() if type(module) is torch.nn.Linear]
    linears.remove(whole.lm_head)
    in_int8 = sum(module.weight.numel() for module in linears)
    scales = 4 * sum(module.out_features for module in linears)
    assert int8_linears.stored_bytes(small) == int8_linears.stored_bytes(whole) - 3 * in_int8 + scales
    assert type(small.lm_head) is torch.nn.Linear
    assert small.lm_head.weight.nbytes == whole.lm_head.weight.nbytes


def test_a_layer_in_int8_computes_what_its_rounded_weights_say() -> None:
    linear = torch.nn.Linear(3, 2)
    linear.weight.data = torch.tensor([[1.27, -0.634, 0.0], [0.0, 0.0, 0.0]])
    linear.bias.data = torch.tensor([0.5, -1.0])
    layer = int8_linears.Int8Linear(linear)
    # 1.27 / 127 = 0.01: 127, -63 (of -63.4) and 0. A channel of zeros stays one.
    assert layer.weight.tolist() == [[127, -63, 0], [0, 0, 0]]
    assert layer.scale[0].item() == pytest.approx(0.01)
    found = layer(torch.tensor([[1.0, 2.0, 3.0]]))
    assert found.tolist() == [pytest.approx([1.27 - 2 * 0.63 + 0.5, -1.0])]
    assert layer(torch.ones(1, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("weight_format", ["int8", "nf4"])
def test_responses_are_sampled_from_small_weights(tiny: Path, tmp_path: Path, weight_format: str) -> None:
    settings = parse(
        SampleConfig, {"weight_format": weight_format, "max_new_tokens": 4, "precision": "fp32", "max_length": 128}
    )
    out = tmp_path / "responses.jsonl"
    data = recipe_runs.prompts(tmp_path, count=3)
    summary = sample.run(settings, model=str(tiny), data=data, samples=2, out=out, device=CPU, stop=StopSignal())
    assert summary["responses"] == 6


def test_what_a_backend_lacks_is_a_sentence(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models_core.modeling.adapters.quantised.find_spec", lambda name: None)
    with pytest.raises(BadInput, match="4 bits need the package bitsandbytes"):
        loading.load_sampler(tiny, device=CPU, dtype=torch.float32, weight_format="nf4")
    settings = parse(SampleConfig, {"weight_format": "int8"})
    with pytest.raises(BadInput, match="A server holds its weights"):
        sample.check(settings, model="http://127.0.0.1:9/v1", samples=1, reward=None)
    settings = parse(SampleConfig, {"weight_format": "int8", "batch_invariant": True})
    with pytest.raises(BadInput, match="batch_invariant computes with whole weights"):
        sample.check(settings, model=str(tiny), samples=1, reward=None)
