"""What changed in a project's guidelines since somebody last worked there, word by word."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from rapidfuzz.distance import LCSseq

from annotate.models import Assignment, Guidelines, Project, User

# Unchanged lines that are shown before and after a change, so that one sees where it stands.
CONTEXT_LINES = 1
# Two lists are compared in a table of their lengths; a larger one is said to be another text as a whole.
LARGEST_TABLE = 40_000_000
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")

Change = Literal["same", "added", "removed"]


@dataclass(frozen=True, slots=True)
class DiffHunk:
    """A run of characters within a line of the comparison."""

    change: Change
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the comparison, "gap" where unchanged lines are left out. A rewritten line holds old and new words."""

    change: Literal["same", "added", "removed", "rewritten", "gap"]
    hunks: tuple[DiffHunk, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Changes:
    """From one version of the guidelines to the newest."""

    before: Guidelines
    after: Guidelines
    lines: tuple[Line, ...]


def changes_since_last_work(*, labeler: User, project: Project) -> Changes | None:
    """Changes since the labeler last submitted or skipped a task there; None without any, or where they never did."""
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
    lines = list(_lines(old.splitlines(), new.splitlines()))
    near = {
        shown
        for index, line in enumerate(lines)
        if line.change != "same"
        for shown in range(index - CONTEXT_LINES, index + CONTEXT_LINES + 1)
    }
    kept: list[Line] = []
    for index, line in enumerate(lines):
        if index in near:
            kept.append(line)
        elif not kept or kept[-1].change != "gap":
            kept.append(Line("gap"))
    return kept


def _lines(old: list[str], new: list[str]) -> Iterator[Line]:
    for change, a, b, c, d in _opcodes(old, new):
        if change == "equal":
            yield from (Line("same", (DiffHunk("same", line),)) for line in old[a:b])
            continue
        # Lines that stand opposite each other are one line rewritten, unless they have little in common.
        pairs = min(b - a, d - c)
        for before, after in zip(old[a : a + pairs], new[c : c + pairs], strict=True):
            if hunks := _rewritten(_WORDS.findall(before), _WORDS.findall(after)):
                yield Line("rewritten", hunks)
            else:
                yield Line("removed", (DiffHunk("removed", before),))
                yield Line("added", (DiffHunk("added", after),))
        yield from (Line("removed", (DiffHunk("removed", line),)) for line in old[a + pairs : b])
        yield from (Line("added", (DiffHunk("added", line),)) for line in new[c + pairs : d])


Opcode = tuple[str, int, int, int, int]


def _opcodes(old: list[str], new: list[str]) -> list[Opcode]:
    """("equal" | "replace", from, to of the old, from, to of the new) by the longest common subsequence."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    a, b, c, d = start, len(old) - end, start, len(new) - end
    found: list[Opcode] = [("equal", 0, a, 0, c)]
    if (b - a) * (d - c) > LARGEST_TABLE:
        found.append(("replace", a, b, c, d))
    else:
        for code in LCSseq.opcodes(old[a:b], new[c:d]):
            part = ("equal" if code.tag == "equal" else "replace", code.src_start + a, code.src_end + a)
            found.append((*part, code.dest_start + c, code.dest_end + c))
    found.append(("equal", b, len(old), d, len(new)))
    return _joined(code for code in found if code[1] < code[2] or code[3] < code[4])


def _joined(codes: Iterable[Opcode]) -> list[Opcode]:
    """Neighbours of one sort as one: what was removed and what came in its place."""
    joined: list[Opcode] = []
    for code in codes:
        if joined and joined[-1][0] == code[0]:
            joined[-1] = (code[0], joined[-1][1], code[2], joined[-1][3], code[4])
        else:
            joined.append(code)
    return joined


def _rewritten(old: list[str], new: list[str]) -> tuple[DiffHunk, ...]:
    """The pieces of a rewritten line; none where less than half of its words stayed."""
    codes = _opcodes(old, new)
    same = sum(b - a for change, a, b, _, _ in codes if change == "equal")
    if 2 * same < (len(old) + len(new)) * 0.5:
        return ()
    hunks = []
    for change, a, b, c, d in codes:
        if change == "equal":
            hunks.append(DiffHunk("same", "".join(old[a:b])))
            continue
        if a < b:
            hunks.append(DiffHunk("removed", "".join(old[a:b])))
        if c < d:
            hunks.append(DiffHunk("added", "".join(new[c:d])))
    return tuple(hunks)
