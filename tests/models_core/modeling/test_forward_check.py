"""Once for every model the fast ways are held against transformers' own forward; where they differ they are closed."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from models_core.generation import generate
from models_core.generation.llama import torch_steps
from models_core.modeling import families, forward, forward_check, packing
from models_core.modeling.loading import load_policy
from models_core.modeling.manual_autograd import install
from models_core.modeling.packing import Group, hidden_states, pack
from tests.models_core import recipe_runs
from tests.models_core.many_families import make
from tests.models_core.tiny import make_tiny_model

CPU = torch.device("cpu")
GROUPS = [Group([5, 6, 7, 8], [[9, 10], [11]]), Group([20, 21], [[22, 23]])]


def load(folder: Path, *, dtype: torch.dtype = torch.float32) -> Any:
    return load_policy(folder, device=CPU, dtype=dtype)


def expected(folder: Path) -> torch.Tensor:
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    rows = [([5, 6, 7, 8], [9, 10]), ([5, 6, 7, 8], [11]), ([20, 21], [22, 23])]
    with torch.no_grad():
        return torch.cat(
            [
                plain(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)[
                    range(len(response)), response
                ]
                for prompt, response in rows
            ]
        )  # fmt: skip


def test_a_packed_forward_that_differs_is_given_up_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_tiny_model(tmp_path / "model")
    usual = install.apply_rope
    monkeypatch.setattr(install, "apply_rope", lambda states, cosine, sine: usual(states, cosine, sine * 0.9))
    model = load(folder)
    with torch.no_grad():
        found = forward.response_log_probs(model, pack(GROUPS))
        torch.testing.assert_close(found, expected(folder), atol=1e-5, rtol=1e-5)
    assert not families.fast_ways(model).packed
    said = capsys.readouterr().err
    assert said.count("is computed by transformers' own forward, which takes longer") == 1
    assert "packed rows differs from transformers' own by" in said


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_computes_the_same_stays_on_the_fast_way(
    dtype: torch.dtype, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load(make_tiny_model(tmp_path / "model"), dtype=dtype)
    hidden_states(model.model, pack(GROUPS))
    generate.sample(model, [[5, 6]], samples=1, max_new_tokens=3, temperature=0, stop_ids=[2], seed=0, batch_size=1)
    assert families.fast_ways(model).packed
    assert set(getattr(model.model, forward_check.FOUND)) == {"packed rows", "decoding"}
    assert capsys.readouterr().err == ""


def test_it_is_done_once_for_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(make_tiny_model(tmp_path / "model"))
    calls = []
    monkeypatch.setattr(forward_check, "hold", lambda *given, **named: calls.append(given[1]) or True)
    monkeypatch.setattr(packing.forward_check, "FOUND", "forward_check")
    for _ in range(3):
        hidden_states(model.model, pack(GROUPS))
        setattr(model.model, forward_check.FOUND, {"packed rows": {}})
    assert calls == ["packed rows"]


def test_decoding_that_differs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_tiny_model(tmp_path / "model")
    usual = torch_steps.TorchLlama.rotation
    monkeypatch.setattr(torch_steps.TorchLlama, "rotation", lambda self, hidden, at: usual(self, hidden, at * 2))
    model = load(folder)
    prompts = [[5, 6, 7, 8, 9], [20, 21]]
    responses = generate.sample(
        model, prompts, samples=1, max_new_tokens=12, temperature=0, stop_ids=[2], seed=0, batch_size=4, release=True
    )
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for prompt, (response,) in zip(prompts, responses, strict=True):
        ids = torch.tensor([prompt])
        out = plain.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, eos_token_id=2, pad_token_id=0
        )
        assert list(response.ids) == out[0, len(prompt) :].tolist()
    assert not families.fast_ways(model).decoding


@pytest.mark.parametrize(("name", "way"), [("llama", "packed"), ("gemma", "transformers")])
def test_a_runs_json_says_which_way_it_is_computed(name: str, way: str, tmp_path: Path) -> None:
    model = make(name, tmp_path / "model")
    recipe_runs.run("sft", tmp_path / "run", {"epochs": 1}, model=str(model), data=recipe_runs.demonstrations(tmp_path))
    run = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    found = run["forward"]["model"]
    assert (found["model_type"], found["way"]) == (name, way)
    if way == "packed":
        assert found["compared"]["packed rows"]["difference"] < 1e-4
    else:
        assert found["reasons"] == ["model_type=gemma"]


@pytest.mark.parametrize(
    ("key", "value", "is_fast"),
    [
        ("rope_interleaved", False, True),  # nothing in transformers' code for Llama reads it
        ("attention_chunk_size", 4, False),  # its masks do
        ("num_labels", 1, True),
        ("rms_norm_eps", 1e-3, True),
        ("add_cross_attention", True, True),
    ],
)
def test_a_key_that_the_fast_ways_were_not_taught_closes_them(
    key: str, value: object, is_fast: bool, tmp_path: Path
) -> None:
    model = load(make_tiny_model(tmp_path / "model"))
    setattr(model.config, key, value)
    assert families.fast_ways(model).packed == is_fast
    assert (not is_fast) == (f"{key}={value}" in families.fast_ways(model).reasons)


def test_weights_that_overflow_say_nothing_of_the_way_they_are_computed() -> None:
    overflowed = torch.tensor([1.0, torch.inf])
    assert math.isnan(forward_check.difference(torch.zeros(2), overflowed))
    assert forward_check.difference(overflowed, torch.zeros(2)) == math.inf
    trunk = torch.nn.Linear(1, 1)
    assert forward_check.hold(trunk, "it", fast=lambda: overflowed, plain=lambda: overflowed)
    assert not forward_check.hold(trunk, "it", fast=lambda: overflowed, plain=lambda: torch.zeros(2))
