"""The table of all results of a file."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.results import Result
from benchmarks.reward_accuracy.judgments import interval, name_of, split, strict_pairs
from models_core.contract.rows.records import Ranking


class Group(NamedTuple):
    """What results have in common whose mean is a line of the table; `rows` are those asked for, 0 all."""

    data: str
    rows: int
    digest: str
    model: str
    base: str
    recipe: str


def drawn(results: Sequence[Result], *, files: Sequence[Path]) -> str:
    """A Markdown table of all results of these files' rows as they are now.

    Others are compared with the newest recipe of Hone on the same rows; a recipe is said by what it has otherwise.
    """
    lines = [
        "| data | rows | model | recipe | seeds | accuracy | 95% interval | minus hone |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    groups = grouped(results)
    usual = json.loads(next((key.recipe for key in reversed(groups) if key.model == "hone"), "{}"))
    for file, choosing in itertools.product(files, (False, True)):
        name = name_of(file, choosing=choosing)
        for rows in sorted({key.rows for key in groups if key.data == name}):
            current = split(file, rows=rows, choosing=choosing)
            own = {key: group for key, group in groups.items() if key[:3] == (name, rows, current.digest)}
            lines += rows_of(own, held_out=current.held_out, usual=usual)
    return "\n".join(lines)


def grouped(results: Sequence[Result]) -> dict[Group, list[Result]]:
    """Results that differ in their seed alone, in the order in which each group began."""
    groups: dict[Group, list[Result]] = {}
    for result in results:
        recipe = json.dumps(result.get("recipe", {}), sort_keys=True)
        group = Group(
            data=result["data"],
            rows=result["rows"],
            digest=result["digest"],
            model=result["model"],
            base=result.get("base", ""),
            recipe=recipe,
        )
        groups.setdefault(group, []).append(result)
    return groups


def rows_of(
    groups: Mapping[Group, Sequence[Result]], *, held_out: Sequence[Ranking], usual: Mapping[str, Any]
) -> Iterator[str]:
    """The table's lines for models that learned from the same rows."""
    pairs = np.array([len(strict_pairs(ranking)) for ranking in held_out], dtype=float)
    right = {key: np.mean([result["right"] for result in group], axis=0) for key, group in groups.items()}
    ours = next((key for key in reversed(list(groups)) if key.model == "hone"), None)
    for key, group in groups.items():
        low, high = (100 * end for end in interval(held_out, np.stack([right[key], pairs], axis=1)))
        against = ""
        if ours is not None and ours != key:
            more = right[key] - right[ours]
            least, most = (100 * end for end in interval(held_out, np.stack([more, pairs], axis=1)))
            against = f"{100 * more.sum() / pairs.sum():+.1f} ({least:+.1f} to {most:+.1f})"
        yield (
            f"| {key.data} | {group[0]['training_rows']} | {key.model} | {changed(json.loads(key.recipe), usual=usual)}"
            f" | {len(group)} | {100 * right[key].sum() / pairs.sum():.1f}% | {low:.1f} to {high:.1f} | {against} |"
        )


def changed(recipe: Mapping[str, Any], *, usual: Mapping[str, Any]) -> str:
    """The settings that differ from the usual ones."""
    return ", ".join(f"{name} {value}" for name, value in sorted(recipe.items()) if usual.get(name) != value)
