"""The folders of runs on the storage of HONE_ARTEFACTS, where there is one (annotate.artefacts.folders).

runs/ID                     what the pages show, and what a resumed run reads, but:
runs/ID/inputs              files made for the run
runs/ID/run/checkpoints
runs/ID/run/model           and adapter, lora: a version's files, which never change

Their lists say of which run they are, since a bucket may hold folders of another database's run of the same number.
"""

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

from django.conf import settings

from annotate.artefacts import folders, local_folders
from annotate.artefacts.bucket import Heartbeat, StorageFault
from annotate.artefacts.publishing import Hashes
from annotate.errors import Refused
from rlhf.models import ModelVersion, TrainingRun
from rlhf.runs.execution.run_files import CHECKPOINT_NAME, RunFiles

log = logging.getLogger(__name__)

INPUTS, CHECKPOINTS = "inputs", "run/checkpoints"
MODEL_FOLDERS = ("run/adapter", "run/lora", "run/model")
OWN = (INPUTS, CHECKPOINTS, *MODEL_FOLDERS)
RESULT = "run/result.json"
"""Published when the run's model is: whoever finds it goes on with storing the model."""
SHOWN = frozenset(
    {
        *("log.txt", "judgments.jsonl.partial", "report.json", "system/metrics.jsonl"),
        *("run/run.json", "run/report.json", "run/samples.jsonl", "run/reward_kl.svg", RESULT),
    }
)
"""What pages read."""
PUBLISH_SECONDS = 30.0
LINK_TRIES = 5
LOOK_AGAIN_SECONDS = 10.0
LOOK_AGAIN_AT_ENDED_SECONDS = 600.0
AWAY_SECONDS = 30.0


def fetch(files: RunFiles, *, heartbeat: Heartbeat) -> None:
    """Before an attempt: what one on another host has left, unless this host went on since. Raises StorageFault."""
    for name in ("", INPUTS, CHECKPOINTS):
        without = OWN if not name else ()
        folders.ensure(_folder(files, name), without=without, is_current=False, heartbeat=heartbeat, owner=files.owner)


def publish_inputs(files: RunFiles, *, heartbeat: Heartbeat) -> None:
    """Before the process starts: one on another host must get the same files. Raises StorageFault.

    heartbeat: renews the run's lease, and raises for whoever lost it before anything is replaced.
    """
    if files.inputs.is_dir():
        folders.publish(_folder(files, INPUTS), heartbeat=heartbeat, before_list=heartbeat, owner=files.owner)


def publish_result(files: RunFiles, *, heartbeat: Heartbeat) -> None:
    """All that a run has made, the model before the files that say so. Raises StorageFault.

    heartbeat: renews the run's lease, and raises for whoever lost it before anything is replaced or removed.
    """
    for name in (INPUTS, CHECKPOINTS):  # of which a run that has succeeded keeps what it needs
        if not (files.path / name).is_dir():
            folders.remove(_folder(files, name), before=heartbeat, owner=files.owner)
    for name in (*MODEL_FOLDERS, CHECKPOINTS):
        if (files.path / name).is_dir():
            folders.publish(_folder(files, name), heartbeat=heartbeat, before_list=heartbeat, owner=files.owner)
    folders.publish(_folder(files), without=OWN, heartbeat=heartbeat, before_list=heartbeat, owner=files.owner)


