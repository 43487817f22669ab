"""Measure a version on an uploaded file: a run, for which the file is checked as far as that is cheap, and kept.

A reward model is measured on rankings and pairs, a language model on demonstrations and text (docs/evaluation.md).
"""

import logging
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils.translation import gettext as _

from annotate.artefacts import local_folders
from annotate.artefacts.bucket import StorageFault
from annotate.data import uploads
from annotate.errors import Refused
from annotate.formats import files
from annotate.formats.files.byte_streams import GZIP_MAGIC, BadFile
from annotate.models import User
from models_core.contract.errors import BadInput, RowError
from models_core.contract.rows import records, row_parser
from models_core.contract.runs.run_folder import file_sha256
from rlhf.models import ModelVersion, RunInput, Stage, TrainingRun
from rlhf.runs import runs
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.storage import run_artefacts

log = logging.getLogger(__name__)

LARGEST = 64 * 2**20
LARGEST_UNFOLDED = 256 * 2**20
"""Bytes that a gzipped file may hold: the rows are in the memory of the run."""
SUFFIXES = (".jsonl", ".json", ".txt")
GZIP = ".gz"
ACCEPTED = (*SUFFIXES, *(suffix + GZIP for suffix in SUFFIXES))
LONGEST_NAME = 120
"""Bytes of a file's name without its suffix."""
SAMPLE_BYTES = BLOCK = 2**20


@dataclass(frozen=True, kw_only=True)
class KeptFile:
    """An uploaded file, unpacked, in a folder of its own; `sha256` of what it holds."""

    version: ModelVersion
    path: Path
    sha256: str
    moved: list[TrainingRun] = field(default_factory=list)
    """The run that it was moved to, which may be rolled back yet."""


def start(version: ModelVersion, *, file: UploadedFile, config: Mapping[str, Any], by: User | None) -> TrainingRun:
    """Queue the measurement. Raises Refused for a file that can't be measured on, settings and limits."""
    with kept_file(version, file) as kept:
        run = enqueue(kept, config=config, by=by)
    publish(run)
    return run


@contextmanager
def kept_file(version: ModelVersion, file: UploadedFile) -> Iterator[KeptFile]:
    """The file as it will be measured on, written and checked; what nobody moved elsewhere is removed. Raises Refused.

    Nothing of it takes the lock of the database: to write and hash a file takes a second.
    """
    given = file_name(file.name or "")
    if (file.size or 0) > LARGEST:
        raise _too_large()
    # What a killed process leaves there is removed (annotate.data.uploads.remove_forgotten).
    path = settings.HONE_DATA / uploads.FOLDER / secrets.token_hex(16) / given
    try:
        uploads.write(file, path)
        if path.suffix == GZIP:
            path = _unfolded(path)
        sha256 = file_sha256(path)
        check(path, version)
        kept = KeptFile(version=version, path=path, sha256=sha256)
        try:
            yield kept
        except BaseException:
            _remove_what_no_run_has(kept)
            raise
    except OSError as error:
        raise Refused(
            _("The file can’t be kept: %(reason)s. Nothing was started.") % {"reason": error.strerror or error},
            status=507,
        ) from None
    finally:
        shutil.rmtree(path.parent, ignore_errors=True)


