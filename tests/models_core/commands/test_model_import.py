"""An imported model is checked as what it is said to be, and copied without anything else of its folder."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from models_core.commands.registry import model_import
from models_core.contract.errors import BadInput
from models_core.contract.runs.run_folder import folder_sha256
from models_core.contract.runs.stopping import StopSignal
from models_core.modeling import loading
from tests.models_core.tiny import make_tiny_model, make_tiny_tokenizer

CPU = torch.device("cpu")


def imported(model: Path | str, out: Path, kind: str = "policy") -> dict[str, object]:
    return model_import.run(model=str(model), kind=kind, out=out, device=CPU, stop=StopSignal())


def test_weights_tokenizer_and_configuration_are_copied_and_nothing_else(tmp_path: Path) -> None:
    source = make_tiny_model(tmp_path / "source")
    (source / "modeling_mine.py").write_text("raise SystemExit")
    (tmp_path / "elsewhere.json").write_text("{}")
    (source / "link.json").symlink_to(tmp_path / "elsewhere.json")
    found = imported(source, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out" / "model").iterdir()}
    assert names == {path.name for path in source.iterdir()} - {"modeling_mine.py", "link.json"}
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["status"] == "succeeded"
    assert result["sha256"] == found["sha256"] == folder_sha256(tmp_path / "out" / "model")
    assert (found["origin"], found["parameters"]) == ("folder", 8832)


def test_a_reward_model_keeps_its_head(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base")
    made = loading.new_reward_model(base, device=CPU, dtype=torch.float32, seed=3)
    loading.save_reward_model(tmp_path / "reward", made, make_tiny_tokenizer(), reward_scale=2.0, trained_on=["ab"])
    imported(tmp_path / "reward", tmp_path / "out", kind="reward")
    read = loading.load_reward_model(tmp_path / "out" / "model", device=CPU, dtype=torch.float32)
    assert torch.equal(read.score.weight, made.score.weight)
    assert (tmp_path / "out" / "model" / "trained_prompts.txt").is_file()
    with pytest.raises(BadInput, match="is a reward model, and policy says a language model: state the other kind"):
        imported(tmp_path / "reward", tmp_path / "other")


def test_what_cannot_be_used_is_refused_and_leaves_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    source = make_tiny_model(tmp_path / "source")
    with pytest.raises(BadInput, match="is a language model, and reward says a reward model"):
        imported(source, tmp_path / "out", kind="reward")
    (source / "chat_template.jinja").unlink()
    with pytest.raises(BadInput, match=r"has no chat template.*import it as pretrained"):
        imported(source, tmp_path / "out")
    assert imported(source, tmp_path / "plain", kind="pretrained")["parameters"] == 8832
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["too far"] = 1000
    (source / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(BadInput, match="it has tokens up to number 1000, and the model has embeddings for 259"):
        imported(source, tmp_path / "out", kind="pretrained")
    weights = make_tiny_model(tmp_path / "damaged") / "model.safetensors"
    save_file({name: value * float("nan") for name, value in load_file(weights).items()}, weights, {"format": "pt"})
    with pytest.raises(BadInput, match="holds no finite numbers"):
        imported(tmp_path / "damaged", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"it has no config\.json"):
        imported(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(BadInput, match="the Hub cannot be reached"):
        imported("somebody/something", tmp_path / "out")
    assert not (tmp_path / "out").exists()
