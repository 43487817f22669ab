"""The list of a published folder, and the names that its list and its contents have in the storage."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from django.conf import settings

from annotate.artefacts import local_folders
from annotate.artefacts.bucket import Bucket, fault
from annotate.artefacts.contents import MOST_NUMBER, StoredFile, checked_path

FORMAT = 1
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


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


def read_list(storage: Bucket, folder: str) -> FolderList | None:
    text = storage.read(list_name(folder))
    if text is None:
        return None
    try:
        return FolderList.parsed(text)
    except ValueError:
        raise fault("storage_damaged", folder=folder, name=list_name(folder)) from None


def read_mark(folder: str) -> FolderList | None:
    try:
        return FolderList.parsed(local_folders.mark_of(folder).read_bytes())
    except (OSError, ValueError):
        return None


def list_name(folder: str) -> str:
    return f"folders/{checked_path(folder)}.json"


def contents_name(folder: str) -> str:
    return f"files/{checked_path(folder)}"


def refuse_other(folder: str, listed: FolderList | None, owner: str) -> None:
    if listed is not None and not listed.is_of(owner):
        raise fault("storage_of_another", folder=folder, location=settings.HONE_ARTEFACTS)


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
