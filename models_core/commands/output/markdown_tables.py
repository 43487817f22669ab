"""A report as tables that a person reads: Markdown, aligned so that it reads as plain text too."""

from collections.abc import Mapping, Sequence
from typing import Any


def markdown(report: Mapping[str, Any]) -> str:
    """A table of the report's own figures, then one under a heading for each part of it."""
    return "\n".join(_part(report, heading=()))


def _part(report: Mapping[str, Any], *, heading: Sequence[str]) -> list[str]:
    plain = {name: value for name, value in report.items() if not isinstance(value, Mapping)}
    parts = {name: value for name, value in report.items() if isinstance(value, Mapping)}
    lines = ["", f"## {', '.join(heading)}", ""] if heading else []
    if plain:
        lines += table(["measure", "value"], [[_words(name), shown(value)] for name, value in plain.items()])
    if parts and _are_alike(parts):
        columns = list(next(iter(parts.values())))
        lines += [""] if plain else []
        lines += table(
            ["", *map(_words, columns)],
            [[shown(name), *(shown(part[column]) for column in columns)] for name, part in parts.items()],
        )
        return lines
    for name, part in parts.items():
        lines += _part(part, heading=[*heading, _words(name)])
    return lines


def _are_alike(parts: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether parts are rows of one table: the same figures in each, and none nested."""
    first = list(next(iter(parts.values())))
    return len(parts) > 1 and all(
        list(part) == first and not any(isinstance(value, Mapping) for value in part.values())
        for part in parts.values()
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table with columns of equal width. Cells come through `shown`."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [head, ["-" * max(3, width) for width in widths], *rows]
    return [
        "| " + " | ".join(cell.ljust(max(3, width)) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]


def _words(name: str) -> str:
    return name.replace("_", " ")


def shown(value: Any) -> str:
    """A cell: four digits of a number, one line of a text without control characters, which a terminal obeys."""
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1000 else f"{value:.1f}"
    text = "" if value is None else str(value)
    return printable(text).replace("|", "\\|")


def printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
