"""Folders of the data folder, published to the storage of HONE_ARTEFACTS and fetched from there by other hosts.

    PREFIX/files/FOLDER/SHA256     a file's bytes; a folder's content lies below its own name, and goes with it
    PREFIX/folders/FOLDER.json     the folder's list: {path in it: hash, bytes, time of change}, and an id

A folder is there when its list is, which is written last. On a host it lies where it would without storage, below the
data folder; HONE_DATA/.artefacts/FOLDER.json is the list that it was published or fetched with. What is being fetched
lies beside its place, under a name with a dot, since folders of the data folder may be mounts of their own. Without
HONE_ARTEFACTS nothing here does anything: all hosts then share the data folder itself.
"""

import errno
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from django.conf import settings
from django.utils.translation import gettext_noop

from annotate.artefacts import bucket
from annotate.artefacts.bucket import Bucket, Heartbeat, StorageAway, StorageFault, fault
from annotate.artefacts.contents import MOST_NUMBER, StoredFile, checked_path, copied
from annotate.data import stored_messages
from annotate.data.stored_messages import refusal

FORMAT = 1
ROOM = ".artefacts"
IN_MEMORY = 16 << 20
"""Smaller files are read once, so that one that grows meanwhile is stored as it was."""
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
TRIES = 3
WAIT_SECONDS = 0.1
HEARTBEAT_SECONDS = 1.0
Hashes = dict[tuple[str, int, int, int], str]
"""Of files that were published already, by path, inode, size and time of change."""
Selection = Callable[[str], bool]


def silent() -> None:
    """The heartbeat of those whom nobody waits for."""


@dataclass(frozen=True, kw_only=True)
class FolderList:
    """The files of a published folder.

    id: another one each time that it is published. is_whole: fetched without leaving files out. owner: what the folder
    is of, where its name may mean something else in another database; empty in an older list.
    """

    id: str
    files: dict[str, StoredFile] = field(default_factory=dict)
    is_whole: bool = True
    owner: str = ""

    def is_of(self, owner: str) -> bool:
        """Whether the folder may be the owner's: unless both are known and differ."""
        return not (self.owner and owner) or self.owner == owner

    def as_json(self) -> bytes:
        files = {name: [file.sha256, file.bytes, file.changed] for name, file in sorted(self.files.items())}
        values = {"format": FORMAT, "id": self.id, "owner": self.owner, "files": files, "is_whole": self.is_whole}
        return json.dumps(values).encode("ascii")

    @classmethod
    def parsed(cls, text: bytes) -> "FolderList":
        """Raises ValueError for what is no such list."""
        try:
            values = json.loads(text)
            files = {_own_path(name): _stored_file(stored) for name, stored in values["files"].items()}
            if any(str(parent) in files for name in files for parent in PurePosixPath(name).parents):
                raise ValueError("a file within a file")
            return cls(
                id=str(values["id"]),
                files=files,
                is_whole=bool(values["is_whole"]),
                owner=str(values.get("owner", "")),
            )
        except (TypeError, KeyError, AttributeError, RecursionError, UnicodeDecodeError) as error:
            raise ValueError(f"no list of a folder: {error}") from None


class Busy(Exception):
    """Another process has the folder locked."""


class _Changed(Exception):
    """A file changed or went while it was being published."""


def is_on() -> bool:
    """Whether hosts share folders by storage."""
    return bool(settings.HONE_ARTEFACTS)


def publish(
    folder: str,
    *,
    without: Collection[str] = (),
    heartbeat: Heartbeat = silent,
    selection: Selection | None = None,
    source: Path | None = None,
    before_list: Callable[[], None] = silent,
    hashes: Hashes | None = None,
    owner: str = "",
) -> None:
    """Make what the folder holds now the one that others fetch. Files and folders whose names begin with a dot, and the
    subfolders in `without`, are left out.

    selection: the names that are published. source: where the files are, if not in the folder. before_list: called when
    only the list is missing, and before contents are deleted that no list names any more; what it raises leaves the
    published folder as it was. owner: see FolderList; a folder of another owner is never replaced. Raises StorageFault,
    and FileNotFoundError where there is no such folder.
    """
    if not is_on():
        return None
    path = source or _place(folder)
    if not path.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    beat = _paced(heartbeat)
    with _locked(folder, beat):
        _remove_leftovers(folder, but=source)
        if owner:  # before anything is uploaded to the place of another's files
            _refuse_other(folder, _listed(bucket.current(), folder), owner)
        for _try in range(TRIES):
            try:
                known = {} if hashes is None else hashes
                return _publish(folder, path, without, selection, beat, before_list, known, owner)
            except (_Changed, FileNotFoundError):
                continue
        raise fault("storage_folder_changes", folder=folder)


