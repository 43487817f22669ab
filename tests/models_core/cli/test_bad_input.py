"""Bad input of pretrain, sample and evaluate on the command line: status 2, one line that says what, nothing written.

That of sft is in test_sft_bad_input.py.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.models_core import broken, recipe_runs

Said = tuple[int, str, list[str], Path]
PLAIN = ["--set", "chat_template=plain"]
REFUSE = ["--set", "long_prompts=refuse"]
LONG = [
    {"role": "user", "content": "x" * 300},
    {"role": "assistant", "content": "y" * 300},
    {"role": "user", "content": "end"},
]
FILES: dict[str, str | bytes | list[dict[str, Any]]] = {
    "prompts.jsonl": [{"id": "1", "prompt": recipe_runs.chat("say 1")}],
    "demonstrations.jsonl": [{"id": "1", "prompt": recipe_runs.chat("say 1"), "response": "fine"}],
    "text.txt": "some text of a corpus. " * 40 + "\n\n" + "other text here, again. " * 40,
    "long.jsonl": [{"id": "1", "prompt": LONG, "response": "fine"}],
    "empty.jsonl": [{"id": "1", "prompt": recipe_runs.chat("say 1"), "response": " "}],
    "blank.jsonl": [{"id": "1", "prompt": recipe_runs.chat("  ")}],
    "twice.jsonl": [{"id": "1", "prompt": recipe_runs.chat("a") * 2, "response": "b"}],
    "answered.jsonl": [{"id": "1", "prompt": LONG[:2], "response": "b"}],
    "strange.jsonl": [{"id": "1", "prompt": [{"role": "tool", "content": "a"}], "response": "b"}],
    "wide.jsonl": [{"id": "1", "prompt": recipe_runs.chat("a"), "response": "b" * 600}],
    "no text.txt": " \n\n",
    "bytes.txt": b"fine\n\xff\xfe",
}
WAYS = {
    "pretrain": ("pretrain", "text.txt"),
    "sample": ("sample", "prompts.jsonl"),
    "evaluate": ("evaluate", "demonstrations.jsonl"),
    "evaluate text": ("evaluate", "text.txt"),
}
MODELS = {
    "pickled": "has no weights in safetensors format; other formats are not read.",
    "foreign": "it needs code of its own (trust_remote_code), which is never run.",
    "torn": "are damaged: ",
    "nan": "are damaged: model.norm.weight holds no finite numbers.",
    "incomplete": "are incomplete: model.norm.weight is missing (1 in all).",
    "untokenised": "untokenised has no tokenizer: none of the files tokenizer.json, ",
    "no model": "no model is not a model folder: it has no config.json.",
    "absent": "There is no model folder ",
}
CASES: dict[str, tuple[str, str, str, list[str], str]] = {
    f"{way}: {model}": (command, model, data, [], sentence)
    for way, (command, data) in WAYS.items()
    for model, sentence in MODELS.items()
} | {
    "NaN loss of demonstrations": (
        "evaluate",
        "overflowing",
        "demonstrations.jsonl",
        [],
        "is not a finite number: its",
    ),
    "NaN loss of text": ("evaluate", "overflowing", "text.txt", [], "is not a finite number: its weights are damaged."),
    "NaN loss of a base model": ("pretrain", "overflowing", "text.txt", [], "on the first row is not a finite number"),
    "no template to sample by": ("sample", "untemplated", "prompts.jsonl", [], "chat_template=plain gives it a simple"),
    "no template to measure by": ("evaluate", "untemplated", "demonstrations.jsonl", [], "has no chat template; the"),
    "sample: long prompt": ("sample", "sound", "long.jsonl", REFUSE, "Prompt 1 has 643 tokens, and 508 fit beside a"),
    "evaluate: long prompt": ("evaluate", "sound", "long.jsonl", REFUSE, "The row '1' has a prompt longer than"),
    "evaluate: empty response": ("evaluate", "sound", "empty.jsonl", [], 'empty.jsonl, line 1: "response" is empty.'),
    "evaluate: long response": ("evaluate", "sound", "wide.jsonl", [], "every response is longer than max_length (512"),
    "sample: empty prompt": ("sample", "sound", "blank.jsonl", [], 'line 1: the last turn of "prompt" is empty.'),
    "pretrain: no text": ("pretrain", "sound", "no text.txt", [], "no text.txt: there is no text in it."),
    "pretrain: no UTF-8": ("pretrain", "sound", "bytes.txt", [], "bytes.txt, line 2: not UTF-8 text (byte 6 of the"),
    "evaluate: no UTF-8": ("evaluate", "sound", "bytes.txt", [], "bytes.txt, line 2: not UTF-8 text (byte 6 of the"),
}
CASES |= {
    f"{command}: {data}": (command, "sound", data, [], sentence)
    for command in ("sample", "evaluate")
    for data, sentence in (
        ("twice.jsonl", "turn 2 of \"prompt\" has the role 'user' where 'assistant' belongs."),
        ("answered.jsonl", 'the last turn of "prompt" must be the user\'s.'),
        ("strange.jsonl", "turn 1 of \"prompt\" has the role 'tool' where 'user' belongs."),
    )
}
SOUND: dict[str, tuple[str, str, str, list[str], str]] = {
    "sample, plain template": ("sample", "untemplated", "prompts.jsonl", PLAIN, '"truncated": 0'),
    "evaluate, plain template": ("evaluate", "untemplated", "demonstrations.jsonl", PLAIN, '"demonstrations": 1'),
    "sample without padding": ("sample", "unpadded", "prompts.jsonl", [], '"truncated": 0'),
    "evaluate without padding": ("evaluate", "unpadded", "demonstrations.jsonl", [], '"demonstrations": 1'),
    "sample, cut": ("sample", "sound", "long.jsonl", [], '"truncated": 1'),
    "evaluate, cut": ("evaluate", "sound", "long.jsonl", [], '"truncated_prompts": 1'),
}
"""What is no bad input: a choice was made, or nothing is missing that the command needs."""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Said]:
    """What the command line said to each case, and where it would have written."""
    folder = tmp_path_factory.mktemp("bad")
    made = broken.models(folder)
    for name, content in FILES.items():
        if isinstance(content, list):
            recipe_runs.write(folder / name, content)
        else:
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    commands, outs = [], []
    for number, (command, model, data, extra, _) in enumerate([*CASES.values(), *SOUND.values()]):
        outs.append(folder / "out" / f"{number:03}")
        settings = ["--set", "precision=fp32"] + (["--set", "max_new_tokens=4"] if command != "pretrain" else [])
        files = ["--model", str(made.get(model, folder / model)), "--data", str(folder / data), "--out", str(outs[-1])]
        commands.append([command, *files, "--device", "cpu", *settings, *extra])
    outcomes = broken.said_to(commands)
    return {name: (*outcome, out) for name, outcome, out in zip([*CASES, *SOUND], outcomes, outs, strict=True)}


@pytest.mark.parametrize("name", list(CASES))
def test_it_is_one_line_status_2_and_nothing_written(name: str, said: dict[str, Said]) -> None:
    status, out, lines, path = said[name]
    assert CASES[name][4] in lines[-1]
    assert (status, out, len(lines)) == (2, "", 1), lines
    assert list(path.parent.glob(f"{path.name}*")) == []


@pytest.mark.parametrize("name", list(SOUND))
def test_what_a_command_can_do_without_is_no_hindrance(name: str, said: dict[str, Said]) -> None:
    status, out, lines, path = said[name]
    assert status == 0, lines
    assert SOUND[name][4] in json.dumps(json.loads(out.splitlines()[-1]))
    assert path.exists()
