"""A training run on disk: the contract between the recipes, the command line and whoever watches the run.

run.json       stage, resolved settings, models (see model_places), data files with SHA-256, seed, library versions, git
               revision, threads, and which way each model that learns is computed (models_core.modeling.forward_check)
data/          the rows the run read, copied, so that it can be repeated
metrics.jsonl  one line a step
samples.jsonl  what a model in pretraining writes now and then, and a policy's responses to the same prompts
baseline.jsonl the reference model's responses, where responses are compared with that
reward_kl.svg  PPO's reward over its distance from the reference
tokenizer/     the tokenizer of a pretraining run
checkpoints/   see models_core.training.checkpoint
model/         the result in Hugging Face format
tensorboard/   event files, where HONE_TRACKERS asks for them (see trackers)
result.json    how it ended
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import math
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models_core.contract import atomic_write
from models_core.contract.errors import BadInput
from models_core.contract.rows import json_lines, prompt_identity
from models_core.contract.runs import model_places, processes, setting_differences, trackers
from models_core.contract.settings import Settings, renamed

GIT_SECONDS = 10
WITHOUT_EFFECT_ON_RESULT = (
    *("processes", "parallel", "max_tokens_per_forward", "rollout_server", "rollout_server_folder"),
)
VERSIONED = ("torch", "transformers", "peft", "tokenizers", "safetensors", "numpy")


class RunFolder:
    """The folder RUN of one run: `check`, `create` once all input is known to be good, `log`, and `finish` last."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.resumed = False
        self._document: dict[str, Any] = {}
        self._sources: dict[str, Path] = {}
        self._total = 0
        self._trackers: trackers.Trackers | None = None

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        return self.path / "samples.jsonl"

    @property
    def baseline(self) -> Path:
        return self.path / "baseline.jsonl"

    @property
    def reward_kl_plot(self) -> Path:
        return self.path / "reward_kl.svg"

    def check(
        self,
        *,
        stage: str,
        settings: Settings,
        models: Mapping[str, str],
        data: Mapping[str, Path],
        threads: int,
        resume: bool = False,
    ) -> None:
        """Find out whether this run may have the folder, and write nothing: model and rows are yet to be read.

        A folder that already holds a run is refused, unless `resume` is asked for and the run is the same one.
        Raises BadInput.
        """
        for name, path in data.items():
            if not Path(path).is_file():
                raise BadInput(f"The {name} file {path} does not exist.")
        document = {
            "stage": stage,
            "config": dataclasses.asdict(settings),
            "models": {role: model_places.stored(name) for role, name in models.items()},
            "data": {
                name: {"file": _stored_name(name, path), "sha256": file_sha256(path)} for name, path in data.items()
            },
            "seed": settings.seed,
        }
        if stage != "pretrain" and "evaluation" not in data and getattr(settings, "held_out", False):
            document["hold_out_version"] = prompt_identity.HOLD_OUT_VERSION
        previous = self._previous()
        if previous is not None:
            self._check_same(previous, document, resume=resume)
            self.resumed = True
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise BadInput(f"{self.path} exists and is not a run of this program; give another folder with --out.")
        self._document = document | {"threads": threads}
        self._sources = {name: Path(path) for name, path in data.items()}

    def note(self, name: str, value: Mapping[str, Any]) -> None:
        """Have run.json say more of the run than its settings; before `create`."""
        self._document |= {name: finite(dict(value))}

    def create(self) -> None:
        """Write run.json and copy the data files into the folder; nothing to do where the run is resumed."""
        if self.resumed or not processes.is_main():
            return
        (self.path / "data").mkdir(parents=True, exist_ok=True)
        for name, path in self._sources.items():
            copy = self.path / "data" / _stored_name(name, path)
            if not (copy.exists() and copy.samefile(path)):
                shutil.copyfile(path, copy)
        atomic_write.write_json(
            self.path / "run.json",
            self._document | {"versions": _versions(), "revision": _git_revision(), "started": time.time()},
        )

    def _previous(self) -> dict[str, Any] | None:
        path = self.path / "run.json"
        if not path.exists():
            return None
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return document | {"config": renamed.current(document.get("config") or {})}
        except (OSError, ValueError, TypeError, AttributeError):
            raise BadInput(f"{path} is damaged; give another folder with --out.") from None

    def _check_same(self, previous: dict[str, Any], document: dict[str, Any], *, resume: bool) -> None:
        if not resume:
            raise BadInput(f"{self.path} already holds a run; continue it with --resume or give another --out.")
        if (self.path / "result.json").exists():
            result = json.loads((self.path / "result.json").read_text(encoding="utf-8"))
            if result.get("status") == "succeeded":
                raise BadInput(f"The run in {self.path} is finished; there is nothing to resume.")
        if previous.get("hold_out_version") != document.get("hold_out_version"):
            raise BadInput(
                f"The run in {self.path} was begun by another version of this program, which held out other prompts: "
                "start a new run with another --out."
            )
        hashes = {name: entry["sha256"] for name, entry in document["data"].items()}
        before = {name: entry["sha256"] for name, entry in previous.get("data", {}).items()}
        models_before = model_places.as_stored_now(previous.get("models") or {}, document["models"])
        for what, old, new in [
            ("stage", previous.get("stage"), document["stage"]),
            ("models", models_before, document["models"]),
            ("data files", before, hashes),
            ("settings", _result_settings(previous.get("config")), _result_settings(document["config"])),
        ]:
            if old != new:
                difference = _difference(old, new)
                raise BadInput(
                    f"The run in {self.path} has other {what} ({difference}); --resume must be given the same ones."
                )

    def rewind(self, step: int) -> None:
        """Drop the metrics and samples after `step`, which a resumed run will write again."""
        if not processes.is_main():
            return
        for path in (self.metrics, self.samples, self.baseline):
            if not path.exists():
                continue
            kept = []
            for line in json_lines.parts(path.read_bytes().decode("utf-8", "replace")):
                row = json_lines.torn_or_whole(line)
                if row is not None and row.get("step", math.inf) <= step:
                    kept.append(line + "\n")
            atomic_write.write_text(path, "".join(kept))

    def log(self, step: int, **values: float | str | None) -> None:
        """Append one line of metrics and show it on standard error. A number that is not finite is stored as null."""
        if not processes.is_main():
            return
        row = {"step": step, "time": time.time()} | {name: finite(value) for name, value in values.items()}
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
        self._tracked(step).log(step, {name: row[name] for name in values})
        shown = "  ".join(f"{name} {_short(value)}" for name, value in row.items() if name not in ("step", "time"))
        of = f"/{self._total}" if self._total else ""
        print(f"step {step}{of}  {shown}", file=sys.stderr, flush=True)

    def _tracked(self, step: int) -> trackers.Trackers:
        if self._trackers is None:
            document = self._document
            self._trackers = trackers.Trackers(
                self.path, stage=document["stage"], config=document["config"], first_step=step if self.resumed else 0
            )
        return self._trackers

    def progress(self, done: int, total: int) -> None:
        """How far the run is, in steps, for whoever watches: progress.json, replaced atomically."""
        self._total = total
        if not processes.is_main():
            return
        atomic_write.write_json(self.path / "progress.json", {"done": done, "total": total, "time": time.time()})

    def finish(self, *, status: str, metrics: Mapping[str, Any]) -> None:
        """Write result.json. `sha256` covers the files of model/, by name."""
        digest = folder_sha256(self.model) if status == "succeeded" and self.model.is_dir() else None
        atomic_write.write_json(
            self.path / "result.json", {"status": status, "metrics": finite(dict(metrics)), "sha256": digest}
        )
        if self._trackers is not None:
            self._trackers.close(status)


def _result_settings(config: Any) -> Any:
    """Settings without those that say only how the result is computed: in which processes, in how large steps."""
    return {name: value for name, value in (config or {}).items() if name not in WITHOUT_EFFECT_ON_RESULT}


def _difference(before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        return setting_differences.between(before, now)
    return f"{setting_differences.value(before)} there, and {setting_differences.value(now)} here"


def finite(value: Any) -> Any:
    """The value as strict JSON can hold it: NaN and infinities become None, numpy's and torch's numbers plain ones."""
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def file_sha256(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha256(folder: Path) -> str:
    """One digest of a folder: over the lines "SHA-256  relative name" of its files, sorted by name."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _stored_name(name: str, path: str | Path) -> str:
    return name + Path(path).suffix


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in VERSIONED:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git_revision() -> str:
    """Of the code: a commit, with "-dirty" for changes that are in none; empty where it is no git checkout."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():  # never another project's, which an installed package lies in
        return ""
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True, text=True, timeout=GIT_SECONDS, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
