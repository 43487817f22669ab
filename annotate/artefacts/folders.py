"""Folders of the data folder, published to the storage of HONE_ARTEFACTS and fetched from there by other hosts.

    PREFIX/files/FOLDER/SHA256     a file's bytes; a folder's content lies below its own name, and goes with it
    PREFIX/folders/FOLDER.json     the folder's list: {path in it: hash, bytes, time of change}, and an id

A folder is there when its list is, which is written last. On a host it lies where it would without storage, below the
data folder; HONE_DATA/.artefacts/FOLDER.json is the list that it was published or fetched with. What is being fetched
lies beside its place, under a name with a dot, since folders of the data folder may be mounts of their own. Without
HONE_ARTEFACTS nothing here does anything: all hosts then share the data folder itself.
"""

import errno
import os
import uuid
from collections.abc import Callable, Collection
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext_noop

from annotate.artefacts import bucket, fetching, folder_lists, local_folders, publishing
from annotate.artefacts.bucket import Bucket, Heartbeat, StorageAway, StorageFault, fault
from annotate.artefacts.folder_lists import FolderList
from annotate.artefacts.local_folders import silent
from annotate.artefacts.publishing import Hashes, Selection
from annotate.data import stored_messages

TRIES = 3


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
    path = source or local_folders.path_of(folder)
    if not path.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    beat = local_folders.paced(heartbeat)
    with local_folders.locked(folder, beat):
        local_folders.remove_leftovers(folder, but=source)
        if owner:  # before anything is uploaded to the place of another's files
            folder_lists.refuse_other(folder, folder_lists.read_list(bucket.current(), folder), owner)
        for _try in range(TRIES):
            try:
                known = {} if hashes is None else hashes
                return publishing.upload(folder, path, without, selection, beat, before_list, known, owner)
            except (publishing.Changed, FileNotFoundError):
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
    path = local_folders.path_of(folder)
    if not is_on() or (is_current and selection is None and is_here(folder)):
        return path
    beat = local_folders.paced(heartbeat)
    with local_folders.locked(folder, beat, waits=waits):
        local_folders.remove_leftovers(folder)
        storage = bucket.current()
        beat()
        listed = folder_lists.read_list(storage, folder)
        for left in reversed(range(TRIES)):
            beat()
            if listed is None or not listed.is_of(owner):
                return path
            here = folder_lists.read_mark(folder)
            if here is None or here.id != listed.id or not path.is_dir():
                here = None
            wanted = {name for name in listed.files if selection is None or selection(name)}
            if here is not None and (here.is_whole or (selection is not None and wanted <= here.files.keys())):
                return path
            try:
                fetching.download(storage, folder, listed, without, wanted, beat, earlier=here)
                return path
            except StorageFault as error:
                before, listed = listed, folder_lists.read_list(storage, folder)
                if not left or listed == before or (error.message or {}).get("code") != "storage_file_missing":
                    raise  # else it was published again while it was read
    return path


def is_here(folder: str) -> bool:
    """Whether this host has the whole folder as it published or fetched it."""
    return (
        local_folders.path_of(folder).is_dir()
        and (here := folder_lists.read_mark(folder)) is not None
        and here.is_whole
    )


def is_newest(folder: str) -> bool:
    """Whether this host has the whole folder as it was published last; while the storage is away, whether it has it."""
    if not is_here(folder):
        return False
    try:
        listed = published(folder)
    except StorageAway:
        return True
    here = folder_lists.read_mark(folder)
    return listed is None or (here is not None and here.id == listed.id)


def published(folder: str, *, owner: str = "") -> FolderList | None:
    """What the storage has of the owner's folder; None where it has none, and without storage. Raises StorageFault."""
    listed = folder_lists.read_list(bucket.current(), folder) if is_on() else None
    return listed if listed is not None and listed.is_of(owner) else None


def remove(folder: str, *, before: Callable[[], None] = silent, owner: str = "") -> None:
    """Remove a folder from the storage, its list first. Idempotent; what is on this host stays, and so does a folder of
    another owner. Raises StorageFault.

    before: called first; what it raises leaves the folder as it was.
    """
    if not is_on():
        return
    with local_folders.locked(folder, silent):
        before()
        local_folders.remove_leftovers(folder)
        storage = bucket.current()
        if owner and not _may_remove(storage, folder, owner):
            return
        storage.delete([folder_lists.list_name(folder)])
        contents = folder_lists.contents_name(folder)
        storage.delete(f"{contents}/{name}" for name in storage.sizes(contents))
        local_folders.mark_of(folder).unlink(missing_ok=True)


def drop(folder: str, name: str, *, owner: str = "") -> None:
    """Remove a file of a folder from the storage. Idempotent; the file on this host stays. Raises StorageFault."""
    if not is_on():
        return
    with local_folders.locked(folder, silent):
        storage = bucket.current()
        listed = folder_lists.read_list(storage, folder)
        if listed is None or name not in listed.files or not listed.is_of(owner):
            return
        left = {other: file for other, file in listed.files.items() if other != name}
        # The id stays: who has fetched the folder has no need to fetch it again.
        storage.write(
            folder_lists.list_name(folder), FolderList(id=listed.id, files=left, owner=listed.owner).as_json()
        )
        gone = listed.files[name].sha256
        if gone not in {file.sha256 for file in left.values()}:
            storage.delete([f"{folder_lists.contents_name(folder)}/{gone}"])


def sizes_below(folder: str) -> dict[str, int]:
    """{folder: bytes} of what the storage has of the folders below one; {} without storage. Raises StorageFault."""
    if not is_on():
        return {}
    below = bucket.current().sizes_below(folder_lists.contents_name(folder))
    return {f"{folder}/{name}": size for name, size in below.items()}


def start_of(folder: str, name: str, size: int) -> bytes | None:
    """The first bytes of a published file; None where there is none. Raises StorageFault."""
    listed = published(folder)
    if listed is None or name not in listed.files:
        return None
    return bucket.current().read_start(f"{folder_lists.contents_name(folder)}/{listed.files[name].sha256}", size)


def probe() -> None:
    """Write, read, list and delete an object. Raises StorageFault."""
    storage = bucket.current()
    name = f"probes/{uuid.uuid4().hex}"
    storage.write(f"{name}/probe", b"probe")
    if storage.read(f"{name}/probe") != b"probe" or list(storage.sizes(name)) != ["probe"]:
        raise fault("storage_damaged", folder=name, name="probe")
    storage.delete([f"{name}/probe"])


def _may_remove(storage: Bucket, folder: str, owner: str) -> bool:
    try:
        listed = folder_lists.read_list(storage, folder)
    except StorageFault as error:
        if (error.message or {}).get("code") != "storage_damaged":
            raise
        return True  # nobody can read it
    return listed is None or listed.is_of(owner)


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
