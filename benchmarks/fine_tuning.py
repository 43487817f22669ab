"""`python -m benchmarks methods --data demonstrations.jsonl`: every fine-tuning method on the same rows and steps.

Each method is a run of `sft` in a process of its own, as its user starts it, once for each learning rate tried; its
result is loaded anew and measured by `evaluate`. What it costs is read apart, on a few steps: losses may then be
measured on a busy machine. A run that has its line in RESULTS already is passed over: a sitting cut short goes on.
"""

import argparse
import json
import random
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.children import finished
from models_core.contract.rows import json_lines
from models_core.contract.settings import LEARNING_RATE_FACTORS, METHODS

BASE = "smollm2-135m-instruct"
COMMAND = [sys.executable, "-m", "models_core"]
UNTRAINED = "none"
PARTS = ("losses", "costs")
TRAINING_ROWS, HELD_OUT_ROWS, COST_ROWS = 400, 80, 32
BATCH, EPOCHS, LONGEST, FULL_RATE = 8, 1, 128, 1e-4
"""Few steps: the middle learning rate is that of a short run, each method's its factor times full fine-tuning's."""
FACTORS = (1.0, 0.3, 3.0)
BEGIN, END = "<!-- measured by python -m benchmarks methods -->", "<!-- end of what was measured -->"
Row = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    given = _parser().parse_args(arguments)
    given.results.mkdir(parents=True, exist_ok=True)
    files = split(given.data, given.results, model=given.model, rows=given.rows, held_out=given.held_out)
    methods = given.only or [UNTRAINED, *METHODS]
    if "losses" in given.parts:
        for factor in given.factors:
            for method in methods:
                _measure_loss(method, factor=factor, files=files, given=given)
    if "costs" in given.parts:
        for method in methods:
            if method != UNTRAINED:
                _measure_cost(method, data=files["few"], given=given)
    written = table(stored(given.results / "losses.jsonl"), stored(given.results / "costs.jsonl"))
    if given.into is not None:
        put(written, given.into)
    print(written)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks methods", description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help="losses or costs; both by default")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="demonstrations; those in English")
    parser.add_argument("--model", default=BASE, metavar="M")
    parser.add_argument("--results", type=Path, default=Path("var/benchmarks/methods"), metavar="FOLDER")
    parser.add_argument("--into", type=Path, metavar="FILE", help="Markdown to put the table into, between its marks")
    parser.add_argument("--only", nargs="+", choices=[UNTRAINED, *METHODS], metavar="METHOD", help="these methods")
    parser.add_argument("--factors", nargs="+", type=float, default=FACTORS, help=f"of a method's rate at {FULL_RATE}")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--rows", type=int, default=TRAINING_ROWS, help="demonstrations to learn from")
    parser.add_argument("--held-out", type=int, default=HELD_OUT_ROWS, metavar="N", help="demonstrations to measure on")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of every training")
    return parser


def stored(path: Path) -> list[Row]:
    return json_lines.whole(path) if path.exists() else []


def _store(row: Row, path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), file=sys.stderr, flush=True)


def split(data: Path, folder: Path, *, model: str, rows: int, held_out: int) -> dict[str, Path]:
    """Files of training and of held-out rows, drawn once from the English rows that fit; no prompt is on both sides."""
    files = {name: folder / f"{name}.jsonl" for name in ("training", "held_out", "few")}
    if not all(path.exists() for path in files.values()):
        found = list(_fitting(data, model=model))
        random.Random(0).shuffle(found)
        parts = found[:rows], found[rows : rows + held_out], found[:COST_ROWS]
        for path, part in zip(files.values(), parts, strict=True):
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part), encoding="utf-8")
    return files


def _fitting(data: Path, *, model: str) -> Iterator[Row]:
    """The rows in English that are no longer than LONGEST tokens, one for each prompt."""
    from models_core.modeling import loading
    from models_core.modeling.forward import encode_group

    tokenizer = loading.load_tokenizer(model)
    seen = set()
    for row in json_lines.whole(data):
        key = json.dumps(row["prompt"])
        if row.get("lang", "en") == "en" and key not in seen:
            seen.add(key)
            group, _, _ = encode_group(tokenizer, row["prompt"], [row["response"]], max_length=10 * LONGEST)
            if group.tokens <= LONGEST:
                yield row


