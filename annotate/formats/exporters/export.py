"""Export formats: each turns the contract's rows into its own and writes them to a file."""

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from gzip import GzipFile
from itertools import combinations
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

ALL_KINDS = ("rankings", "demonstrations", "ratings", "prompts")
NOT_RANKED, TIED, CHATS = "left_out_unranked_responses", "left_out_tied_pairs", "left_out_chats"
"""Counts of the card: what a format has no place for."""


class RowWriter(Protocol):
    """An open file that takes rows; leaving the `with` block completes it."""

    def write(self, row: dict[str, Any]) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class JSONLinesWriter:
    """UTF-8 JSON lines, keys in the order they were made, the same bytes for the same rows."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("w", encoding="utf-8", newline="\n", buffering=2**20)
        self.encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode

    def write(self, row: dict[str, Any]) -> None:
        self.file.write(self.encode(row) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()


class RowExporter(ABC):
    """A format of a snapshot's files. Rows come in as the contract has them (see the card of a snapshot).

    kinds: of snapshots that it can carry. description: a sentence for the card.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    description: ClassVar[str]
    suffix: ClassVar[str] = ".jsonl"
    kinds: ClassVar[tuple[str, ...]] = ALL_KINDS
    has_weights: ClassVar[bool] = True

    @abstractmethod
    def rows(self, row: dict[str, Any], *, kind: str) -> Iterable[dict[str, Any]]:
        """The rows of this format that a contract row of a snapshot kind becomes: none, one or many."""

    def left_out(self, row: dict[str, Any], *, kind: str) -> Counter[str]:
        """What of a row this format has no place for, by the name of a count of the card; nothing for most formats."""
        return Counter()

    def open(self, path: Path, *, kind: str) -> RowWriter:
        return JSONLinesWriter(path)

    def join(self, parts: Iterable[Path], out: Path) -> None:
        """Several files of this format as one, gzipped where its name says so; equal rows give equal bytes."""
        with GzipFile(out, "wb", mtime=0) if out.suffix == ".gz" else out.open("wb") as file:
            for part in parts:
                with part.open("rb") as rows:
                    while block := rows.read(2**20):
                        file.write(block)


class HoneExporter(RowExporter):
    name, label = "hone", "Hone JSON lines"
    description = "UTF-8 JSON lines, one record a line."

    def rows(self, row: dict[str, Any], *, kind: str) -> Iterable[dict[str, Any]]:
        return (row,)


def strict_pairs(row: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(better, worse) of every two responses of a ranking of which one was preferred."""
    return [(better, worse) for better, worse in _pairs(row) if better["rank"] < worse["rank"]]


def lost_in_pairs(row: dict[str, Any]) -> Counter[str]:
    """Content of a ranking that strict pairs can't hold."""
    tied = sum(better["rank"] == worse["rank"] for better, worse in _pairs(row))
    unranked = sum(response["rank"] is None for response in row["responses"])
    return Counter({TIED: tied, NOT_RANKED: unranked})


def single_question(messages: list[dict[str, str]]) -> str | None:
    """The text of a prompt of one turn of the user's; None for a chat or one with a system turn."""
    return messages[0]["content"] if len(messages) == 1 else None


def _pairs(row: dict[str, Any]) -> Iterable[tuple[dict[str, Any], dict[str, Any]]]:
    """Every two ranked responses of a ranking, the better one first where one is."""
    ranked = [response for response in row["responses"] if response["rank"] is not None]
    return combinations(sorted(ranked, key=lambda response: response["rank"]), 2)
