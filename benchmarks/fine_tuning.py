"""`python -m benchmarks methods --data demonstrations.jsonl`: every fine-tuning method on the same rows and steps.

Each method is a run of `sft` in a process of its own, as its user starts it, and its result is loaded anew and measured
by `evaluate`. A method that has a row in RESULTS/rows.jsonl already is passed over: a run that was cut short goes on.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.children import finished
from models_core.config import METHODS, RATE_FACTORS

BASE = "smollm2-135m-instruct"
COMMAND = [sys.executable, "-m", "models_core"]
UNTRAINED = "none"
TRAINING_ROWS, HELD_OUT_ROWS = 96, 32
BATCH, EPOCHS, LONGEST, FULL_RATE = 8, 3, 384, 1e-4
"""Few steps: the learning rate is that of a short run, each method's its factor times full fine-tuning's."""
BEGIN, END = "<!-- measured by python -m benchmarks methods -->", "<!-- end of what was measured -->"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks methods", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="demonstrations; those in English")
    parser.add_argument("--model", default=BASE, metavar="M")
    parser.add_argument("--results", type=Path, default=Path("var/benchmarks/methods"), metavar="FOLDER")
    parser.add_argument("--into", type=Path, metavar="FILE", help="Markdown to put the table into, between its marks")
    parser.add_argument("--only", nargs="+", choices=[UNTRAINED, *METHODS], metavar="METHOD", help="these methods")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--rows", type=int, default=TRAINING_ROWS, help="demonstrations to learn from")
    parser.add_argument("--held-out", type=int, default=HELD_OUT_ROWS, metavar="N", help="demonstrations to measure on")
    given = parser.parse_args(arguments)
    given.results.mkdir(parents=True, exist_ok=True)
    files = split(given.data, given.results, rows=given.rows, held_out=given.held_out)
    rows = {row["method"]: row for row in stored(given.results)}
    for method in given.only or [UNTRAINED, *METHODS]:
        if method not in rows:
            rows[method] = measure(method, model=given.model, files=files, epochs=given.epochs, folder=given.results)
            with (given.results / "rows.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[method]) + "\n")
            print(json.dumps(rows[method]), file=sys.stderr, flush=True)
    written = table([rows[method] for method in (UNTRAINED, *METHODS) if method in rows])
    if given.into is not None:
        put(written, given.into)
    print(written)
    return 0


def stored(folder: Path) -> Iterator[dict[str, Any]]:
    path = folder / "rows.jsonl"
    if path.exists():
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


def split(data: Path, folder: Path, *, rows: int, held_out: int) -> tuple[Path, Path]:
    """Files of training and of held-out rows, drawn once from the English rows that fit."""
    files = folder / "training.jsonl", folder / "held_out.jsonl"
    if not all(path.exists() for path in files):
        found = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
        found = [row for row in found if row.get("lang", "en") == "en"]
        random.Random(0).shuffle(found)
        parts = found[:rows], found[rows : rows + held_out]
        for path, part in zip(files, parts, strict=True):
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part), encoding="utf-8")
    return files


def measure(method: str, *, model: str, files: tuple[Path, Path], epochs: int, folder: Path) -> dict[str, Any]:
    """One row of the table. Memory: the most that the training process held; the loss: that of the reloaded model."""
    training, held_out = files
    run = folder / method
    row: dict[str, Any] = {"method": method}
    if method != UNTRAINED:
        rate = FULL_RATE * RATE_FACTORS[method]
        values = {
            "method": method, "epochs": epochs, "batch_size": BATCH, "max_length": LONGEST, "learning_rate": rate,
            "save_every": 0,
        }  # fmt: skip
        settings = [f"--set={name}={value}" for name, value in values.items()]
        resume = ["--resume"] if run.exists() else []
        given = ["--model", model, "--data", str(training), "--out", str(run)]
        summary, memory = finished([*COMMAND, "sft", *given, *settings, *resume])
        adapter = run / "adapter" / "adapter.safetensors"
        row |= {
            "learning_rate": rate,
            "trained_parameters": summary["trained_parameters"],
            "steps": summary["steps"],
            "seconds": summary["seconds"],
            "peak_bytes": memory * 1024,
            "adapter_bytes": adapter.stat().st_size if adapter.exists() else None,
        }
    report = folder / f"{method}.json"
    tuned = str(run) if method != UNTRAINED else model
    given = ["--model", tuned, "--data", str(held_out), "--out", str(report)]
    summary, _ = finished([*COMMAND, "evaluate", *given, f"--set=max_length={LONGEST}", "--set=answers=0"])
    return row | {"loss": summary["loss"], "precision": summary.get("precision")}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| method | held-out loss | seconds | peak memory | trained parameters | adapter file | learning rate |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        if row["method"] == UNTRAINED:
            lines.append(f"| (the base model) | {row['loss']:.4f} | | | | | |")
            continue
        size = f"{row['adapter_bytes'] / 1e6:.2f} MB" if row["adapter_bytes"] else "in the weights"
        lines.append(
            f"| {row['method']} | {row['loss']:.4f} | {row['seconds']:.0f} | {row['peak_bytes'] / 2**20:,.0f} MiB "
            f"| {row['trained_parameters']:,} | {size} | {row['learning_rate']:g} |"
        )
    return "\n".join(lines)


def put(written: str, path: Path) -> None:
    """Replace what stands between the marks."""
    text = path.read_text(encoding="utf-8")
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise SystemExit(f"{path} has no place for the table: it lacks the marks {BEGIN} and {END}.")
    path.write_text(f"{before}{BEGIN}\n\n{written}\n\n{END}{after}", encoding="utf-8")
