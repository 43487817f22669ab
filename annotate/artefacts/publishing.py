"""What a folder holds now, uploaded: files whose bytes the storage lacks, then the list."""

import hashlib
import io
import os
import uuid
from collections.abc import Callable, Collection
from pathlib import Path

from annotate.artefacts import bucket, folder_lists, local_folders
from annotate.artefacts.bucket import Bucket, Heartbeat, fault
from annotate.artefacts.contents import MOST_NUMBER, StoredFile, copied
from annotate.artefacts.folder_lists import FolderList
from annotate.artefacts.local_folders import silent

IN_MEMORY = 16 << 20
"""Smaller files are read once, so that one that grows meanwhile is stored as it was."""
Hashes = dict[tuple[str, int, int, int], str]
"""Of files that were published already, by path, inode, size and time of change."""
Selection = Callable[[str], bool]


class Changed(Exception):
    """A file changed or went while it was being published."""


def upload(
    folder: str,
    path: Path,
    without: Collection[str],
    selection: Selection | None,
    beat: Heartbeat,
    before_list: Callable[[], None],
    hashes: Hashes,
    owner: str,
) -> None:
    storage = bucket.current()
    contents = folder_lists.contents_name(folder)
    there = storage.sizes(contents)
    beat()
    files = {
        name: _add(storage, contents, file, there, hashes, beat)
        for name, file in local_folders.files_of(path, without)
        if selection is None or selection(name)
    }
    before = now = folder_lists.read_list(storage, folder)
    folder_lists.refuse_other(folder, now, owner)
    beat()
    if now is None or now.files != files or (owner and now.owner != owner):
        before_list()
        now = FolderList(id=uuid.uuid4().hex, files=files, owner=owner)
        if len(text := now.as_json()) > bucket.MOST_LIST_BYTES:
            raise fault("storage_too_many_files", folder=folder, count=len(files))
        storage.write(folder_lists.list_name(folder), text)
    local_folders.write(local_folders.mark_of(folder), now.as_json())
    # What no list has named may be of another publisher, whose list comes yet.
    gone = {file.sha256 for file in before.files.values()} if before is not None else set()
    if gone := gone - {file.sha256 for file in files.values()}:
        before_list()
        storage.delete(f"{contents}/{name}" for name in sorted(gone))


def _add(
    storage: Bucket, contents: str, path: Path, there: dict[str, int], hashes: Hashes, beat: Heartbeat
) -> StoredFile:
    """Upload a file as far as it goes now, unless it is there. Raises Changed, FileNotFoundError."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        key = (str(path), status.st_ino, status.st_size, status.st_mtime_ns)
        if status.st_size <= IN_MEMORY:
            content = file.read(status.st_size)
            sha256, size = copied(io.BytesIO(content), None)
            if there.get(sha256) != size:
                storage.write(f"{contents}/{sha256}", content)
        else:
            size = status.st_size
            if (sha256 := hashes.get(key, "")) == "":
                sha256, size = copied(_Part(file, size), None, heartbeat=beat)
            if there.get(sha256) != size:
                file.seek(0)
                hashes.pop(key, None)
                storage.upload(f"{contents}/{sha256}", _Part(file, size, beat, sha256=sha256))
            hashes[key] = sha256
    there[sha256] = size
    beat()
    return StoredFile(sha256, size, min(max(status.st_mtime_ns, 0), MOST_NUMBER))


class _Part:
    """The first bytes of a file, once; the file may grow meanwhile.

    sha256: of these bytes; others raise Changed before the last of them is given, so that no object is made of them.
    """

    def __init__(self, file: io.BufferedReader, size: int, beat: Heartbeat = silent, *, sha256: str = "") -> None:
        self._file, self._left, self._beat, self._sha256 = file, size, beat, sha256
        self._digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        block = self._file.read(wanted)
        self._left -= len(block)
        if self._sha256:
            self._digest.update(block)
        if len(block) < wanted or (not self._left and self._sha256 not in ("", self._digest.hexdigest())):
            raise Changed
        self._beat()
        return block
