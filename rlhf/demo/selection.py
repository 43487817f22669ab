"""Which prompts of a file take part in the demo, and which are held out of everything."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotate.errors import Refused
from annotate.formats import detect, rows_of
from annotate.formats.files import BadFile
from annotate.formats.rows import BadRow, ImportedRow, LeftOut
from annotate.models import Prompt
from annotate.models.data.prompt import content_hash

LONGEST_PROMPT = 800
"""Characters. A long prompt costs the small model more time than all the rest, and it can't follow it anyway."""
FEWEST = 24


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Prompts as contract rows. `held_out` ones never enter the project; left_out counts the rest by reason."""

    taking_part: list[dict[str, Any]]
    held_out: list[dict[str, Any]]
    left_out: dict[str, int]

    @property
    def summary(self) -> str:
        total = len(self.taking_part) + len(self.held_out) + sum(self.left_out.values())
        left = "".join(f"; {number} left out: {reason}" for reason, number in self.left_out.items())
        return (
            f"{total} prompts read: {len(self.taking_part)} to judge and learn from, "
            f"{len(self.held_out)} held out of everything to measure on{left}."
        )


def choose(path: Path, *, most: int, held_out: int) -> Selection:
    """Choose at most `most` English prompts, `held_out` of them to measure on; at most half.

    A hash of its content gives each prompt its place, so the same file is always cut the same way, whatever its order,
    and the first prompts of the file are not preferred. Raises Refused for a file that can't be used.
    """
    if most < FEWEST:
        raise Refused(f"The demo needs {FEWEST} prompts or more, not {most}.", status=400)
    left_out: Counter[str] = Counter()
    found: dict[str, dict[str, Any]] = {}
    for row in _sound_rows(path, left_out):
        if reason := _unfit(row):
            left_out[reason] += 1
        elif (digest := content_hash(row.messages)) in found:
            left_out["the same prompt again"] += 1
        else:
            found[digest] = _contract_row(row, digest)
    chosen = [found[digest] for digest in sorted(found)]
    if len(chosen) > most:
        left_out[f"beyond {most}"] = len(chosen) - most
        del chosen[most:]
    if len(chosen) < FEWEST:
        raise Refused(
            f"{path.name} has {len(chosen)} fit English prompts; the demo needs {FEWEST} or more.", status=400
        )
    kept_back = min(held_out, len(chosen) // 2)
    return Selection(taking_part=chosen[kept_back:], held_out=chosen[:kept_back], left_out=dict(left_out))


def _sound_rows(path: Path, left_out: Counter[str]) -> Iterator[ImportedRow]:
    try:
        for place, found in rows_of(path, detect(path)):
            if isinstance(found, BadRow):
                raise Refused(f"{path.name}, {place}: {found}", status=400)
            for row in [found] if isinstance(found, LeftOut) else found:
                if isinstance(row, LeftOut):
                    left_out[str(row)] += 1
                else:
                    yield row
    except BadFile as error:
        raise Refused(str(error), status=400) from None


def _unfit(row: ImportedRow) -> str:
    """Why a prompt doesn't take part, or nothing. A row without a language counts as English."""
    if row.language and row.language.lower().partition("-")[0] != "en":
        return "not English"
    if sum(len(turn["content"]) for turn in row.messages) > LONGEST_PROMPT:
        return f"longer than {LONGEST_PROMPT} characters"
    return ""


def _contract_row(row: ImportedRow, digest: str) -> dict[str, Any]:
    return {
        "id": row.id or digest[:12],
        "prompt": row.messages,
        "kind": row.kind or Prompt.Kind.PLAIN.value,
        "use_case": row.use_case or Prompt.UseCase.OTHER.value,
        "lang": "en",
        "source": row.source or "",
    }