class Progress:
    """Publishes what a run has so far, in a thread, so that another host can go on from its newest checkpoint.

    is_held: whether the run's lease may still last, called before anything is replaced.
    """

    def __init__(self, files: RunFiles, *, is_held: Callable[[], bool]) -> None:
        self._files, self._is_held = files, is_held
        self._name = files.relative
        self._hashes: Hashes = {}
        self._thread: threading.Thread | None = None
        self._last, self._step = time.monotonic(), files.checkpoint_step()
        self._is_over = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, error: type[BaseException] | None, *others: object) -> None:
        self._is_over = error is not None

    def look(self) -> None:
        """Begin, if a checkpoint is new or the last time is long ago."""
        if not folders.is_on() or (self._thread is not None and self._thread.is_alive()):
            return
        step = self._files.checkpoint_step()
        if step != self._step or time.monotonic() - self._last > PUBLISH_SECONDS:
            self._last, self._step = time.monotonic(), step
            self._thread = threading.Thread(target=self.publish, daemon=True)
            self._thread.start()

    def wait(self, *, heartbeat: Heartbeat) -> None:
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout=1.0)
            heartbeat()

    def publish(self, *, heartbeat: Heartbeat = local_folders.silent) -> None:
        """A fault is for the log: the run goes on."""
        if not folders.is_on():
            return
        try:
            self._publish(heartbeat)
        except (StorageFault, OSError, _NotHeld) as error:
            log.warning("Run folder %s could not be published: %s", self._name, error)

    def _publish(self, heartbeat: Heartbeat) -> None:
        # The checkpoints are held before the files are read: a resumed run cuts its metrics back to its checkpoint, and
        # can't make up for missing ones. Without the checkpoint it would have to begin anew, so a fault of the files
        # keeps no checkpoint from being published.
        with _held(self._files) as checkpoints, ExitStack() as afterwards:
            try:
                folders.publish(
                    _folder(self._files), without=OWN, selection=lambda name: name != RESULT, heartbeat=heartbeat,
                    before_list=self._check, hashes=self._hashes, owner=self._files.owner,
                )  # fmt: skip
            except (StorageFault, OSError) as error:
                afterwards.callback(_raise, error)
            if checkpoints is not None:
                folders.publish(
                    _folder(self._files, CHECKPOINTS), source=checkpoints, heartbeat=heartbeat,
                    before_list=self._check, hashes=self._hashes, owner=self._files.owner,
                )  # fmt: skip

    def _check(self) -> None:
        if self._is_over or not self._is_held():
            raise _NotHeld("another worker may have taken the run over")


@contextmanager
def _held(files: RunFiles) -> Iterator[Path | None]:
    """Links to the checkpoints as they are now, which stay when the training replaces them; None where none is."""
    place = local_folders.scratch(_folder(files, CHECKPOINTS))
    try:
        yield place if any(_link_all(files.checkpoints, place) for _try in range(LINK_TRIES)) else None
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _link_all(checkpoints: Path, place: Path) -> bool:
    """Whether there are checkpoints, and none of them went meanwhile."""
    shutil.rmtree(place, ignore_errors=True)
    try:
        before = _names(checkpoints)
        for name in before:
            shutil.copytree(checkpoints / name, place / name, copy_function=os.link)
        return bool(before) and _names(checkpoints) == before == _names(place)
    except (OSError, shutil.Error):
        return False


def _names(folder: Path) -> dict[str, set[str]]:
    """{checkpoint: its files}"""
    found = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return {path.name: {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()} for path in found}


class _NotHeld(Exception):
    pass


def _raise(error: Exception) -> None:
    raise error


def fetch_model(version: ModelVersion, *, heartbeat: Heartbeat = local_folders.silent) -> None:
    """Bring the files of a version to this host, unless they are here as they were published last: a run whose worker
    was lost may have left others. Raises StorageFault."""
    if folders.is_on() and version.folder and not folders.is_newest(version.folder):
        for folder in model_folders(version):
            folders.ensure(folder, is_current=False, heartbeat=heartbeat, owner=_owner(version))


def model_folders(version: ModelVersion) -> list[str]:
    """Below the data folder, model/ last: a model without what belongs to it is another one."""
    model = PurePosixPath(version.folder)
    return [str(model.with_name(name)) for name in ("adapter", "lora")] + [version.folder] if version.folder else []


def model_sizes(version: ModelVersion) -> list[tuple[str, int]]:
    """(name, bytes) of the files of a version that are not on this host. Raises StorageFault."""
    found = []
    for folder in reversed(model_folders(version)):
        if (listed := folders.published(folder)) is not None:
            base = PurePosixPath(folder).name
            found += [(f"{base}/{name}", file.bytes) for name, file in sorted(listed.files.items())]
    return found


