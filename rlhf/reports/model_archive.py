"""The files of a model version as a zip file and as a list of hashes, both written while they are read."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from models_core.contract.runs.run_folder import file_sha256
from rlhf.models import ModelVersion
from rlhf.runs.storage import run_artefacts

BLOCK = 1 << 20


def files_of(version: ModelVersion) -> list[tuple[str, Path]]:
    """(name, path) of its files: model/, adapter/ where the method keeps its own weights, and lora/ of a merged LoRA.

    [] where none is here.

    Links are left out: a name in the store is not the way to a file outside of it.
    """
    if not version.folder:
        return []
    model = settings.HONE_DATA / version.folder
    found = []
    for folder in (model, model.parent / "adapter", model.parent / "lora"):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and path.resolve().is_relative_to(folder.resolve()):
                found.append((f"{folder.name}/{path.relative_to(folder).as_posix()}", path))
    return found


def sizes_of(version: ModelVersion) -> list[tuple[str, int]]:
    """(name, bytes) of its files, here or else on the storage. Raises StorageFault."""
    files = files_of(version)
    return [(name, path.stat().st_size) for name, path in files] if files else run_artefacts.model_sizes(version)


def size_of(files: list[tuple[str, Path]]) -> int:
    return sum(path.stat().st_size for _name, path in files)


def hashes(files: list[tuple[str, Path]]) -> Iterator[str]:
    """Lines as `sha256sum --check` reads them."""
    for name, path in files:
        yield f"{file_sha256(path)}  {name}\n"


def archive(files: list[tuple[str, Path]], *, card: str) -> Iterator[bytes]:
    """A zip file of these files and of MODEL_CARD.md, not compressed: weights hardly are. At most a block is held."""
    out = _Pipe()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.writestr("MODEL_CARD.md", card)
        for name, path in files:
            # Its size is written after its bytes, so the header must announce that it may be large.
            with path.open("rb") as source, archive.open(name, "w", force_zip64=True) as target:
                while block := source.read(BLOCK):
                    target.write(block)
                    yield out.taken()
    yield out.taken()


class _Pipe(io.RawIOBase):
    """A file that can't be sought, and gives back what was written to it."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, block: Any) -> int:
        self._written += block
        return len(block)

    def taken(self) -> bytes:
        found, self._written = bytes(self._written), bytearray()
        return found