def ensure(
    folder: str,
    *,
    without: Collection[str] = (),
    is_current: bool = True,
    selection: Selection | None = None,
    heartbeat: Heartbeat = silent,
    owner: str = "",
    waits: bool = True,
) -> Path:
    """Where the folder is on this host, fetched if need be; a folder that nobody published is left as it is, and so is
    one whose list says that it is not the owner's.

    without: subfolders that `publish` left out too. is_current: the folder never changes, so one that is here is not
    asked for again. selection: the names that are wanted. waits: for another process that fetches or publishes the
    folder. Raises StorageFault, for other bytes than were published too, and Busy for one that doesn't wait.
    """
    path = _place(folder)
    if not is_on() or (is_current and selection is None and is_here(folder)):
        return path
    beat = _paced(heartbeat)
    with _locked(folder, beat, waits=waits):
        _remove_leftovers(folder)
        storage = bucket.current()
        beat()
        listed = _listed(storage, folder)
        for left in reversed(range(TRIES)):
            beat()
            if listed is None or not listed.is_of(owner):
                return path
            here = _fetched(folder)
            if here is None or here.id != listed.id or not path.is_dir():
                here = None
            wanted = {name for name in listed.files if selection is None or selection(name)}
            if here is not None and (here.is_whole or (selection is not None and wanted <= here.files.keys())):
                return path
            try:
                _fetch(storage, folder, listed, without, wanted, beat, earlier=here)
                return path
            except StorageFault as error:
                before, listed = listed, _listed(storage, folder)
                if not left or listed == before or (error.message or {}).get("code") != "storage_file_missing":
                    raise  # else it was published again while it was read
    return path


def is_here(folder: str) -> bool:
    """Whether this host has the whole folder as it published or fetched it."""
    return _place(folder).is_dir() and (here := _fetched(folder)) is not None and here.is_whole


def is_newest(folder: str) -> bool:
    """Whether this host has the whole folder as it was published last; while the storage is away, whether it has it."""
    if not is_here(folder):
        return False
    try:
        listed = published(folder)
    except StorageAway:
        return True
    here = _fetched(folder)
    return listed is None or (here is not None and here.id == listed.id)


def published(folder: str, *, owner: str = "") -> FolderList | None:
    """What the storage has of the owner's folder; None where it has none, and without storage. Raises StorageFault."""
    listed = _listed(bucket.current(), folder) if is_on() else None
    return listed if listed is not None and listed.is_of(owner) else None


def remove(folder: str, *, before: Callable[[], None] = silent, owner: str = "") -> None:
    """Remove a folder from the storage, its list first. Idempotent; what is on this host stays, and so does a folder of
    another owner. Raises StorageFault.

    before: called first; what it raises leaves the folder as it was.
    """
    if not is_on():
        return
    with _locked(folder, silent):
        before()
        _remove_leftovers(folder)
        storage = bucket.current()
        if owner and not _may_remove(storage, folder, owner):
            return
        storage.delete([_list_name(folder)])
        contents = _contents(folder)
        storage.delete(f"{contents}/{name}" for name in storage.sizes(contents))
        _mark(folder).unlink(missing_ok=True)


def drop(folder: str, name: str, *, owner: str = "") -> None:
    """Remove a file of a folder from the storage. Idempotent; the file on this host stays. Raises StorageFault."""
    if not is_on():
        return
    with _locked(folder, silent):
        storage = bucket.current()
        listed = _listed(storage, folder)
        if listed is None or name not in listed.files or not listed.is_of(owner):
            return
        left = {other: file for other, file in listed.files.items() if other != name}
        # The id stays: who has fetched the folder has no need to fetch it again.
        storage.write(_list_name(folder), FolderList(id=listed.id, files=left, owner=listed.owner).as_json())
        gone = listed.files[name].sha256
        if gone not in {file.sha256 for file in left.values()}:
            storage.delete([f"{_contents(folder)}/{gone}"])


def sizes_below(folder: str) -> dict[str, int]:
    """{folder: bytes} of what the storage has of the folders below one; {} without storage. Raises StorageFault."""
    if not is_on():
        return {}
    below = bucket.current().sizes_below(_contents(folder))
    return {f"{folder}/{name}": size for name, size in below.items()}


def scratch(folder: str) -> Path:
    """A place of the same file system for links to files that are to be published."""
    return _beside(folder, ".held")


def start_of(folder: str, name: str, size: int) -> bytes | None:
    """The first bytes of a published file; None where there is none. Raises StorageFault."""
    listed = published(folder)
    if listed is None or name not in listed.files:
        return None
    return bucket.current().read_start(f"{_contents(folder)}/{listed.files[name].sha256}", size)


