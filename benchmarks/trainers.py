"""A step of TRL's trainers on each fitting export, and plain transformers on each model of ours.

`python -m benchmarks trainers --peer ENV/bin/python`: a small project is exported in every format that a trainer of TRL
takes, and RewardTrainer, DPOTrainer, SFTTrainer and KTOTrainer make one step on each file, which `datasets` reads; then
a policy, an SFT model, a reward model and a DPO model that were trained here for a step are loaded by transformers'
own classes. Each is a process of ENV, which has TRL and nothing of Hone. The table says which worked; the last line is
one JSON object: {"steps": {"DPOTrainer on trl": {"rows", "loss"}, ...}, "models": {"sft": {"class", "finite"}, ...},
"failed": []}. `--model` names a model in place of a random one of a few thousand parameters.

ENV is an environment of its own: `python -m venv ENV && ENV/bin/pip install torch==2.13.0 transformers trl datasets`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PEER = Path(__file__).with_name("trl_step.py")
ROOT = Path(__file__).parents[1]
FITTING = {
    "reward": ("rankings", ["trl", "trl_text", "hh", "rewardbench"]),
    "dpo": ("rankings", ["trl", "trl_text", "hh", "rewardbench"]),
    "sft": ("demonstrations", ["trl", "trl_text"]),
    "kto": ("rankings", ["kto"]),
}
"""{trainer: (kind of snapshot, formats whose columns it takes as they are)}."""
NAMES = {"reward": "RewardTrainer", "dpo": "DPOTrainer", "sft": "SFTTrainer", "kto": "KTOTrainer"}
STEP = ["--set", "epochs=1", "--set", "precision=fp32", "--set", "max_length=256", "--device", "cpu"]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks trainers", description=__doc__)
    parser.add_argument("--peer", type=Path, required=True, metavar="PYTHON", help="Python that has TRL")
    parser.add_argument("--model", metavar="M", help="a model folder; a tiny random one otherwise")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hone-trainers-") as folder:
        figures = compared(chosen, Path(folder))
    print(json.dumps(figures))
    return 1 if figures["failed"] else 0


def compared(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    exports(folder / "data", folder / "exports")
    model = chosen.model or str(_tiny(folder / "tiny"))
    figures: dict[str, Any] = {"steps": {}, "models": {}, "failed": []}
    for trainer, (kind, formats) in FITTING.items():
        for format in formats:
            name = f"{NAMES[trainer]} on {format}"
            found = _asked(chosen.peer, [trainer, model, str(folder / "exports" / f"{kind}.{format}.jsonl")])
            _keep(figures, "steps", name, found)
    for kind, path in models(folder, model).items():
        _keep(figures, "models", kind, _asked(chosen.peer, ["load", str(path), kind]))
    return figures


def _keep(figures: dict[str, Any], part: str, name: str, found: Mapping[str, Any]) -> None:
    if "error" in found or found.get("finite") is False:
        figures["failed"].append(name)
    figures[part][name] = found
    said = ", ".join(
        f"{what} {value:.4f}" if isinstance(value, float) else f"{what} {value}" for what, value in found.items()
    )
    print(f"{name:<32}{said}", flush=True)


def _asked(python: Path, arguments: list[str]) -> dict[str, Any]:
    """The JSON of the peer's last line, or {"error": the last line of what it said}.

    -P: beside the script are modules of names that transformers looks for, `kernels` among them.
    """
    done = subprocess.run(
        [str(python), "-P", str(PEER), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
    )
    if done.returncode:
        return {"error": (done.stderr.strip().split("\n") or [""])[-1][:300]}
    found: dict[str, Any] = json.loads(done.stdout.strip().split("\n")[-1])
    return found


def _tiny(folder: Path) -> Path:
    from tests.models_core.tiny import make_tiny_model

    return make_tiny_model(folder)


def models(folder: Path, base: str) -> dict[str, Path]:
    """Models that our recipes make in a step or two of the same exports: {what it is: its folder}."""
    given = folder / "exports"
    trained = {"policy": Path(base)}
    for recipe, kind in (("sft", "demonstrations"), ("reward", "rankings"), ("dpo", "rankings")):
        out = folder / recipe
        data = ["--data", str(given / f"{kind}.hone.jsonl"), "--out", str(out)]
        command = [sys.executable, "-m", "models_core", recipe, "--model", base, *data, *STEP]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        trained[recipe] = out / "model"
    return trained


def exports(data: Path, out: Path) -> None:
    """Files of a small project, KIND.FORMAT.jsonl. In a process of its own: settings are read once in a process."""
    data.mkdir()
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", "HONE_DATA": str(data)}
    command = [sys.executable, "-m", "benchmarks.trainers", str(out)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)


def rows() -> list[dict[str, Any]]:
    """Rankings with a tie and without, a chat, and demonstrations."""
    found: list[dict[str, Any]] = []
    for number in range(12):
        prompt = f"Name fruit number {number}."
        texts = ["An apple, red and round.", "A pear.", "Bread", "No."]
        ranks = [1, 2, 3, 3 if number % 3 else 4]
        responses = [{"text": text, "rank": rank} for text, rank in zip(texts, ranks, strict=True)]
        found.append({"prompt": prompt, "responses": responses, "lang": "en", "use_case": "generation"})
        found.append({"prompt": prompt, "response": f"Fruit {number} is a plum.", "lang": "en"})
    chat = [
        {"role": "user", "content": "Name a stone."},
        {"role": "assistant", "content": "Flint."},
        {"role": "user", "content": "Another?"},
    ]
    found.append({"prompt": chat, "chosen": "Granite.", "rejected": "Wood.", "lang": "en"})
    found.append({"prompt": chat, "response": "Slate.", "lang": "en"})
    return found


def export_all(out: Path) -> None:
    from django.core.management import call_command

    from annotate.data import snapshots
    from annotate.data.imports import import_file
    from annotate.models import Project

    call_command("migrate", verbosity=0)
    project = Project.objects.create(slug="bench", name="Bench", responses_per_task=4)
    out.mkdir()
    given = out / "rows.jsonl"
    given.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    import_file(project=project, path=given, by=None)
    wanted = {(kind, format) for kind, formats in FITTING.values() for format in [*formats, "hone"]}
    for kind, format in sorted(wanted):
        snapshot = snapshots.freeze(project=project, kind=kind, format=format)
        snapshots.copy_out(snapshot, out / f"{kind}.{format}.jsonl")


if __name__ == "__main__":
    import django

    django.setup()
    export_all(Path(sys.argv[1]))
