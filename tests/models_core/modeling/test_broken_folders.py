"""Model folders with one thing wrong each: a sentence and exit status 2, before anything is written."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models_core import __main__ as command_line
from tests.models_core import recipe_runs
from tests.models_core.tiny import make_tiny_model

Breakage = Callable[[Path], None]
WEIGHTS, CONFIG, TOKENIZER, TOKENIZER_CONFIG, TEMPLATE = (
    "model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
)  # fmt: skip
DATA = {
    "sft": "demonstrations.jsonl", "reward": "rankings.jsonl", "ppo": "prompts.jsonl", "ppo --reward": "prompts.jsonl",
    "dpo": "rankings.jsonl", "sample": "prompts.jsonl", "score": "rankings.jsonl", "evaluate": "demonstrations.jsonl",
}  # fmt: skip
"""What each command reads besides a model; of two models the broken one is the last that is named."""
READS_REWARD = ("score", "ppo --reward")


def changed(name: str, **values: Any) -> Breakage:
    def write(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return write


def written(name: str, content: str | bytes) -> Breakage:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def without(*names: str) -> Breakage:
    def remove(folder: Path) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)

    return remove


def truncated(name: str, *, part: float) -> Breakage:
    def cut(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * part)])

    return cut


def weights(change: Callable[[dict[str, torch.Tensor]], None]) -> Breakage:
    def write(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    return write


def one_nan(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.layers.1.mlp.up_proj.weight"][3, 3] = torch.nan


def without_a_layer(tensors: dict[str, torch.Tensor]) -> None:
    for name in [name for name in tensors if name.startswith("model.layers.1.")]:
        del tensors[name]


def a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("not a folder")


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def sharded(folder: Path) -> None:
    """An index that names two shards, of which one is there."""
    names = list(load_file(folder / WEIGHTS))
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    (folder / WEIGHTS).rename(folder / first)
    index = {"metadata": {}, "weight_map": {name: second if place else first for place, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def of_its_own_code(folder: Path) -> None:
    changed(CONFIG, model_type="own", auto_map={"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"})(folder)
    (folder / "own.py").write_text("raise SystemExit('this must never run')")


def tokenizer_model(**values: Any) -> Breakage:
    def write(folder: Path) -> None:
        content = json.loads((folder / TOKENIZER).read_text())
        content["model"] |= values
        (folder / TOKENIZER).write_text(json.dumps(content))

    return write


def with_more_tokens(folder: Path) -> None:
    content = json.loads((folder / TOKENIZER).read_text())
    content["model"]["vocab"]["surplus"] = 400
    (folder / TOKENIZER).write_text(json.dumps(content))


def unreadable(name: str) -> Breakage:
    return lambda folder: (folder / name).chmod(0)


def symlink_loop(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(folder.name)


def looped_file(name: str) -> Breakage:
    def write(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(name)

    return write


ZOO: dict[str, tuple[Breakage, tuple[str, ...], str]] = {
    "a file": (a_file, ("sft", "score", "sample"), "There is no model folder"),
    "empty folder": (empty, ("evaluate", "dpo"), "is not a model folder: it has no config.json."),
    "no config": (without(CONFIG), ("reward", "score"), "is not a model folder: it has no config.json."),
    "config no JSON": (written(CONFIG, "{"), ("sft", "score", "ppo"), "cannot be loaded: "),
    "config not UTF-8": (written(CONFIG, b"\xff\xfe\x00"), ("sample", "score"), "cannot be loaded: "),
    "config a list": (written(CONFIG, "[1]"), ("evaluate", "score"), "cannot be loaded: "),
    "config empty": (written(CONFIG, "{}"), ("sft", "score"), "cannot be loaded: "),
    "unknown model_type": (changed(CONFIG, model_type="unheard_of"), ("sft", "ppo --reward"), "cannot be loaded: "),
    "model_type a number": (changed(CONFIG, model_type=7), ("sample", "score"), "cannot be loaded: "),
    "negative size": (changed(CONFIG, hidden_size=-16), ("sft", "score"), "cannot be loaded: "),
    "no heads": (changed(CONFIG, num_attention_heads=0), ("sample", "score"), "cannot be loaded: "),
    "size a text": (changed(CONFIG, hidden_size="wide"), ("sample", "score"), "cannot be loaded: "),
    "absurd size": (changed(CONFIG, hidden_size=10**9), ("evaluate", "ppo --reward"), "cannot be loaded: "),
    "absurd depth": (changed(CONFIG, num_hidden_layers=10**9), ("sample", "reward"), "cannot be loaded: "),
    "other vocabulary": (changed(CONFIG, vocab_size=300), ("sft", "score"), "cannot be loaded: "),
    "other width": (changed(CONFIG, hidden_size=32), ("dpo", "score"), "cannot be loaded: "),
    "other activation": (changed(CONFIG, hidden_act="unheard_of"), ("sample", "score"), "cannot be loaded: "),
    "other rotary positions": (
        changed(CONFIG, rope_parameters={"rope_type": "unheard_of"}), ("sample", "score"), "cannot be loaded: "
    ),
    "architectures a number": (changed(CONFIG, architectures=3), ("sft", "score"), "cannot be loaded: "),
    "truncated weights": (truncated(WEIGHTS, part=0.5), ("sft", "score"), "are damaged: "),
    "garbage weights": (written(WEIGHTS, b"\x00garbage" * 99), ("sample", "ppo --reward"), "are damaged: "),
    "empty weights": (written(WEIGHTS, b""), ("evaluate", "score"), "are damaged: "),
    "missing shard": (sharded, ("reward", "sample"), "cannot be loaded: "),
    "pickled": (pickled, ("ppo", "score"), "has no weights in safetensors format; other formats are not read."),
    "own code": (of_its_own_code, ("dpo", "score"), "code of its own (trust_remote_code), which is never run."),
    "NaN weights": (weights(one_nan), ("evaluate", "score", "sample"), "up_proj.weight holds no finite numbers."),
    "no layer": (weights(without_a_layer), ("sft", "score"), "are incomplete: model.layers.1."),
    "no tokenizer": (without(TOKENIZER, TOKENIZER_CONFIG), ("sft", "score"), "has no tokenizer: none of the files"),
    "half a tokenizer": (truncated(TOKENIZER, part=0.5), ("sample", "score"), "cannot be loaded: "),
    "newer tokenizer": (changed(TOKENIZER, version="9.0"), ("dpo", "score"), "cannot be loaded: "),
    "unknown tokenizer": (tokenizer_model(type="Unheard"), ("evaluate", "ppo --reward"), "cannot be loaded: "),
    "unknown pre-tokenizer": (
        changed(TOKENIZER, pre_tokenizer={"type": "Unheard"}), ("sample", "score"), "cannot be loaded: "
    ),
    "tokenizer a list": (written(TOKENIZER, "[]"), ("sample", "score"), "cannot be loaded: "),
    "tokenizer config no JSON": (written(TOKENIZER_CONFIG, "{"), ("ppo", "score"), "cannot be loaded: "),
    "tokenizer config a list": (written(TOKENIZER_CONFIG, "[]"), ("sft", "score"), "cannot be loaded: "),
    "more tokens than embeddings": (with_more_tokens, ("sft", "score", "sample"), "does not fit its model: it has "),
    "template syntax": (written(TEMPLATE, "{% for %}"), ("sft", "sample", "score"), "The chat template of "),
    "template undefined": (written(TEMPLATE, "{{ absent.name.more }}"), ("dpo", "score"), "The chat template of "),
    "template huge": (
        written(TEMPLATE, "{% for n in range(10**12) %}x{% endfor %}"), ("reward", "evaluate"), "The chat template of "
    ),
    "template of code": (
        written(TEMPLATE, "{{ messages.__class__.__mro__[1].__subclasses__() }}"), ("sample",), "The chat template of "
    ),
    "template not UTF-8": (written(TEMPLATE, b"\xff\xfe\x00"), ("sample", "score"), "cannot be loaded: "),
    "symlink loop": (symlink_loop, ("sft", "score"), "There is no model folder"),
    "config a symlink loop": (looped_file(CONFIG), ("sft", "score"), "has no config.json."),
    "tokenizer a symlink loop": (looped_file(TOKENIZER), ("sample", "score"), "has no tokenizer: none of the files"),
}  # fmt: skip
IF_NOT_ROOT: dict[str, tuple[Breakage, tuple[str, ...], str]] = {
    "unreadable config": (unreadable(CONFIG), ("sft", "score"), "cannot be loaded: "),
    "unreadable weights": (unreadable(WEIGHTS), ("sample", "score"), "cannot be loaded: "),
    "unreadable tokenizer": (unreadable(TOKENIZER), ("sample", "score"), "cannot be loaded: "),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data, and a sound language model and reward model."""
    folder = tmp_path_factory.mktemp("zoo")
    make_tiny_model(folder / "policy")
    recipe_runs.make_reward_model(folder / "policy", folder / "reward")
    for make in (recipe_runs.demonstrations, recipe_runs.rankings, recipe_runs.prompts):
        make(folder)
    return folder


