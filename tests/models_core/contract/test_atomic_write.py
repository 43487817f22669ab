"""Files that appear whole or not at all."""

import os
from pathlib import Path

import pytest

from models_core.contract import atomic_write
from models_core.contract.errors import BadInput


def test_a_file_is_replaced_at_the_end_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("before")
    with atomic_write.replacing(path) as file:
        file.write(b"after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert os.listdir(tmp_path) == ["result.json"]


def test_an_exception_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("before")
    replacing = atomic_write.replacing(path)
    replacing.__enter__().write(b"half")
    with pytest.raises(ZeroDivisionError):
        replacing.gen.throw(ZeroDivisionError())
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_number_that_is_not_finite_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic_write.write_json(path, {"loss": float("nan")})
    assert os.listdir(tmp_path) == []


def test_lines_go_into_a_new_folder_and_a_file_in_the_way_is_a_sentence(tmp_path: Path) -> None:
    atomic_write.write_lines(tmp_path / "new" / "rows.jsonl", ["a", "b\u2028c"])
    assert (tmp_path / "new" / "rows.jsonl").read_bytes() == "a\nb\u2028c\n".encode()
    with pytest.raises(BadInput, match="cannot be written"):
        atomic_write.write_lines(tmp_path / "new" / "rows.jsonl" / "x", ["a"])
