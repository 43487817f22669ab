"""Pushing to a Hub by its own client, against a small server on loopback: what it is sent, and what it refuses."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from peft import PeftModel
from transformers import AutoModelForCausalLM

from models_core.commands.registry import hub_push
from models_core.contract import third_party
from models_core.contract.errors import BadInput
from models_core.contract.runs.stopping import StopSignal
from models_core.modeling import adapters, loading
from tests.harness.loopback_hub import COMMIT, TOKEN, Hub, hub
from tests.models_core.tiny import make_tiny_model
from tests.models_core.tuned import prepared

__all__ = ["hub"]


def pushed(model: Path, out: Path, **values: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "repository": "me/mine", "token_variable": "HF_TOKEN_OF_TEST", "private": True, "card": None,
    }  # fmt: skip
    return hub_push.run(model=str(model), out=out, stop=StopSignal(), **arguments | values)


def test_every_file_arrives_with_the_card_as_readme(hub: Hub, tmp_path: Path) -> None:
    source = make_tiny_model(tmp_path / "source")
    (tmp_path / "card.md").write_text("# Policy 1\n")
    found = pushed(source, tmp_path / "pushed.json", card=tmp_path / "card.md")
    assert (found["revision"], found["files"]) == (COMMIT, len(list(source.iterdir())) + 1)
    assert json.loads((tmp_path / "pushed.json").read_text()) == found
    wanted = {path.name: path.read_bytes() for path in source.iterdir()} | {"README.md": b"# Policy 1\n"}
    assert {name: hashlib.sha256(value).hexdigest() for name, value in hub.files.items()} == {
        name: hashlib.sha256(value).hexdigest() for name, value in wanted.items()
    }
    assert hub.created["visibility"] == "private"
    assert hub.tokens == {f"Bearer {TOKEN}"}
    assert TOKEN not in json.dumps(found)


def test_refusals_are_sentences_that_never_hold_the_token(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_tiny_model(tmp_path / "source")
    for status, said in (
        (401, "the Hub does not know the token in HF_TOKEN_OF_TEST"),
        (403, "the token in HF_TOKEN_OF_TEST may not write there"),
    ):
        hub.refuses = {"/api/": status}
        with pytest.raises(BadInput, match=said) as refused:
            pushed(source, tmp_path / "out.json")
        assert TOKEN not in str(refused.value)
    hub.refuses = {"/commit/": 400}
    with pytest.raises(BadInput, match="the Hub replied with status 400"):
        pushed(source, tmp_path / "out.json")
    for values, said in (
        ({"repository": "mine"}, "names no repository; it is OWNER/NAME"),
        ({"token_variable": "AWS_SECRET"}, "must begin with HF_"),
        ({"token_variable": "HF_NOTHING"}, "HF_NOTHING is not set for this worker"),
    ):
        with pytest.raises(BadInput, match=said):
            pushed(source, tmp_path / "out.json", **values)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadInput, match="the Hub cannot be reached"):
        pushed(source, tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()
    assert hub.files == {}


def test_a_hub_that_hangs_up_or_replies_in_another_shape_is_a_sentence(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_tiny_model(tmp_path / "source")
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    found: list[dict[str, Any]] = []

    def reply(*_request: Any) -> tuple[int, dict[str, str], bytes]:
        if not found:
            raise ConnectionAbortedError
        return 200, {"Content-Type": "application/json"}, json.dumps(found[0]).encode()

    monkeypatch.setattr(hub, "answer", reply)
    monkeypatch.setattr(hub.server, "handle_error", lambda *_request: None)
    with pytest.raises(BadInput, match="me/mine can't be pushed: the Hub broke the connection off"):
        pushed(source, tmp_path / "out.json")
    assert not third_party.download_snapshot("me/mine", tmp_path / "got", patterns=["*"])
    found.append({"siblings": 7})
    with pytest.raises(BadInput, match="me/mine can't be pushed: the Hub's reply"):
        pushed(source, tmp_path / "out.json")
    assert not third_party.download_snapshot("me/mine", tmp_path / "got", patterns=["*"])
    assert not (tmp_path / "got").exists()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.float().eval()(input_ids=torch.arange(5, 37)[None]).logits
    return found


def merged(base: Path, run: Path, method: str = "lora") -> Path:
    """A policy as a run saves it."""
    model = adapters.merge_adapters(prepared(base, method))
    loading.save_policy(run / "model", model, loading.load_tokenizer(base))
    return run / "model"


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_lora_adapter_arrives_as_peft_reads_it_and_is_the_merged_model(hub: Hub, tmp_path: Path, kind: str) -> None:
    base = make_tiny_model(tmp_path / "base", kind=kind)
    source = merged(base, tmp_path / "run")
    (tmp_path / "card.md").write_text("# Policy 1\n")
    found = pushed(source, tmp_path / "out.json", card=tmp_path / "card.md", adapter_of="them/base")
    assert found["files"] == len(hub.files)
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "README.md"} <= hub.files.keys()
    assert not {"model.safetensors", "config.json"} & hub.files.keys()
    assert hub.files["README.md"].decode() == "---\nbase_model: them/base\nlibrary_name: peft\n---\n\n# Policy 1\n"
    config = json.loads(hub.files["adapter_config.json"])
    assert (config["base_model_name_or_path"], config["task_type"]) == ("them/base", "CAUSAL_LM")
    assert str(tmp_path) not in hub.files["adapter_config.json"].decode()
    (tmp_path / "got").mkdir()
    for name, content in hub.files.items():
        (tmp_path / "got" / name).write_bytes(content)
    plain = AutoModelForCausalLM.from_pretrained(base)
    before = logits(plain)
    adapted = logits(PeftModel.from_pretrained(plain, tmp_path / "got"))
    assert torch.allclose(adapted, logits(AutoModelForCausalLM.from_pretrained(source)), atol=1e-5)
    assert not torch.allclose(adapted, before, atol=1e-2)


def test_what_has_no_adapter_of_lora_is_refused_and_an_earlier_one_goes(hub: Hub, tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base")
    source = merged(base, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run" / "lora").iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    # Another model in its place has none, nor have reward models and other methods.
    assert merged(base, tmp_path / "run", method="ia3") == source
    reward = adapters.merge_adapters(prepared(base, "lora", reward=True))
    loading.save_reward_model(tmp_path / "reward" / "model", reward, loading.load_tokenizer(base))
    for model in (source, tmp_path / "reward" / "model", base):
        with pytest.raises(BadInput, match="There is no LoRA adapter beside"):
            pushed(model, tmp_path / "out.json", adapter_of="them/base")
    with pytest.raises(BadInput, match="names no repository"):
        pushed(source, tmp_path / "out.json", adapter_of="base")
    assert hub.files == {}
