"""docs/promises.md: each row names tests that are there."""

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
    named = NAMED.findall(PROMISES[promise])
    assert ", ".join(f"`{file}::{name}`" for file, name in named) == PROMISES[promise]
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        tests = {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}
        assert name in tests, f"{file} has no {name}"
