"""Fetches the data files of a Hub's repository into a folder, of one commit, within limits of size."""

import errno
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from django.utils.translation import gettext as _

from annotate.data.hub import hub_client
from annotate.data.hub.hub_files import LARGEST_IN_ALL, HubSource, chosen
from annotate.errors import Refused

BLOCK = 2**20
TIMEOUT = 60.0
"""Seconds without a byte after which a file counts as not delivered."""
RESERVED = 2 * 2**30
"""Bytes of the disk that stay free."""
Heartbeat = Callable[[int, int], None]
"""(bytes fetched, bytes in all as far as they are known); it may raise to end the fetching."""


@contextmanager
def fetched(source: HubSource, scratch: Path, *, heartbeat: Heartbeat) -> Iterator[Path]:
    """A folder of the files, which goes afterwards. Raises Refused."""
    folder = scratch / secrets.token_hex(16)
    try:
        fetch(source, folder, heartbeat=heartbeat)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fetch(source: HubSource, folder: Path, *, heartbeat: Heartbeat) -> tuple[str, int]:
    """Put the files in a folder that isn't there yet; the commit that they are of, and their bytes. Raises Refused, and
    no folder is left."""
    token = hub_client.token_in(source.token_variable)
    api = hub_client.api(token)
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with hub_client.refusals(source.repository, token=token, revision=source.revision):
            heartbeat(0, 0)
            info = api.dataset_info(
                source.repository, revision=source.revision or None, files_metadata=True, timeout=TIMEOUT
            )
            sizes = {file.rfilename: file.size for file in info.siblings or [] if _is_plain(file.rfilename)}
            card: Any = info.card_data.to_dict() if info.card_data is not None else {}
            names = chosen(source, sizes, card)
            commit = str(info.sha or source.revision or "main")
            total = sum(sizes[name] or 0 for name in names)
            partial.mkdir(mode=0o700, parents=True)
            _check_room(partial, total)
            fetched = 0
            for name in names:
                fetched = _download(source, name, commit, token, partial / name, fetched, total, heartbeat)
        partial.rename(folder)
    except OSError as error:
        raise Refused(
            _("The data set can’t be kept: %(reason)s. Nothing was imported.")
            % {"reason": error.strerror or type(error).__name__},
            status=507,
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return commit, fetched


def _is_plain(name: str) -> bool:
    """Whether a name stays below the folder that it is written to."""
    parts = name.split("/")
    return bool(name) and not {"", ".", ".."} & set(parts) and "\\" not in name and "\0" not in name


def _check_room(folder: Path, total: int) -> None:
    if shutil.disk_usage(folder).free < total + RESERVED:
        raise OSError(errno.ENOSPC, _("there is no room on the disk"))


def _download(
    source: HubSource,
    name: str,
    commit: str,
    token: str,
    path: Path,
    fetched: int,
    total: int,
    heartbeat: Heartbeat,
) -> int:
    """Write one file; the bytes that there are then in all."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    address = hf_hub_url(source.repository, name, repo_type="dataset", revision=commit, endpoint=hub_client.endpoint())
    headers = build_hf_headers(token=token or False) | {"Accept-Encoding": "identity"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with get_session().stream("GET", address, headers=headers, timeout=TIMEOUT) as reply, path.open("xb") as file:
        if reply.status_code >= 400:
            reply.read()
        hf_raise_for_status(reply)
        expected = reply.headers.get("Content-Length", "")
        before = fetched
        for block in reply.iter_raw(BLOCK):
            fetched += len(block)
            if fetched > LARGEST_IN_ALL:
                raise Refused(
                    _("The files of %(repository)s are larger than %(size)d GB in all.")
                    % {"repository": source.repository, "size": LARGEST_IN_ALL // 2**30}
                )
            file.write(block)
            heartbeat(fetched, total)
    if expected.isdecimal() and fetched - before != int(expected):
        raise Refused(
            _("The Hub broke the connection off within %(file)s. Nothing was imported.")
            % {"file": PurePosixPath(name).name}
        )
    return fetched