def _too_large() -> Refused:
    return Refused(
        _("The file is larger than %(size)s MB. Measure on a part of it, or by the command evaluate.")
        % {"size": LARGEST // 2**20},
        status=413,
    )


def _unfolded(packed: Path) -> Path:
    """The file beside it that a gzipped one holds; the packed one is removed. Raises Refused."""
    target, size = packed.with_suffix(""), 0
    with packed.open("rb") as file:
        if file.read(len(GZIP_MAGIC)) != GZIP_MAGIC:
            raise Refused(
                _("%(file)s is not compressed by gzip, as its name says.") % {"file": packed.name}, status=400
            )
    with target.open("wb") as out:
        for block in _blocks(packed):
            size += len(block)
            if size > LARGEST_UNFOLDED:
                raise Refused(
                    _("%(file)s holds more than %(size)s MB. Measure on a part of it, or by the command evaluate.")
                    % {"file": packed.name, "size": LARGEST_UNFOLDED // 2**20},
                    status=413,
                )
            out.write(block)
    packed.unlink()
    return target


def _blocks(packed: Path) -> Iterator[bytes]:
    try:
        with files.opened(packed) as content:
            while block := content.read(BLOCK):
                yield block
    except BadFile as error:
        raise Refused(str(error), status=400) from None


def file_name(given: str) -> str:
    """The base name, as every file system holds it. Raises Refused for another suffix than ACCEPTED."""
    base = given.replace("\\", "/").rpartition("/")[2]
    name = "".join(letter for letter in base if letter.isprintable())
    packed = GZIP if name.lower().endswith(GZIP) else ""
    stem, dot, suffix = name[: len(name) - len(packed)].rpartition(".")
    if f"{dot}{suffix.lower()}" not in SUFFIXES:
        raise Refused(_("Choose a file of one of these kinds: %(kinds)s.") % {"kinds": ", ".join(ACCEPTED)}, status=400)
    short = stem.strip(" .").encode("utf-8", "ignore")[:LONGEST_NAME].decode("utf-8", "ignore")
    return f"{short or 'file'}.{suffix.lower()}{packed}"


def check(path: Path, version: ModelVersion) -> None:
    """By its beginning alone. Raises Refused (400) for a file that the version can't be measured on."""
    is_reward = version.kind == ModelVersion.Kind.REWARD
    if path.suffix == ".txt":
        if is_reward:
            raise Refused(_("A reward model is measured on rankings or pairs, in JSON lines, not on text."), status=400)
        _check_text(path)
        return
    try:
        number, row = next(row_parser.rows(path), (0, None))
    except BadInput as error:
        raise Refused(str(error), status=400) from None
    if row is None:
        raise _empty(path)
    is_text = "text" in row and "prompt" not in row
    try:
        if is_reward:
            records.ranking(row)
        elif not is_text:
            records.demonstration(row)
    except RowError as error:
        where = {"file": path.name, "line": number, "reason": error}
        raise Refused((_of_no_reward_model() if is_reward else _of_no_language_model()) % where, status=400) from None


def _of_no_reward_model() -> str:
    return _(
        "%(file)s, line %(line)s: a reward model is measured on rankings, or on pairs of a chosen and a rejected "
        "response, and this is neither (%(reason)s)."
    )


def _of_no_language_model() -> str:
    return _(
        "%(file)s, line %(line)s: a language model is measured on text, or on prompts with a response, and this is "
        "neither (%(reason)s)."
    )


def _check_text(path: Path) -> None:
    with path.open("rb") as file:
        prefix = file.read(SAMPLE_BYTES)
    if not prefix.strip():
        raise _empty(path)
    if b"\0" in prefix:
        raise Refused(_("%(file)s is no text in UTF-8.") % {"file": path.name}, status=400)


def _empty(path: Path) -> Refused:
    return Refused(_("%(file)s is empty.") % {"file": path.name}, status=400)


def enqueue(kept: KeptFile, *, config: Mapping[str, Any], by: User | None) -> TrainingRun:
    """Who finds the run finds its file: it is moved before the row can be seen. Raises Refused."""
    runs.refuse_too_many(kept.version.project)
    with transaction.atomic():
        run = runs.enqueue(
            project=kept.version.project,
            stage=Stage.BENCHMARK,
            config=config,
            options={"file": kept.path.name, "sha256": kept.sha256},
            inputs={RunInput.Role.MODEL: kept.version},
            by=by,
        )
        run_files = RunFiles(run)
        kept.moved.append(run)
        run_files.make()
        kept.path.replace(run_files.inputs / kept.path.name)
    return run


def _remove_what_no_run_has(kept: KeptFile) -> None:
    """The transaction of the run may be a larger one that failed after it."""
    for run in kept.moved:
        if not TrainingRun.objects.filter(pk=run.pk).exists():
            shutil.rmtree(RunFiles(run).path, ignore_errors=True)


def publish(run: TrainingRun) -> None:
    """Let workers of other hosts have the file."""
    try:
        run_artefacts.publish_inputs(RunFiles(run), heartbeat=local_folders.silent)
    except (StorageFault, OSError) as error:  # a worker of this host needs none, and publishes it too
        log.warning("The file of run %s could not be published: %s", run.pk, error)