def said(
    place: Path, model: Path, command: str, capsys: pytest.CaptureFixture[str], *, data: Path | None = None
) -> tuple[int, str, list[str], Path]:
    """Status, standard output, lines of standard error and OUT of a command that is given this model."""
    out = model.with_name("out")
    files = ["--data", str(data or place / DATA[command]), "--out", str(out)]
    models = ["--model", str(place / "policy"), "--reward", str(model)]
    if command != "ppo --reward":
        models = ["--model", str(model), *(["--reward", str(place / "reward")] if command == "ppo" else [])]
    status = command_line.main([command.split()[0], *models, *files, "--device", "cpu", "--set", "precision=fp32"])
    streams = capsys.readouterr()
    return status, streams.out, streams.err.strip().split("\n"), out


@pytest.mark.parametrize(("case", "command"), [(case, name) for case in ZOO for name in ZOO[case][1]])
def test_it_is_a_sentence_and_nothing_is_written(
    place: Path, tmp_path: Path, case: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    breakage, _, sentence = ZOO[case]
    check(place, tmp_path, breakage, command, sentence, capsys)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
@pytest.mark.parametrize(("case", "command"), [(case, name) for case in IF_NOT_ROOT for name in IF_NOT_ROOT[case][1]])
def test_a_file_that_may_not_be_read(
    place: Path, tmp_path: Path, case: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    breakage, _, sentence = IF_NOT_ROOT[case]
    check(place, tmp_path, breakage, command, sentence, capsys)


def check(
    place: Path,
    folder: Path,
    breakage: Breakage,
    command: str,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = folder / "broken"
    shutil.copytree(place / ("reward" if command in READS_REWARD else "policy"), broken)
    breakage(broken)
    status, printed, lines, out = said(place, broken, command, capsys)
    assert (status, printed) == (2, ""), lines
    assert "Traceback" not in "\n".join(lines)
    assert str(broken) in lines[-1]
    assert sentence in lines[-1]
    assert lines[-1].endswith(".")
    assert not out.exists()


REFUSES_SYSTEM = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system turns here') }}"
    "{% endif %}{{ message['role'] + ': ' + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
)


@pytest.mark.parametrize("command", list(DATA))
def test_a_template_that_refuses_a_turn_names_the_row(
    place: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(place / ("reward" if command in READS_REWARD else "policy"), broken)
    written(TEMPLATE, REFUSES_SYSTEM)(broken)
    rows = [json.loads(line) for line in (place / DATA[command]).read_text().splitlines()]
    rows[2]["prompt"] = [{"role": "system", "content": "Be brief."}, *rows[2]["prompt"]]
    data = recipe_runs.write(tmp_path / "rows.jsonl", rows)
    status, printed, lines, out = said(place, broken, command, capsys, data=data)
    assert (status, printed) == (2, ""), lines
    assert lines[-1] == "rows.jsonl, line 3: the chat template refuses the row '2': no system turns here."
    assert not out.exists()