def probe() -> None:
    """Write, read, list and delete an object. Raises StorageFault."""
    storage = bucket.current()
    name = f"probes/{uuid.uuid4().hex}"
    storage.write(f"{name}/probe", b"probe")
    if storage.read(f"{name}/probe") != b"probe" or list(storage.sizes(name)) != ["probe"]:
        raise fault("storage_damaged", folder=name, name="probe")
    storage.delete([f"{name}/probe"])


def _publish(
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
    contents = _contents(folder)
    there = storage.sizes(contents)
    beat()
    files = {
        name: _add(storage, contents, file, there, hashes, beat)
        for name, file in _files(path, without)
        if selection is None or selection(name)
    }
    before = now = _listed(storage, folder)
    _refuse_other(folder, now, owner)
    beat()
    if now is None or now.files != files or (owner and now.owner != owner):
        before_list()
        now = FolderList(id=uuid.uuid4().hex, files=files, owner=owner)
        if len(text := now.as_json()) > bucket.MOST_LIST_BYTES:
            raise fault("storage_too_many_files", folder=folder, count=len(files))
        storage.write(_list_name(folder), text)
    _write(_mark(folder), now.as_json())
    # What no list has named may be of another publisher, whose list comes yet.
    gone = {file.sha256 for file in before.files.values()} if before is not None else set()
    if gone := gone - {file.sha256 for file in files.values()}:
        before_list()
        storage.delete(f"{contents}/{name}" for name in sorted(gone))


def _refuse_other(folder: str, listed: FolderList | None, owner: str) -> None:
    if listed is not None and not listed.is_of(owner):
        raise fault("storage_of_another", folder=folder, location=settings.HONE_ARTEFACTS)


def _may_remove(storage: Bucket, folder: str, owner: str) -> bool:
    try:
        listed = _listed(storage, folder)
    except StorageFault as error:
        if (error.message or {}).get("code") != "storage_damaged":
            raise
        return True  # nobody can read it
    return listed is None or listed.is_of(owner)


def _add(
    storage: Bucket, contents: str, path: Path, there: dict[str, int], hashes: Hashes, beat: Heartbeat
) -> StoredFile:
    """Upload a file as far as it goes now, unless it is there. Raises _Changed, FileNotFoundError."""
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

    sha256: of these bytes; others raise _Changed before the last of them is given, so that no object is made of them.
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
            raise _Changed
        self._beat()
        return block


def _fetch(
    storage: Bucket,
    folder: str,
    listed: FolderList,
    without: Collection[str],
    names: Collection[str],
    beat: Heartbeat,
    *,
    earlier: FolderList | None,
) -> None:
    """Download what is missing beside the folder, then put it in place: as a whole where there is no folder yet.

    earlier: what was fetched of the same list before.
    """
    path, mark = _place(folder), _mark(folder)
    wanted = {name: file for name, file in listed.files.items() if name in names}
    is_whole = wanted.keys() == listed.files.keys()
    staging = _staging(folder)
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        missing = {name: file for name, file in wanted.items() if not _is_here(path / name, file, beat)}
        _refuse_full_disk(staging, sum(file.bytes for file in missing.values()))
        for name, file in missing.items():
            _download(storage, folder, name, file, staging / name, beat)
        mark.unlink(missing_ok=True)
        if path.is_dir():
            _merge(path, staging, wanted, without, removes=is_whole)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging, path)
        files = wanted if earlier is None else earlier.files | wanted
        done = FolderList(id=listed.id, files=files, is_whole=is_whole, owner=listed.owner)
        _write(mark, done.as_json())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise refusal("disk_full") from error
        raise refusal("files_not_writable", reason=error.strerror or type(error).__name__) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _refuse_full_disk(place: Path, size: int) -> None:
    """Raise Refused where the disk has less room than that, beside what is reserved for labeling and the database."""
    free, reserved = shutil.disk_usage(place).free, int(settings.HONE_RESERVED_DISK_GB * 2**30)
    if size and free < size + reserved:
        raise refusal("disk_too_small_to_fetch", needed={"bytes": size}, free={"bytes": max(0, free - reserved)})


def _download(storage: Bucket, folder: str, name: str, file: StoredFile, target: Path, beat: Heartbeat) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as copy:
        found = storage.download(f"{_contents(folder)}/{file.sha256}", copy, heartbeat=beat, most=file.bytes)
        copy.flush()
        os.fsync(copy.fileno())
    if found is None:
        raise fault("storage_file_missing", folder=folder, name=name)
    if found != (file.sha256, file.bytes):
        raise fault("storage_damaged", folder=folder, name=name)
    os.utime(target, ns=(file.changed, file.changed))


def _merge(path: Path, staging: Path, wanted: Collection[str], without: Collection[str], *, removes: bool) -> None:
    """Each file whole; until the mark is written again, the next one who needs the folder begins anew."""
    if removes:
        for name, file in [*_files(path, without)]:
            if name not in wanted:
                file.unlink()
        for parent, _folders, _names in os.walk(path, topdown=False):
            below = Path(parent).relative_to(path).as_posix()
            if any(part.startswith(".") for part in Path(below).parts):
                continue  # a subfolder is being fetched beside its place
            if below != "." and not _is_left_out(below, without) and not os.listdir(parent):
                os.rmdir(parent)
    for name in wanted:
        if (staging / name).exists():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging / name, path / name)


