"""`plan` on the command line: the table, JSON, and sentences for bad input; neither torch nor weights are needed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models_core import __main__ as command_line

CONFIG = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG), encoding="utf-8")
    return path


def plan(*options: str) -> int:
    return command_line.main(["plan", *options])


def test_a_table_and_what_makes_each_stage_fit(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan("--model", str(config.parent), "--gpus", "8", "--memory", "80", "--set", "method=full") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("8,030,261,248 parameters on 8 GPUs of 80.00 GB.")
    assert [line.split()[:2] for line in lines[3:10]] == [
        ["pretrain", "update"], ["sft", "update"], ["reward", "update"], ["dpo", "update"], ["ppo", "sample"],
        ["ppo", "update"], ["sample", "sample"],
    ]  # fmt: skip
    assert "sft does not fit (174 of 80.00 GB); it would take 49.98 GB with parallel=fsdp." in lines
    assert "sample fits: 24.77 of 80.00 GB." in lines


def test_json_of_one_stage(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan("--model", str(config), "--gpus", "1", "--memory", "4.5", "--stage", "ppo", "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (found["parameters"], found["gpus"], found["memory"]) == (8_030_261_248, 1, 4_500_000_000)
    (stage,) = found["stages"]
    assert (stage["stage"], stage["fits"], stage["changes"]) == ("ppo", False, None)
    assert stage["total"] == max(period["total"] for period in stage["periods"])
    assert stage["tried"]["method"] == "qlora"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--memory", "much"], "--memory takes the GB of one GPU, a number from 0.01 to 100000, not 'much'."),
        (["--memory", "nan"], "--memory takes the GB of one GPU, a number from 0.01 to 100000, not 'nan'."),
        (["--set", "method=best"], "The setting method must be one of full, last_n, lora, "),
        (
            ["--stage", "sft", "--set", "kl_coef=1"],
            "There is no setting 'kl_coef' here; the settings are adapter_width, ",
        ),
        (["--set", "processes=2"], "The number of processes is given by --gpus: leave out --set processes."),
        (["--reward", "nowhere"], "There is no config.json at nowhere: "),
    ],
)
def test_bad_input_is_a_sentence(
    config: Path, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = [] if "--memory" in options else ["--memory", "80"]
    assert plan("--model", str(config), "--gpus", "2", *memory, *options) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.strip().startswith(sentence)) == ("", True), said.err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is no JSON file that can be read."),
        ("[1]", "holds no configuration of a model."),
        ("{}", "doesn't say the model's num_hidden_layers, so its size isn't known."),
        (
            json.dumps(CONFIG | {"hidden_size": "wide"}),
            "hidden_size must be a whole number from 1 to 10000000, not 'wide'.",
        ),
        (json.dumps(CONFIG | {"head_dim": -1}), "head_dim must be a whole number from 1 to 10000000, not -1."),
    ],
)
def test_a_bad_config_is_a_sentence(config: Path, text: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(text, encoding="utf-8")
    assert plan("--model", str(config), "--gpus", "1", "--memory", "80") == 2
    said = capsys.readouterr()
    assert (said.out, said.err.strip().endswith(sentence)) == ("", True), said.err


def test_torch_is_not_loaded(config: Path) -> None:
    code = (
        "import sys; from models_core import __main__ as command_line; "
        f"command_line.main(['plan', '--model', {str(config)!r}, '--gpus', '1', '--memory', '80']); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
