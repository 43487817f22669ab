"""Models with one thing wrong each, and what the command line says when it is given them."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tests.models_core.tiny import make_tiny_model

ROOT = Path(__file__).parents[2]
SEVERAL_COMMANDS = """
import contextlib, io, json, sys
from models_core.__main__ import main
for argv in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(argv)
    print(json.dumps([status, out.getvalue(), err.getvalue()]), flush=True)
"""
"""Loading torch takes longer than refusing a file, so one process is given all the commands in turn."""


def tokenizer_without(folder: Path, *, template: bool = False, pad: bool = False) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if template:
        tokenizer.chat_template = None
        (folder / "chat_template.jinja").unlink()
    if pad:
        tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    return folder


def models(folder: Path) -> dict[str, Path]:
    """A sound model and one for each thing that can be wrong with it."""
    made = {name: make_tiny_model(folder / name) for name in ("sound", "untemplated", "unpadded", "pickled")}
    tokenizer_without(made["untemplated"], template=True)
    tokenizer_without(made["unpadded"], pad=True)
    torch.save(load_file(made["pickled"] / "model.safetensors"), made["pickled"] / "pytorch_model.bin")
    (made["pickled"] / "model.safetensors").unlink()
    for name, factor in (("nan", torch.nan), ("loud", 1e25), ("overflowing", 3e38)):
        made[name] = make_tiny_model(folder / name)
        weights = load_file(made[name] / "model.safetensors")
        weights["model.norm.weight"] *= factor
        save_file(weights, made[name] / "model.safetensors", metadata={"format": "pt"})
    made["incomplete"] = make_tiny_model(folder / "incomplete")
    weights = load_file(made["incomplete"] / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, made["incomplete"] / "model.safetensors", metadata={"format": "pt"})
    made["foreign"] = make_tiny_model(folder / "foreign")
    config = json.loads((made["foreign"] / "config.json").read_text())
    config |= {"model_type": "unheard_of", "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}}
    (made["foreign"] / "config.json").write_text(json.dumps(config))
    (made["foreign"] / "code.py").write_text("raise SystemExit('this must never run')")
    made["torn"] = make_tiny_model(folder / "torn")
    (made["torn"] / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    made["untokenised"] = make_tiny_model(folder / "untokenised")
    for path in made["untokenised"].glob("token*"):
        path.unlink()
    made["no model"] = folder / "no model"
    made["no model"].mkdir()
    return made


def said_to(commands: Sequence[Sequence[str]]) -> list[tuple[int, str, list[str]]]:
    """Of each command line: the status, standard output, and the lines of standard error."""
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL_COMMANDS],
        cwd=ROOT,
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [(status, out, err.strip().split("\n")) for status, out, err in found]