def _is_here(path: Path, file: StoredFile, beat: Heartbeat) -> bool:
    try:
        with path.open("rb") as found:
            return os.fstat(found.fileno()).st_size == file.bytes and copied(found, None, heartbeat=beat) == (
                file.sha256,
                file.bytes,
            )
    except OSError:
        return False


def _files(path: Path, without: Collection[str]) -> Iterator[tuple[str, Path]]:
    """(name in the folder, file). Links aren't followed: what they lead to isn't the folder's."""
    for parent, folders, names in os.walk(path):
        base = Path(parent)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not _is_left_out((base / name).relative_to(path).as_posix(), without)
        )
        for name in sorted(names):
            file = base / name
            if not name.startswith(".") and file.is_file() and not file.is_symlink():
                yield file.relative_to(path).as_posix(), file


def _is_left_out(name: str, without: Collection[str]) -> bool:
    return any(name == each or name.startswith(f"{each}/") for each in without)


def _listed(storage: Bucket, folder: str) -> FolderList | None:
    text = storage.read(_list_name(folder))
    if text is None:
        return None
    try:
        return FolderList.parsed(text)
    except ValueError:
        raise fault("storage_damaged", folder=folder, name=_list_name(folder)) from None


def _fetched(folder: str) -> FolderList | None:
    try:
        return FolderList.parsed(_mark(folder).read_bytes())
    except (OSError, ValueError):
        return None


def _stored_file(stored: Any) -> StoredFile:
    sha256, size, changed = stored
    if not isinstance(sha256, str) or not SHA256.fullmatch(sha256):
        raise ValueError("no SHA-256")
    if any(type(number) is not int or not 0 <= number <= MOST_NUMBER for number in (size, changed)):
        raise ValueError("no size or time of a file")
    return StoredFile(sha256, size, changed)


def _own_path(name: str) -> str:
    if any(part.startswith(".") for part in Path(checked_path(name)).parts):
        raise ValueError(f"{name!r} isn't published")
    return name


def _place(folder: str) -> Path:
    return Path(settings.HONE_DATA) / checked_path(folder)


def _mark(folder: str) -> Path:
    return Path(settings.HONE_DATA) / ROOM / f"{checked_path(folder)}.json"


def _staging(folder: str) -> Path:
    return _beside(folder, ".fetching")


def _beside(folder: str, end: str) -> Path:
    place = _place(folder)
    return place.with_name(f".{place.name}{end}")


def _remove_leftovers(folder: str, *, but: Path | None = None) -> None:
    """Of processes that were killed while they fetched or published the folder. The caller has locked it."""
    for place in (_staging(folder), scratch(folder)):
        if place != but:
            shutil.rmtree(place, ignore_errors=True)


def _list_name(folder: str) -> str:
    return f"folders/{checked_path(folder)}.json"


def _contents(folder: str) -> str:
    return f"files/{checked_path(folder)}"


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


@contextmanager
def _locked(folder: str, beat: Heartbeat, *, waits: bool = True) -> Iterator[None]:
    """One process of this host at a time publishes, fetches or removes a folder. Raises Busy for one that won't wait
    for the others."""
    path = _mark(folder).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waits:
                    raise Busy from None
                beat()
                time.sleep(WAIT_SECONDS)
        yield


def _paced(heartbeat: Heartbeat) -> Heartbeat:
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last >= HEARTBEAT_SECONDS:
            last = time.monotonic()
            heartbeat()

    return beat


stored_messages.register(
    {
        "storage_folder_changes": gettext_noop(
            "%(folder)s could not be published: its files changed while they were being read."
        ),
        "storage_file_missing": gettext_noop(
            "The storage lacks %(name)s of %(folder)s. Restore the bucket, or make the folder again."
        ),
        "storage_of_another": gettext_noop(
            "The storage %(location)s holds %(folder)s of another installation, which is not replaced. Give each "
            "installation a bucket or a prefix of its own (HONE_ARTEFACTS)."
        ),
        "storage_too_many_files": gettext_noop(
            "%(folder)s could not be published: a list of its %(count)s files would be longer than 64 MB."
        ),
        "disk_too_small_to_fetch": gettext_noop(
            "%(needed)s are to be fetched from the storage, and %(free)s of the disk are free for them. Free some "
            "space below the data folder, then start again."
        ),
        "storage_damaged": gettext_noop(
            "%(name)s of %(folder)s is damaged on the storage: its bytes are not those that were published."
        ),
    }
)