def _measure_loss(method: str, *, factor: float, files: Mapping[str, Path], given: argparse.Namespace) -> None:
    """Store the held-out loss of the reloaded result of one run, unless it is known."""
    path = given.results / "losses.jsonl"
    rate = None if method == UNTRAINED else FULL_RATE * LEARNING_RATE_FACTORS[method] * factor
    if any((row["method"], row["learning_rate"]) == (method, rate) for row in stored(path)):
        return
    row: Row = {"method": method, "learning_rate": rate}
    run = given.results / f"{method}-{factor:g}"
    tuned = given.model
    if rate is not None:
        summary, _ = finished(_training(method, rate=rate, data=files["training"], out=run, given=given))
        adapter = run / "adapter" / "adapter.safetensors"
        tuned = str(run)
        row |= {name: summary[name] for name in ("trained_parameters", "steps", "loss")}
        row |= {"training_loss": row.pop("loss"), "adapter_bytes": adapter.stat().st_size if adapter.exists() else None}
    measured = ["--model", tuned, "--data", str(files["held_out"]), "--out", str(given.results / f"{run.name}.json")]
    settings = [value for value in given.set if value.startswith("precision=")]
    settings += [f"max_length={10 * LONGEST}", "num_generated=0"]
    summary, _ = finished([*COMMAND, "evaluate", *measured, *(f"--set={value}" for value in settings)])
    _store(row | {"held_out_loss": summary["loss"]}, path)
    shutil.rmtree(run, ignore_errors=True)  # a full model each


def _measure_cost(method: str, *, data: Path, given: argparse.Namespace) -> None:
    """Store the seconds of a few steps and the most memory that their process held, unless they are known."""
    import torch

    path = given.results / "costs.jsonl"
    if any(row["method"] == method for row in stored(path)):
        return
    run = given.results / f"{method}-cost"
    shutil.rmtree(run, ignore_errors=True)
    rate = FULL_RATE * LEARNING_RATE_FACTORS[method]
    summary, memory = finished(_training(method, rate=rate, data=data, out=run, given=given))
    row = {"method": method, "threads": torch.get_num_threads(), "peak_bytes": memory * 1024}
    _store(row | {name: summary[name] for name in ("seconds", "tokens_per_s", "steps", "precision")}, path)
    shutil.rmtree(run)


def _training(method: str, *, rate: float, data: Path, out: Path, given: argparse.Namespace) -> list[str]:
    """The command that trains one method; one that was begun goes on."""
    values = {
        "method": method, "epochs": given.epochs, "batch_size": BATCH, "max_length": 10 * LONGEST, "held_out": 0,
        "learning_rate": rate,
    }  # fmt: skip
    settings = [f"--set={value}" for value in [*(f"{name}={value}" for name, value in values.items()), *given.set]]
    resume = ["--resume"] if out.exists() else []
    return [*COMMAND, "sft", "--model", given.model, "--data", str(data), "--out", str(out), *settings, *resume]


def table(losses: Sequence[Row], costs: Sequence[Row]) -> str:
    """Markdown: each method with its best loss, the losses of all its rates, and what it costs."""
    cost_of = {row["method"]: row for row in costs}
    lines = [
        "| method | held-out loss | at the rate | other rates | s/1,000 tokens | peak memory | learn | adapter file |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for method in (UNTRAINED, *METHODS):
        runs = sorted((row for row in losses if row["method"] == method), key=lambda row: row["held_out_loss"])
        if not runs:
            continue
        best, *others = runs
        if method == UNTRAINED:
            lines.append(f"| (the base model) | {best['held_out_loss']:.4f} | | | | | | |")
            continue
        other = ", ".join(f"{row['held_out_loss']:.4f} at {row['learning_rate']:.2g}" for row in others)
        size = f"{best['adapter_bytes'] / 1e6:.2f} MB" if best["adapter_bytes"] else "in the weights"
        cost = cost_of.get(method)
        spent = f"{1000 / cost['tokens_per_s']:.1f} | {cost['peak_bytes'] / 2**20:,.0f} MiB" if cost else " | "
        lines.append(
            f"| {method} | {best['held_out_loss']:.4f} | {best['learning_rate']:.2g} | {other} "
            f"| {spent} | {best['trained_parameters']:,} | {size} |"
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
