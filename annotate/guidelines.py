"""What changed in a project's guidelines since somebody last worked there, word by word."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher
from typing import Literal

from annotate.models import Assignment, Guidelines, Project, User

# Unchanged lines that are shown before and after a change, so that one sees where it stands.
CONTEXT_LINES = 1
# Beyond so many lines an exact comparison takes long, and nobody reads it word by word.
MOST_LINES = 4_000
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")

Deed = Literal["same", "added", "removed"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text within a changed line."""

    deed: Deed
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the comparison, "gap" where unchanged lines are left out. A rewritten line holds old and new words."""

    deed: Literal["same", "added", "removed", "rewritten", "gap"]
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Changes:
    """From one version of the guidelines to the newest."""

    before: Guidelines
    after: Guidelines
    lines: tuple[Line, ...]


def changes_since_last_work(*, labeler: User, project: Project) -> Changes | None:
    """What is new since the labeler last handed in or skipped a task there; None where nothing is, or he never did."""
    ended = Assignment.objects.filter(labeler=labeler, project=project, ended_at__isnull=False)
    last = ended.exclude(state=Assignment.State.EXPIRED).order_by("-ended_at").values_list("ended_at", flat=True)
    return changes_since(project=project, moment=last.first())


def changes_since(*, project: Project, moment: datetime | None) -> Changes | None:
    """From the version that held at a moment to the newest one; None where they are the same."""
    newest = project.guidelines
    if newest is None or moment is None or newest.created_at <= moment:
        return None
    earlier = project.guidelines_versions.filter(created_at__lte=moment).order_by("-version").first()
    return None if earlier is None else between(earlier, newest)


def between(before: Guidelines, after: Guidelines) -> Changes | None:
    """From one version to another; None where the text is the same."""
    if before.text == after.text:
        return None
    return Changes(before=before, after=after, lines=tuple(compared(before.text, after.text)))


def compared(old: str, new: str) -> list[Line]:
    """Line by line, and word by word where a line was rewritten; unchanged stretches become a gap."""
    lines = list(_lines(old.splitlines()[:MOST_LINES], new.splitlines()[:MOST_LINES]))
    near = {
        shown
        for index, line in enumerate(lines)
        if line.deed != "same"
        for shown in range(index - CONTEXT_LINES, index + CONTEXT_LINES + 1)
    }
    kept: list[Line] = []
    for index, line in enumerate(lines):
        if index in near:
            kept.append(line)
        elif not kept or kept[-1].deed != "gap":
            kept.append(Line("gap"))
    return kept


def _lines(old: list[str], new: list[str]) -> Iterator[Line]:
    for deed, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if deed == "equal":
            yield from (Line("same", (Piece("same", line),)) for line in old[a:b])
            continue
        # Lines that stand opposite each other are one line rewritten, unless they have little in common.
        pairs = min(b - a, d - c)
        for before, after in zip(old[a : a + pairs], new[c : c + pairs], strict=True):
            pieces = _rewritten(before, after)
            if pieces:
                yield Line("rewritten", pieces)
            else:
                yield Line("removed", (Piece("removed", before),))
                yield Line("added", (Piece("added", after),))
        yield from (Line("removed", (Piece("removed", line),)) for line in old[a + pairs : b])
        yield from (Line("added", (Piece("added", line),)) for line in new[c + pairs : d])


def _rewritten(before: str, after: str) -> tuple[Piece, ...]:
    """The pieces of a rewritten line; none where less than half of its words stayed."""
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    if matcher.ratio() < 0.5:
        return ()
    pieces = []
    for deed, a, b, c, d in matcher.get_opcodes():
        if deed == "equal":
            pieces.append(Piece("same", "".join(old[a:b])))
            continue
        if a < b:
            pieces.append(Piece("removed", "".join(old[a:b])))
        if c < d:
            pieces.append(Piece("added", "".join(new[c:d])))
    return tuple(pieces)
