"""Folders of data files, read as one file: what `datasets` saves to disk, an export of Hone's, files of a repository.

`Dataset.save_to_disk` writes Arrow streams beside `state.json`, which names them in their order; `DatasetDict` writes a
folder for each split beside `dataset_dict.json`. In any other folder each file counts whose suffix is one of data, in
the order of their names. A zip of such a folder is unpacked first, within limits, and without any other file.
"""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from django.utils.translation import gettext as _

from annotate.formats.files import spreadsheets
from annotate.formats.files.byte_streams import FREE_OF_FOLDING, LONGEST_FILE, MOST_FOLDED, BadFile

SUFFIXES = (".parquet", ".arrow", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".xlsx", ".txt")
DESCRIPTIONS = ("dataset_dict.json", "state.json")
NO_DATA = frozenset(
    [*DESCRIPTIONS, "dataset_info.json", "dataset_infos.json", "config.json", "manifest.json", "requirements.txt"]
)
"""Files that say something of the data: of `datasets`, of a Hub, of a snapshot's folder."""
MOST_FILES = 10_000
LARGEST_DESCRIPTION = 2**20


def data_suffix(name: str) -> str:
    """The suffix of a data file, without that of gzip; empty for any other file."""
    path = PurePosixPath(name)
    if path.name in NO_DATA or any(part.startswith((".", "__")) for part in path.parts):
        return ""
    suffix = next((suffix.lower() for suffix in reversed(path.suffixes) if suffix.lower() != ".gz"), "")
    return suffix if suffix in SUFFIXES else ""


def members(folder: Path) -> list[tuple[str, Path]]:
    """(name below the folder, path) of each data file, in the order of their rows. Raises BadFile."""
    try:
        found = list(_members(folder))
    except OSError as error:
        raise BadFile(
            _("%(file)s can't be read: %(reason)s.") % {"file": folder.name, "reason": error.strerror}
        ) from None
    if not found:
        raise BadFile(
            _("%(file)s holds no data files: none ends in %(suffixes)s.")
            % {"file": folder.name, "suffixes": ", ".join(SUFFIXES)}
        )
    if len(found) > MOST_FILES:
        raise BadFile(_("%(file)s holds more than %(most)s files.") % {"file": folder.name, "most": f"{MOST_FILES:,}"})
    return [(path.relative_to(folder).as_posix(), path) for path in found]


def _members(folder: Path) -> Iterator[Path]:
    if (folder / "dataset_dict.json").is_file():
        for split in _described(folder, "dataset_dict.json", "splits"):
            yield from _saved(_below(folder, split))
    elif (folder / "state.json").is_file():
        yield from _saved(folder)
    elif not (below := sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__")))):
        return
    elif len(below) == 1 and below[0].is_dir():
        # A zip of a folder holds the folder.
        yield from _members(below[0])
    else:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and data_suffix(path.relative_to(folder).as_posix()):
                yield path


def _saved(folder: Path) -> Iterator[Path]:
    """The Arrow streams of one saved data set, in the order of its rows."""
    listed = _described(folder, "state.json", "_data_files")
    for entry in listed:
        path = _below(folder, entry.get("filename") if isinstance(entry, dict) else entry)
        if not path.is_file():
            raise BadFile(
                _("%(file)s lacks %(name)s, which its state.json names.") % {"file": folder.name, "name": path.name}
            )
        yield path


def _described(folder: Path, name: str, key: str) -> list[Any]:
    """A list of a saved data set's description. Raises BadFile for one that is none, or that rows are chosen by."""
    path, state = folder / name, None
    try:
        if path.stat().st_size <= LARGEST_DESCRIPTION:
            state = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        pass
    found = state.get(key) if isinstance(state, dict) else None
    if not isinstance(state, dict) or not isinstance(found, list) or len(found) > MOST_FILES:
        raise BadFile(
            _("%(file)s is no data set that `datasets` saved: %(name)s is missing or broken.")
            % {
                "file": folder.name,
                "name": name,
            }
        )
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise BadFile(
            _("%(file)s chooses its rows by a table of indices. Save it again after flatten_indices().")
            % {"file": folder.name}
        )
    return found


def _below(folder: Path, name: Any) -> Path:
    """A file or folder directly in a folder. Raises BadFile for any other place."""
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise BadFile(
            _("%(file)s names a file outside of itself: %(name)s.")
            % {"file": folder.name, "name": str(name)[:60].encode("utf-8", "replace").decode()}
        )
    return folder / name


def is_archive(path: Path) -> bool:
    """Whether it is a zip that is no spreadsheet."""
    with path.open("rb") as file:
        if file.read(4) != spreadsheets.ZIP_MAGIC:
            return False
    return not spreadsheets.is_workbook(path)


@contextmanager
def unpacked(path: Path, *, name: str, scratch: Path) -> Iterator[Path]:
    """The file or folder as it is; of a zip a folder in `scratch` with its data files, which goes afterwards.

    Raises BadFile for a zip that holds too much, or no data.
    """
    try:
        packed = path.is_file() and is_archive(path)
    except OSError:
        packed = False  # which the reader says in its words
    if not packed:
        yield path
        return
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unpacked-", dir=scratch) as made:
        folder = Path(made) / (PurePosixPath(name).name or "archive")
        folder.mkdir()
        _unpack(path, folder)
        yield folder


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in _wanted(archive, path):
                target = folder / entry.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                # It ends at the size that was checked, whatever the entry unfolds to.
                with archive.open(entry) as packed, target.open("xb") as file:
                    shutil.copyfileobj(packed, file, 2**20)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, ValueError):
        raise BadFile(_("%(file)s is a broken or encrypted zip file.") % {"file": path.name}) from None
    except FileExistsError:
        raise BadFile(_("%(file)s holds two files of one name.") % {"file": path.name}) from None
    except OSError as error:
        raise BadFile(
            _("%(file)s can't be unpacked: %(reason)s.") % {"file": path.name, "reason": error.strerror}
        ) from None


def _wanted(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    wanted = [
        entry for entry in entries if data_suffix(entry.filename) or PurePosixPath(entry.filename).name in DESCRIPTIONS
    ]
    for entry in entries:
        if entry.filename.startswith("/") or {"..", ""} & set(entry.filename.split("/")) or "\\" in entry.filename:
            raise BadFile(_("%(file)s holds a file whose name leads out of it.") % {"file": path.name})
    size = sum(entry.file_size for entry in wanted)
    if len(entries) > MOST_FILES or size > LONGEST_FILE:
        raise BadFile(
            _("%(file)s holds more than %(most)s files, or more than %(size)s GB of data.")
            % {"file": path.name, "most": f"{MOST_FILES:,}", "size": LONGEST_FILE // 2**30}
        )
    if size > max(FREE_OF_FOLDING, MOST_FOLDED * path.stat().st_size):
        raise BadFile(
            _("%(file)s unfolds to more than %(times)d times its size. Unpack it, and give the file itself.")
            % {"file": path.name, "times": MOST_FOLDED}
        )
    return wanted
