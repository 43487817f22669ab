"""Files that appear whole or not at all, also after a crash or a power failure."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from models_core.contract.errors import BadInput


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file beside `path` that takes its name at the end; an exception leaves `path` as it was.

    The rename is atomic, and the content is on disk before it.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON file. Raises ValueError for a number that is not finite."""
    write_text(path, json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a file of lines, and its folder where there is none. Raises BadInput where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.writelines(f"{line}\n".encode() for line in lines)
    except (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise BadInput(f"{path} cannot be written ({error.strerror}).") from None
