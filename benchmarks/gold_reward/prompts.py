"""Prompts in three lots that share none: for the reward model, for the policy, and to measure on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gold_reward import stages


@dataclass(frozen=True)
class Lots:
    """Files of prompts. `rewards` has all that the other two leave over."""

    held_out: Path
    policy: Path
    rewards: Path


def lots(path: Path, folder: Path, *, held_out: int, policy: int, longest: int, choosing: bool = False) -> Lots:
    """The English single-turn prompts of a file that have at most `longest` characters, put into lots by their hash.

    Of prompts that say the same the first is taken. The same file gives the same lots. While `choosing` settings, what
    is measured on otherwise is not seen at all: the next prompts are held out instead.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in stages.read(path):
        text = row["prompt"][-1]["content"].strip().lower()
        if row.get("lang", "en") == "en" and len(row["prompt"]) == 1 and len(text) <= longest:
            place = hashlib.sha256(text.encode()).hexdigest()
            found.setdefault(place, {"id": place[:16], "prompt": row["prompt"]})
    rows = [found[place] for place in sorted(found)][held_out if choosing else 0 :]
    if len(rows) <= held_out + policy:
        raise SystemExit(f"{path.name} has {len(rows)} fitting prompts: too few, {held_out + policy + 1} are needed.")
    parts = rows[:held_out], rows[held_out : held_out + policy], rows[held_out + policy :]
    names = ("held_out", "policy", "rewards")
    files = {name: folder / "prompts" / f"{name}.jsonl" for name in names}
    for file, part in zip(files.values(), parts, strict=True):
        stages.write_rows(file, part)
    return Lots(**files)
