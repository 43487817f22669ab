"""Commands of models_core that a benchmark runs one after the other. What is done is not done again.

Beside what a command left lies OUT.done: the command, what its input files held, and what its last line said. A command
that was cut short goes on from its checkpoint; one that was done otherwise before ends the benchmark.
"""

import hashlib
import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.children import finished
from models_core.contract.rows import json_lines

Row = Mapping[str, Any]
Settings = Mapping[str, Mapping[str, Any]]
"""Of every stage by its name: settings by theirs."""

RESUMED = ("reward", "ppo", "sample", "score", "judge")


def run(command: str, *, out: Path, settings: Mapping[str, Any], **given: Path | str | int) -> dict[str, Any]:
    """What the last line of `python -m models_core COMMAND` said, now or when it was run; `given` are its options."""
    line = [command, *(text for name, value in given.items() for text in (f"--{name}", str(value)))]
    line += ["--out", str(out), *(f"--set={name}={_written(value)}" for name, value in settings.items())]
    files = {name: _sha256(value) for name, value in given.items() if isinstance(value, Path) and value.is_file()}
    asked = {"command": line, "files": files}
    note = out.with_name(f"{out.name}.done")
    if note.exists():
        kept: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        if {name: kept[name] for name in asked} != asked:
            raise SystemExit(f"{out} was made with other settings or from other rows: name another --folder.")
        return dict(kept["summary"])
    begun = out.exists() or out.with_name(f"{out.name}.partial").exists()
    again = ["--resume"] if begun and command in RESUMED else []
    out.parent.mkdir(parents=True, exist_ok=True)
    print(f"{command} > {out} ...", file=sys.stderr, flush=True)
    summary, memory = finished([sys.executable, "-m", "models_core", *line, *again])
    summary |= {"peak_gb": memory / 1e6}
    write(note, json.dumps(asked | {"summary": summary}))
    return summary


def read(path: Path) -> list[Any]:
    return json_lines.whole(path)


def write_rows(path: Path, rows: Iterable[Row]) -> Path:
    return write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write(path: Path, text: str) -> Path:
    """Whole or not at all, also where two benchmarks grow one folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.writing")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return path


def settings_option(parser: ArgumentParser, *, stages: Sequence[str]) -> None:
    """Adds --set STAGE.KEY=VALUE."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="STAGE.KEY=VALUE", help=f"a setting of {', '.join(stages)}"
    )


def settings(options: Namespace, parser: ArgumentParser, *, usual: Settings) -> dict[str, dict[str, Any]]:
    """The usual settings of every stage, and what --set says otherwise."""
    chosen = {stage: dict(values) for stage, values in usual.items()}
    for text in options.set:
        name, equals, value = text.partition("=")
        stage, dot, key = name.partition(".")
        if not (equals and dot) or stage not in chosen:
            parser.error(f"--set takes STAGE.KEY=VALUE with a stage of {', '.join(chosen)}; not {text}")
        chosen[stage][key] = value
    return chosen


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
