"""docs/labeling.md claims nothing that no test shows: every test it names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NAMED = re.findall(r"`(tests/[\w/]+\.py)((?:::\w+)+)`", (ROOT / "docs" / "labeling.md").read_text(encoding="utf-8"))


def test_tests_are_named() -> None:
    assert len(NAMED) >= 18


@pytest.mark.parametrize(("file", "names"), NAMED, ids=lambda value: value.rpartition("::")[2])
def test_a_named_test_is_there(file: str, names: str) -> None:
    source = (ROOT / file).read_text(encoding="utf-8")
    *classes, function = names.strip(":").split("::")
    assert re.search(rf"^\s*def {function}\(", source, re.MULTILINE), function
    for name in classes:
        assert re.search(rf"^class {name}\b", source, re.MULTILINE), name
