"""How fast models_core is on the base model: each command as its user runs it, read from its last line.

The rates leave out loading, probing, tokenising and saving, as every command's do. Prompts and responses are those of
the demo project; the rank of a response is its place in the file, which changes no speed.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from annotate import demo
from benchmarks.children import finished

BASE = "smollm2-135m-instruct"
RESPONSES, RANKINGS, DEMONSTRATIONS, EPISODES, NEW_TOKENS = 64, 16, 48, 64, 64


def measure() -> Iterator[tuple[str, float, str]]:
    """(what, figure, unit) of sampling, SFT, reward training and PPO."""
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        files = write_data(Path(folder), prompts=RESPONSES, rankings=RANKINGS, demonstrations=DEMONSTRATIONS)
        out = Path(folder)
        sampled = _run("sample", data=files["prompts"], out=out / "responses.jsonl", max_new_tokens=NEW_TOKENS)
        yield f"sample: {RESPONSES} responses of {NEW_TOKENS} tokens", sampled["tokens_per_s"], "tokens/s"
        tuned = _run("sft", data=files["demonstrations"], out=out / "sft", epochs=1)
        yield f"sft: {DEMONSTRATIONS} demonstrations", tuned["tokens_per_s"], "tokens/s"
        reward = _run("reward", data=files["rankings"], out=out / "reward", held_out=0, epochs=1)
        yield f"reward: {RANKINGS} rankings of 4", reward["rankings_per_s"], "rankings/s"
        policy = _run(
            "ppo",
            "--reward",
            str(out / "reward" / "model"),
            data=files["prompts"],
            out=out / "ppo",
            episodes=EPISODES,
            batch_size=EPISODES // 2,
            max_new_tokens=NEW_TOKENS,
        )
        yield f"ppo: {EPISODES} episodes of {NEW_TOKENS} tokens", policy["episodes_per_s"], "episodes/s"


def _run(command: str, *options: str, data: Path, out: Path, **values: Any) -> dict[str, Any]:
    """The last line of a command that succeeded."""
    line = [sys.executable, "-m", "models_core", command, "--model", BASE, "--data", str(data), "--out", str(out)]
    line += [*options, *(f"--set={name}={value}" for name, value in values.items())]
    result, _ = finished(line)
    return result


def write_data(
    folder: Path, *, prompts: int, rankings: int, demonstrations: int, characters: int | None = None
) -> dict[str, Path]:
    """So many rows of each kind, as files by the name of their kind; responses cut to so many characters."""
    sampled_rows = list(_rows(demo.RESPONSES))
    ranked = [
        row
        | {
            "responses": [
                {"text": each["text"][:characters], "rank": rank} for rank, each in enumerate(row["responses"], 1)
            ]
        }
        for row in sampled_rows[:rankings]
    ]
    demonstrated = [
        {"id": f"{row['id']}-{number}", "prompt": row["prompt"], "response": each["text"][:characters]}
        for row in sampled_rows
        for number, each in enumerate(row["responses"])
    ][:demonstrations]
    asked = list(islice(_rows(demo.PROMPTS), prompts))
    files = {"prompts": asked, "rankings": ranked, "demonstrations": demonstrated}
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {name: folder / f"{name}.jsonl" for name in files}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)
