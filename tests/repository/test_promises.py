"""docs/promises.md and SECURITY.md: each row names tests that are there."""

import ast
import re

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| (?!---|promise|kind)", line)]
PROMISES = {row[0]: row[1] for row in ROWS if "`tests/" in row[1]}
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_promise_has_its_tests() -> None:
    in_tables = PAGE.partition("## Faults under load")[0]
    assert len(PROMISES) >= 20
    assert len(PROMISES) == len(re.findall(r"^\| (?!---|promise)", in_tables, re.M))


@pytest.mark.parametrize("promise", PROMISES)
def test_its_tests_are_there(promise: str) -> None:
    assert named_tests(PROMISES[promise]) == PROMISES[promise]


def named_tests(cell: str) -> str:
    """The tests that a cell names, as it should write them. Fails where one isn't there."""
    named = NAMED.findall(cell)
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        tests = {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}
        assert name in tests, f"{file} has no {name}"
    return ", ".join(f"`{file}::{name}`" for file, name in named)


SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
BOUNDARIES = [line for line in SECURITY.splitlines() if line.startswith("|") and "`tests/" in line]


def test_every_boundary_has_its_tests() -> None:
    table = SECURITY.partition("## Boundaries")[2].partition("\n## ")[0]
    assert len(BOUNDARIES) == len(re.findall(r"^\| (?!---|boundary)", table, re.M)) >= 15


@pytest.mark.parametrize("row", BOUNDARIES, ids=range(len(BOUNDARIES)))
def test_a_boundarys_tests_are_there(row: str) -> None:
    shown_by = row.strip("| ").split(" | ")[-1]
    assert named_tests(shown_by) == shown_by
