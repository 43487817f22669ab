"""Supervised fine-tuning beside TRL's SFTTrainer: `python -m benchmarks sft --peer ENV/bin/python --data FILE`.

Both train the same model on the same rows for the same epochs at the same learning rate, in child processes, by turns:
a machine is noisy, and only figures of one sitting compare. The peer packs rows to 512 tokens and takes the loss on the
completion alone, in bf16, four packed rows a step; Hone takes as many steps. Both results are then measured by one
program on rows that neither has seen. Tokens are those of prompts and responses, without template.

ENV is an environment of its own: `python -m venv ENV && ENV/bin/pip install torch==2.13.0 transformers trl datasets`.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.children import finished
from models_core.contract.rows import json_lines

PEER = Path(__file__).with_name("trl_sft.py")
STEPS_ROWS = 12
"""Rows of a step of Hone's: about the tokens of the peer's four packed rows."""


@dataclass(frozen=True)
class Reading:
    """One training run: tokens a second of training alone, and the largest memory of its process in GB."""

    tokens_per_s: float
    gigabytes: float
    model: Path


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks sft", description=__doc__)
    parser.add_argument("--peer", type=Path, required=True, metavar="PYTHON", help="Python that has TRL")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="demonstrations (JSON lines)")
    parser.add_argument("--model", default="smollm2-135m-instruct", metavar="M")
    parser.add_argument("--lang", default="en", help="rows of this language only; empty for all")
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--held-out", type=int, default=32, metavar="N", help="rows to measure on")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    parser.add_argument("--rounds", type=int, default=1, help="how often each trains")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        print(json.dumps(compare(options, Path(folder))))
    return 0


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train both, as often as asked; the figures of the table, which is printed on the way."""
    rows = read(options.data, lang=options.lang)
    train, held_out = rows[: options.rows], rows[options.rows : options.rows + options.held_out]
    data = write(folder / "train.jsonl", train)
    base = located(options.model)
    tokens = content_tokens(train, model=base) * options.epochs
    readings: dict[str, list[Reading]] = {"peer": [], "hone": []}
    for number in range(options.rounds):
        for who, command in (("peer", peer_command), ("hone", hone_command)):
            out = folder / f"{who}-{number}"
            summary, kilobytes = finished(command(options, data=data, model=base, out=out))
            readings[who].append(Reading(tokens / summary["seconds"], kilobytes / 1e6, out / "model"))
    before = loss_of(base, rows=held_out)
    figures: dict[str, Any] = {"rows": len(train), "tokens": tokens, "held_out_loss_before": round(before, 4)}
    print(f"{len(train)} rows, {tokens} tokens; held-out loss before: {before:.4f}")
    for who, taken in readings.items():
        best = max(reading.tokens_per_s for reading in taken)
        after = loss_of(taken[-1].model, rows=held_out)
        memory = max(reading.gigabytes for reading in taken)
        each = " ".join(f"{reading.tokens_per_s:.0f}" for reading in taken)
        print(f"{who:<6}{best:>8.0f} tokens/s ({each})   held-out loss {after:.4f}   memory {memory:.2f} GB")
        figures[who] = {
            "tokens_per_s": round(best, 1),
            "readings": [round(reading.tokens_per_s, 1) for reading in taken],
            "held_out_loss": round(after, 4),
            "peak_gb": round(memory, 2),
        }
    figures["ratio"] = round(figures["hone"]["tokens_per_s"] / figures["peer"]["tokens_per_s"], 2)
    print(f"Hone is {figures['ratio']:.2f} times as fast.")
    return figures


def peer_command(options: argparse.Namespace, *, data: Path, model: str, out: Path) -> list[str]:
    rate, epochs = str(options.learning_rate), str(options.epochs)
    return [str(options.peer), str(PEER), model, str(data), str(out / "model"), "--rate", rate, "--epochs", epochs]


def hone_command(options: argparse.Namespace, *, data: Path, model: str, out: Path) -> list[str]:
    settings = {
        "epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "batch_size": STEPS_ROWS,
        "save_every": 0,
        "held_out": 0,
    }
    command = [sys.executable, "-m", "models_core", "sft", "--model", model, "--data", str(data), "--out", str(out)]
    return command + [f"--set={name}={value}" for name, value in settings.items()]


def loss_of(model: str | Path, *, rows: Sequence[Mapping[str, Any]]) -> float:
    """Mean loss per response token, EOS included, by plain transformers in fp32, a row at a time."""
    import torch
    from transformers import AutoModelForCausalLM

    from models_core.modeling import loading

    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    tokenizer = loading.load_tokenizer(model)
    loss, tokens = 0.0, 0
    for row in rows:
        text = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
        prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
        response = [*tokenizer(row["response"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        ids = torch.tensor([[*prompt, *response]])
        with torch.no_grad():
            logits = network(ids).logits[0, len(prompt) - 1 : -1]
        loss += torch.nn.functional.cross_entropy(logits, ids[0, len(prompt) :], reduction="sum").item()
        tokens += len(response)
    return loss / tokens


def located(model: str) -> str:
    from models_core.modeling import loading

    return loading.locate(model)


def content_tokens(rows: Sequence[Mapping[str, Any]], *, model: str) -> int:
    from models_core.modeling import loading

    tokenizer = loading.load_tokenizer(model)
    texts = [text for row in rows for text in [*(turn["content"] for turn in row["prompt"]), row["response"]]]
    return sum(map(len, tokenizer(texts, add_special_tokens=False)["input_ids"]))


def read(path: Path, *, lang: str) -> list[dict[str, Any]]:
    rows = json_lines.whole(path)
    return [row for row in rows if not lang or row.get("lang", lang) == lang]


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
