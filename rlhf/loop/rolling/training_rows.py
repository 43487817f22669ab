"""What a reward model is trained on from: judgments that are new to it, and as many older ones."""

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from annotate.data import snapshots
from annotate.models import Prompt, Snapshot
from models_core.contract.rows import json_lines
from rlhf.loop import prompts, versions
from rlhf.models import ModelVersion, TrainingRun

Split = Prompt.Split
Row = dict[str, object]
Key = tuple[object, object]
MOST_HELD_OUT = 300
"""Held-out judgments that an update is measured on, the newest."""


def files(run: TrainingRun, snapshot: Snapshot, *, source: ModelVersion, folder: Path) -> dict[str, Path]:
    """{flag: file}, written into the folder unless they exist. Without held-out judgments there is no --eval."""
    data, held_out = folder / "rankings.jsonl", folder / "held_out.jsonl"
    if not data.exists():
        before = _snapshots(source)
        prompts.write(recent(_held_out([snapshot, *before]), most=MOST_HELD_OUT), held_out)
        rows = list(_rows(snapshot, Split.TRAIN))
        earlier = {_key(row): row for older in reversed(before) for row in _rows(older, Split.TRAIN)}
        prompts.write(mixed(rows, earlier, seed=run.seed), data)
    return {"--data": data} | ({"--eval": held_out} if held_out.exists() and held_out.stat().st_size else {})


def mixed(rows: Sequence[Row], earlier: dict[Key, Row], *, seed: int) -> list[Row]:
    """The rows that are not among the earlier ones, and as many of these, at random; all rows where none is new."""
    new = [row for row in rows if _key(row) not in earlier]
    if not new:
        return list(rows)
    others = sorted(earlier, key=str)
    kept = random.Random(seed).sample(others, min(len(new), len(others)))
    return [*(earlier[key] for key in kept), *new]


def recent(rows: Iterable[Row], *, most: int) -> list[Row]:
    """The rows with the highest numbers, each once, in their order."""
    found = {_key(row): row for row in rows}
    return sorted(found.values(), key=_number)[-most:]


def _held_out(sources: Iterable[Snapshot]) -> Iterator[Row]:
    for snapshot in sources:
        for split in (Split.VALIDATION, Split.TEST):
            yield from _rows(snapshot, split)


def _snapshots(source: ModelVersion) -> list[Snapshot]:
    """Of the reward models that led to this one, the newest first."""
    runs = [getattr(version, "run", None) for version in versions.reward_chain(source)]
    return [run.snapshot for run in runs if run is not None and run.snapshot is not None]


def _rows(snapshot: Snapshot, split: str) -> Iterator[Row]:
    path = snapshots.data_file(snapshot, split)
    if path.is_file():
        yield from json_lines.whole(path)


def _key(row: Row) -> Key:
    """A judgment's revision is a row of its own; a consensus is one for each number of judgments."""
    return row["id"], row.get("revision") or row.get("judgments")


def _number(row: Row) -> tuple[int, str]:
    name = str(row["id"])
    digits = name.rpartition("-")[2]
    return (int(digits) if digits.isdecimal() else 0, name)