def remove_model(version: ModelVersion) -> None:
    """From the storage. Idempotent. Raises StorageFault."""
    for folder in reversed(model_folders(version)):
        folders.remove(folder, owner=_owner(version))


def _owner(version: ModelVersion) -> str:
    run: TrainingRun | None = getattr(version, "run", None)  # an imported one has none
    return RunFiles(run).owner if run is not None else ""


def remove_checkpoints(run: TrainingRun) -> None:
    """From the storage. Idempotent. Raises StorageFault."""
    files = RunFiles(run)
    folders.remove(_folder(files, CHECKPOINTS), owner=files.owner)


def checkpoint_sizes() -> dict[int, int]:
    """{run: bytes} of the checkpoints on the storage. Raises StorageFault."""
    found = {}
    for folder, size in folders.sizes_below("runs").items():
        number, _, name = folder.removeprefix("runs/").partition("/")
        if name.startswith(CHECKPOINTS) and number.isdecimal():
            found[int(number)] = size
    return found


def checkpoint_step(run: TrainingRun) -> int | None:
    """Step of the newest checkpoint, here or on the storage. Raises StorageFault."""
    files = RunFiles(run)
    here = files.checkpoint_step()
    if here is not None or (listed := folders.published(_folder(files, CHECKPOINTS), owner=files.owner)) is None:
        return here
    steps = [CHECKPOINT_NAME.fullmatch(name.partition("/")[0]) for name in listed.files]
    return max((int(found[1]) for found in steps if found), default=None)


def size_of(run: TrainingRun, name: str) -> int | None:
    """Bytes of a file of the run, here or on the storage; None where there is none. Raises StorageFault."""
    files = RunFiles(run)
    path = files.path / name
    if path.is_file():
        return path.stat().st_size
    listed = folders.published(_folder(files), owner=files.owner)
    return listed.files[name].bytes if listed is not None and name in listed.files else None


def fetch_file(run: TrainingRun, name: str) -> Path:
    """Where a file of the run is on this host, fetched if need be. Raises StorageFault."""
    files = RunFiles(run)
    path = files.path / name
    if not path.is_file():
        folders.ensure(
            _folder(files), without=OWN, is_current=False, selection=lambda other: other == name, owner=files.owner
        )
    return path


def remove_file(run: TrainingRun, name: str) -> None:
    """From the storage and this host. Idempotent. Raises StorageFault."""
    files = RunFiles(run)
    folders.drop(_folder(files), name, owner=files.owner)
    (files.path / name).unlink(missing_ok=True)


def resumed_at(run: TrainingRun) -> int | None:
    """checkpoint_step for a page: while the storage is away, of what is here."""
    try:
        return checkpoint_step(run)
    except StorageFault as error:
        log.warning("The checkpoints of run %s could not be looked for: %s", run.pk, error)
        return None


_looked: dict[tuple[Path, str, bool], float] = {}
_away_until = 0.0


def shown(run: TrainingRun) -> RunFiles:
    """The run's files, of those that pages read the published ones. While the storage is away or the disk
    is full, what is here."""
    global _away_until
    files = RunFiles(run)
    now = time.monotonic()
    key = (files.path, settings.HONE_ARTEFACTS, run.ended)
    pause = LOOK_AGAIN_AT_ENDED_SECONDS if run.ended else LOOK_AGAIN_SECONDS
    if not folders.is_on() or now < _away_until or now - _looked.get(key, now - pause) < pause:
        return files
    try:
        folders.ensure(
            _folder(files), without=OWN, is_current=False, selection=SHOWN.__contains__, owner=files.owner, waits=False
        )
        if len(_looked) > 10_000:
            _looked.clear()
        _looked[key] = now
    except local_folders.Busy:  # somebody downloads a large file of it: no page waits for that
        pass
    except Refused as error:  # of the storage, or for want of room: pages show what is here
        log.warning("The files of run %s could not be fetched: %s", run.pk, error)
        _away_until = now + AWAY_SECONDS
    return files


def _folder(files: RunFiles, name: str = "") -> str:
    relative = files.path.relative_to(settings.HONE_DATA).as_posix()
    return f"{relative}/{name}" if name else relative
