"""Bad input of fine-tuning on the command line: exit status 2, one line that says what and where, nothing written."""

from pathlib import Path
from typing import Any

import pytest

from tests.models_core import broken, recipe_runs


def row(*roles: str, response: Any = "fine") -> dict[str, Any]:
    return {"id": "1", "prompt": [{"role": role, "content": "x"} for role in roles], "response": response}


DATA: dict[str, list[dict[str, Any]]] = {
    "good": [row("user")],
    "empty": [row("user"), row("user", response=" ")],
    "missing": [row("user", response=None)],
    "reversed": [row("assistant", "user")],
    "twice": [row("user", "user")],
    "unanswered": [row("user", "assistant")],
    "late system": [row("user", "system", "user")],
    "strange": [row("tool")],
    "long": [row("user", response="x" * 600)],
}

CASES: dict[str, tuple[str, str, list[str], str]] = {
    "empty response": ("sound", "empty", [], 'empty.jsonl, line 2: "response" is empty.'),
    "no response": ("sound", "missing", [], 'missing.jsonl, line 1: "response" is missing.'),
    "assistant first": ("sound", "reversed", [], "line 1: turn 1 of \"prompt\" has the role 'assistant' where 'user'"),
    "user twice": ("sound", "twice", [], "turn 2 of \"prompt\" has the role 'user' where 'assistant' belongs."),
    "assistant last": ("sound", "unanswered", [], 'the last turn of "prompt" must be the user\'s.'),
    "late system": (
        "sound",
        "late system",
        [],
        "turn 2 of \"prompt\" has the role 'system' where 'assistant' belongs.",
    ),
    "unknown role": ("sound", "strange", [], "turn 1 of \"prompt\" has the role 'tool' where 'user' belongs."),
    "too long": ("sound", "long", [], "no row can be learned from; 1 responses too long for max_length (512 tokens)."),
    "no template": ("untemplated", "good", [], "has no chat template; the setting chat_template=plain gives it"),
    "no padding": ("unpadded", "good", [], "has no padding token; the setting pad_token=eos takes"),
    "no model": ("no model", "good", [], "no model is not a model folder: it has no config.json."),
    "no folder": ("absent", "good", [], "There is no model folder"),
    "pickled": ("pickled", "good", [], "has no weights in safetensors format; other formats are not read."),
    "foreign code": ("foreign", "good", [], "it needs code of its own (trust_remote_code), which is never run."),
    "torn": ("torn", "good", [], "The weights of"),
    "no tokenizer": ("untokenised", "good", [], "untokenised has no tokenizer: none of the files tokenizer.json,"),
    "NaN weights": ("nan", "good", [], "are damaged: model.norm.weight holds no finite numbers."),
    "NaN loss": ("overflowing", "good", [], "is not a finite number: its weights are damaged."),
    "incomplete": ("incomplete", "good", [], "are incomplete: model.norm.weight is missing (1 in all)."),
    "unknown setting": ("sound", "good", ["--set", "epoch=1"], "There is no setting 'epoch' here"),
    "weights": ("sound", "good", ["--set", "data_weights=1,2"], "data_weights holds 2 numbers for 1 data files."),
    "templates": ("sound", "good", ["--templates", "poems"], "There are no templates poems"),
    "replay": ("sound", "good", ["--replay", "absent.jsonl"], "There is no file absent.jsonl (--replay)."),
    "old task": ("sound", "good", ["--ewc", "empty"], 'empty.jsonl, line 2: "response" is empty.'),
}


DIVERGES: tuple[str, str, list[str]] = ("loud", "good", [])
"""A model whose loss is a number but whose gradient is too large to be one."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, list[str], Path]]:
    """What the command line said to each case: status, standard output, lines of standard error; and its run folder."""
    folder = tmp_path_factory.mktemp("bad")
    made = broken.models(folder)
    files = {name: recipe_runs.write(folder / f"{name}.jsonl", rows) for name, rows in DATA.items()}
    commands, outs = [], []
    asked = {name: (model, data, extra) for name, (model, data, extra, _) in CASES.items()} | {"diverges": DIVERGES}
    for name, (model, data, extra) in asked.items():
        outs.append(folder / "runs" / name)
        extra = [str(files.get(item, item)) for item in extra]
        given = ["--model", str(made.get(model, folder / model)), "--data", str(files[data]), "--out", str(outs[-1])]
        commands.append(["sft", *given, "--set", "precision=fp32", *extra])
    return {name: (*said, run) for name, said, run in zip(asked, broken.said_to(commands), outs, strict=True)}


@pytest.mark.parametrize("name", list(CASES))
def test_it_is_one_line_status_2_and_nothing_written(
    name: str, outcomes: dict[str, tuple[int, str, list[str], Path]]
) -> None:
    status, out, lines, run = outcomes[name]
    assert CASES[name][3] in lines[-1]
    assert (status, out, len(lines)) == (2, "", 1), lines
    assert not run.exists()


def test_training_that_diverges_ends_with_status_2_and_no_model(
    outcomes: dict[str, tuple[int, str, list[str], Path]],
) -> None:
    status, out, lines, run = outcomes["diverges"]
    assert (status, out) == (2, "")
    assert lines[-1] == "The gradient is not a finite number: training diverged. Try a smaller learning_rate."
    assert not (run / "model").exists()
