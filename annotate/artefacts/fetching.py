"""What a folder's list names, downloaded: beside the folder, then put in its place."""

import errno
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from django.conf import settings

from annotate.artefacts import folder_lists, local_folders
from annotate.artefacts.bucket import Bucket, Heartbeat, fault
from annotate.artefacts.contents import StoredFile, copied
from annotate.artefacts.folder_lists import FolderList
from annotate.data.stored_messages import refusal


def download(
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
    path, mark = local_folders.path_of(folder), local_folders.mark_of(folder)
    wanted = {name: file for name, file in listed.files.items() if name in names}
    is_whole = wanted.keys() == listed.files.keys()
    staging = local_folders.staging_of(folder)
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
        local_folders.write(mark, done.as_json())
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
        found = storage.download(
            f"{folder_lists.contents_name(folder)}/{file.sha256}", copy, heartbeat=beat, most=file.bytes
        )
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
        for name, file in [*local_folders.files_of(path, without)]:
            if name not in wanted:
                file.unlink()
        for parent, _folders, _names in os.walk(path, topdown=False):
            below = Path(parent).relative_to(path).as_posix()
            if any(part.startswith(".") for part in Path(below).parts):
                continue  # a subfolder is being fetched beside its place
            if below != "." and not local_folders.is_left_out(below, without) and not os.listdir(parent):
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
