"""What a command is given: nothing is written over its input, nothing is done in vain, no flag is lost."""

import os
from pathlib import Path

import pytest

from models_core import __main__ as command_line
from models_core.cli.parser import build_parser
from tests.models_core import recipe_runs
from tests.models_core.tiny import make_tiny_model


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    make_tiny_model(folder / "model")
    for make in (recipe_runs.rankings, recipe_runs.prompts, recipe_runs.demonstrations):
        make(folder)
    (folder / "linked.jsonl").symlink_to(folder / "rankings.jsonl")
    os.link(folder / "rankings.jsonl", folder / "hard.jsonl")
    recipe_runs.write(folder / "rows.jsonl.partial", [{"id": "1"}])
    (folder / "run" / "model").mkdir(parents=True)
    (folder / "run" / "result.json").write_text("{}")
    return folder


CASES = {
    "score over its data": ("score", "rankings.jsonl", "rankings.jsonl", "would be written over --data"),
    "sample over its data": ("sample", "prompts.jsonl", "prompts.jsonl", "would be written over --data"),
    "evaluate over its data": ("evaluate", "demonstrations.jsonl", "./demonstrations.jsonl", "over --data"),
    "a symbolic link": ("score", "rankings.jsonl", "linked.jsonl", "would be written over --data"),
    "a hard link": ("score", "hard.jsonl", "rankings.jsonl", "would be written over --data"),
    "what is not finished": ("score", "rows.jsonl.partial", "rows.jsonl", "would be written over --data"),
    "a file of the model": ("score", "rankings.jsonl", "model/config.json", "would be written over a file of --model"),
    "training over its data": ("reward", "rankings.jsonl", "rankings.jsonl", "would be written over --data"),
    "training around its data": ("reward", "rankings.jsonl", ".", "is the folder that holds --data"),
    "training over its model": ("sft", "demonstrations.jsonl", "model", "holds --model"),
    "a folder": ("sample", "prompts.jsonl", "model", "is a folder, and a file is written: name the file."),
    "under a file": ("sample", "prompts.jsonl", "hard.jsonl/out.jsonl", "cannot be written (Not a directory)"),
    "no place at all": ("sample", "prompts.jsonl", "/proc/hone/out.jsonl", "cannot be written"),
    "a device": ("score", "rankings.jsonl", "/dev/null", "is no regular file, so it cannot be replaced."),
    "a long name": ("sample", "prompts.jsonl", "x" * 255, "cannot be written (File name too long)."),
}


@pytest.mark.parametrize("case", CASES)
def test_an_out_that_cannot_be_is_refused_before_anything_is_read(place, case, capsys, monkeypatch):
    command, data, out, sentence = CASES[case]
    monkeypatch.chdir(place)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    status = command_line.main([command, "--model", "model", "--data", data, "--out", out])
    said = capsys.readouterr()
    assert (status, said.out) == (2, "")
    assert sentence in said.err.strip().split("\n")[-1]
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_a_runs_own_result_is_not_written_over(place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    argv = ["evaluate", "--model", "run", "--data", "demonstrations.jsonl", "--out", "run/result.json"]
    assert command_line.main(argv) == 2
    assert "over a file of --model run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "flag", "sentence"),
    [
        ("score", "--data", "--data is given twice, and one is read; join the files first: cat A B > C"),
        ("reward", "--eval", "--eval is given twice, and one is read; join the files first: cat A B > C"),
        ("score", "--model", "--model is given twice, and one is read"),
        ("evaluate", "--out", "--out is given twice, and one is read"),
        ("ppo", "--reward", "--reward is given twice, and one is read"),
        ("sample", "--samples", "--samples is given twice, and one is read"),
        ("score", "--seed", "--seed is given twice, and one is read"),
        ("pretrain", "--tokenizer", "--tokenizer is given twice, and one is read"),
    ],
)
def test_a_flag_that_takes_one_value_is_not_given_two(command, flag, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        command_line.main([command, flag, "1", flag, "2", "--model", "m", "--data", "d", "--out", "o"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.strip().split("\n")[-1].endswith(sentence)


def test_every_flag_is_of_one_value_or_of_several():
    for action in build_parser()._actions[-1].choices.values():
        for flag in action._actions:
            assert type(flag).__name__ in ("SingleUse", "_AppendAction", "_StoreTrueAction", "_HelpAction") or not (
                set(flag.option_strings) - {"--idle", "--device"}
            ), flag.option_strings


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--set", "seed=1", "--set", " seed =2"], "The setting seed is given twice: which of the two is meant?"),
        (["--set", "seed=1", "--seed", "1"], "The setting seed is given twice, by --seed and by --set: which of the"),
    ],
)
def test_a_setting_is_not_given_twice(place, flags, sentence, capsys):
    files = ["--model", str(place / "model"), "--data", str(place / "prompts.jsonl"), "--out", str(place / "out.jsonl")]
    assert command_line.main(["sample", *files, *flags]) == 2
    assert sentence in capsys.readouterr().err
    assert not Path(place / "out.jsonl").exists()


def test_rows_too_long_are_said_in_the_last_sentence_with_what_to_set(place, tmp_path, capsys):
    texts = ["xxxx"] * 3 + ["x" * 80] * 2
    rows = [{"id": str(n), "prompt": recipe_runs.chat(f"say {n}"), "response": text} for n, text in enumerate(texts)]
    data = recipe_runs.write(tmp_path / "rows.jsonl", rows)
    settings = ["--set", "max_length=64", "--set", "precision=fp32", "--device", "cpu"]
    sentence = "2 responses were left out: with their prompts they are longer than max_length (64 tokens), or than the"
    ways = {"sft": ["--set", "held_out=0"], "evaluate": ["--set", "num_generated=0", "--set", "max_new_tokens=8"]}
    for command, extra in ways.items():
        files = ["--model", str(place / "model"), "--data", str(data), "--out", str(tmp_path / command)]
        assert command_line.main([command, *files, *settings, *extra]) == 0
        said = capsys.readouterr().err.strip().split("\n")[-1]
        assert said.startswith(sentence), said
        assert said.endswith("--set max_length=N.")
