"""Commands on models of unusual families: they work, or one sentence says why not before anything is written."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

from tests.models_core import recipe_runs
from tests.models_core.cli.test_command_line import run
from tests.models_core.many_families import make
from tests.models_core.tiny import make_tiny_tokenizer

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "t5": (AutoModelForSeq2SeqLM, {"d_model": 16, "d_ff": 16, "d_kv": 8, "num_layers": 1, "num_heads": 2},
           "an encoder with a decoder; Hone works with decoders alone."),
    "bert": (AutoModelForMaskedLM, SMALL, "an encoder: it reads in both directions and cannot write text."),
    "vit": (AutoModel, SMALL | {"image_size": 8, "patch_size": 4},
            "a model of images or sound too; Hone works with models of text alone."),
    "xlnet": (AutoModelForCausalLM, {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 16},
              "an encoder: it reads in both directions and cannot write text."),
}  # fmt: skip


@pytest.fixture(scope="module", params=REFUSED)
def refused(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    kind, settings, sentence = REFUSED[request.param]
    folder = tmp_path_factory.mktemp("refused") / request.param
    kind.from_config(AutoConfig.for_model(request.param, **settings)).save_pretrained(folder)
    make_tiny_tokenizer().save_pretrained(folder)
    return folder, sentence


@pytest.mark.parametrize("command", ["sft", "reward", "dpo", "sample", "pretrain"])
def test_what_is_no_decoder_of_text_is_refused_by_one_sentence(
    command: str, refused: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, sentence = refused
    data = {
        "sft": recipe_runs.demonstrations,
        "reward": recipe_runs.rankings,
        "dpo": recipe_runs.rankings,
        "sample": recipe_runs.prompts,
        "pretrain": lambda folder: recipe_runs.write(folder / "c.jsonl", [{"text": "some words " * 9}] * 9),
    }[command](tmp_path)
    status, _, said = run(
        command, "--model", model, "--data", data, "--out", tmp_path / "out", "--set", "held_out=0"
        if command == "pretrain" else "seed=1", "--device", "cpu", capsys=capsys,
    )  # fmt: skip
    assert status == 2
    assert said.startswith(str(model)), said
    assert said.endswith(sentence), said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["falcon-alibi", "mistral-window", "gemma2"])
def test_sft_reward_and_sampling_run_on_models_that_are_computed_plainly(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make(name, tmp_path / "model")
    common = ["--device", "cpu", "--set", "precision=fp32", "--set", "epochs=1", "--set", "max_length=96"]
    status, _, said = run(
        "sft", "--model", model, "--data", recipe_runs.demonstrations(tmp_path),
        "--out", tmp_path / "sft", *common, capsys=capsys,
    )  # fmt: skip
    assert status == 0, said
    status, _, said = run(
        "reward", "--model", tmp_path / "sft", "--data", recipe_runs.rankings(tmp_path),
        "--out", tmp_path / "rm", *common, capsys=capsys,
    )  # fmt: skip
    assert status == 0, said
    responses = tmp_path / "responses.jsonl"
    status, _, said = run(
        "sample", "--model", tmp_path / "sft", "--data", recipe_runs.prompts(tmp_path), "--out", responses,
        "--samples", 2, "--reward", tmp_path / "rm", "--device", "cpu",
        "--set", "max_new_tokens=6", "--set", "precision=fp32",
        capsys=capsys,
    )  # fmt: skip
    assert status == 0, said
    rows = [json.loads(line) for line in responses.read_text(encoding="utf-8").split("\n") if line]
    assert all(len(row["responses"]) == 2 and row["responses"][0]["score"] is not None for row in rows)


@pytest.mark.parametrize("name", ["falcon", "stablelm"])
def test_ppo_and_dpo_run_on_models_that_are_computed_plainly(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make(name, tmp_path / "model")
    common = ["--device", "cpu", "--set", "precision=fp32", "--set", "max_length=100"]
    ranked = recipe_runs.rankings(tmp_path)
    for arguments in (
        ["reward", "--data", ranked, "--out", tmp_path / "rm", "--set", "epochs=1"],
        ["dpo", "--data", ranked, "--out", tmp_path / "dpo", "--set", "epochs=1"],
        ["ppo", "--data", recipe_runs.prompts(tmp_path), "--out", tmp_path / "ppo", "--reward", tmp_path / "rm",
         "--set", "episodes=8", "--set", "batch_size=4", "--set", "max_new_tokens=6"],
    ):  # fmt: skip
        status, _, said = run(arguments[0], "--model", model, *arguments[1:], *common, capsys=capsys)
        assert status == 0, said
    metrics = [json.loads(line) for line in (tmp_path / "ppo" / "metrics.jsonl").read_text().split("\n") if line]
    assert max(row.get("first_ratio_error", 0.0) for row in metrics) < 1e-3
