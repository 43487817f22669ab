"""PPO beside TRL 1.12's PPOTrainer: `python -m benchmarks ppo_vs_peer --peer ENV/bin/python --data F --reward RM`.

Both improve the same policy against the same reward model on the same prompts, for as many episodes of as many tokens,
in child processes and by turns: a machine is noisy, and only figures of one sitting compare. One pass over each
batch, one step a batch. The peer trains all weights of policy and value model in bf16, at its own learning rate, and
holds four networks; Hone's default trains LoRA, with the reference as the same weights (--set method=full trains
all). The peer runs twice: as its trainer comes, with gradient checkpointing, which takes less memory, and without it,
which is faster. Hone is compared with the faster in speed and with the leaner in memory.

Both results are then measured by one program on further prompts: mean score, and nats of divergence a response.

ENV is an environment of its own: `python -m venv ENV && ENV/bin/pip install torch==2.13.0 trl==1.12.0 datasets peft`.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.children import finished
from benchmarks.gold_reward import stages

PEER = Path(__file__).with_name("trl_ppo.py")
SEED = 7
LONGEST = 200
"""Characters of a prompt."""

Command = Callable[[argparse.Namespace, Path, str, Path], list[str]]


@dataclass(frozen=True)
class Reading:
    """One run: episodes a second of training alone, the largest memory of its process, where the policy is."""

    episodes_per_s: float
    gigabytes: float
    model: Path


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks ppo_vs_peer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--peer", type=Path, required=True, metavar="PYTHON", help="Python that has TRL 1.12")
    parser.add_argument("--script", type=Path, default=PEER, metavar="FILE", help="what that Python runs")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="prompts; the English single turns")
    parser.add_argument("--reward", required=True, metavar="RM", help="reward model, a folder")
    parser.add_argument("--model", default="smollm2-135m-instruct", metavar="M")
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--kl-coef", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=1, help="how often each trains")
    parser.add_argument("--held-out", type=int, default=64, metavar="N", help="further prompts to measure on")
    parser.add_argument("--without", nargs="+", default=[], choices=("peer", "peer-lean"), metavar="RUN")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of Hone's")
    options = parser.parse_args(arguments)
    if options.episodes % options.batch:
        parser.error("--episodes must be a multiple of --batch: the peer would take more than asked for")
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        print(json.dumps(compare(options, Path(folder))))
    return 0


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train all, as often as asked; the figures of the table, which is printed on the way."""
    from models_core.modeling import loading

    model = loading.locate(options.model)
    rows = chosen(options.data)
    count = options.episodes + options.held_out
    if len(rows) < count:
        raise SystemExit(f"{options.data.name} has {len(rows)} fitting prompts; {count} are needed.")
    data = stages.write_rows(folder / "prompts.jsonl", rows[: options.episodes])
    held_out = stages.write_rows(folder / "held-out.jsonl", rows[options.episodes : count])
    commands: dict[str, Command] = {"peer": _peer, "peer-lean": _lean_peer, "hone": _hone}
    commands = {who: command for who, command in commands.items() if who not in options.without}
    readings: dict[str, list[Reading]] = {who: [] for who in commands}
    for number in range(options.rounds):
        for who, command in commands.items():
            out = folder / f"{who}-{number}"
            summary, memory = finished(command(options, data, model, out))
            taken = Reading(options.episodes / summary["seconds"], memory / 1e6, out / "model")
            readings[who].append(taken)
            print(f"{who:<10}{taken.episodes_per_s:>8.3f} episodes/s {taken.gigabytes:>8.2f} GB", flush=True)
    figures: dict[str, Any] = {"episodes": options.episodes, "new_tokens": options.new_tokens}
    before = measured(model, held_out, reference=model, options=options)
    print(
        "| run | episodes/s | peak GB | score before | score after | KL after |\n| --- | --- | --- | --- | --- | --- |"
    )
    for who, own in readings.items():
        after = measured(str(own[-1].model), held_out, reference=model, options=options)
        best, most = max(one.episodes_per_s for one in own), max(one.gigabytes for one in own)
        print(f"| {who} | {best:.3f} | {most:.2f} | {before['score']:.3f} | {after['score']:.3f} | {after['kl']:.4f} |")
        figures[who] = {
            "episodes_per_s": round(best, 3),
            "readings": [round(one.episodes_per_s, 3) for one in own],
            "peak_gb": round(most, 2),
            **{name: round(value, 4) for name, value in after.items()},
        }
    return figures | ratios(figures)


def ratios(figures: Mapping[str, Any]) -> dict[str, float]:
    """Speed beside the fastest peer, memory beside the leanest."""
    peers = [figures[who] for who in ("peer", "peer-lean") if who in figures]
    if not peers:
        return {}
    own = figures["hone"]
    speed = own["episodes_per_s"] / max(one["episodes_per_s"] for one in peers)
    memory = own["peak_gb"] / min(one["peak_gb"] for one in peers)
    print(f"Hone is {speed:.2f} times as fast as the fastest, in {memory:.0%} of the memory of the leanest.")
    return {"ratio": round(speed, 2), "memory_ratio": round(memory, 3)}


def chosen(path: Path) -> list[dict[str, Any]]:
    """The English single-turn prompts that are not long, in the file's order, each once."""
    found: dict[str, dict[str, Any]] = {}
    for row in stages.read(path):
        text = row["prompt"][-1]["content"]
        if row.get("lang", "en") == "en" and len(row["prompt"]) == 1 and len(text) < LONGEST:
            found.setdefault(text, {"id": str(len(found)), "prompt": row["prompt"]})
    return list(found.values())


def measured(model: str, prompts: Path, *, reference: str, options: argparse.Namespace) -> dict[str, float]:
    """Mean score of a policy's responses, and its divergence from the reference in nats a response, at temperature 1.

    Responses are sampled and read in fp32, which says the same of weights that were saved in bf16.
    """
    import torch

    from models_core.generation import generate
    from models_core.modeling import chat, forward, loading
    from models_core.modeling.packing import Group, pack
    from models_core.rl.rewards.reward_models import RewardModels

    how: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float32}
    policy, frozen = (loading.load_policy(name, **how) for name in (model, reference))
    tokenizer = loading.load_tokenizer(reference)
    chats = [row["prompt"] for row in stages.read(prompts)]
    ids = [chat.encode_prompt(tokenizer, messages, max_tokens=1024) for messages in chats]
    sampled = generate.sample(
        policy,
        ids,
        samples=1,
        max_new_tokens=options.new_tokens,
        stop_ids=chat.eos_ids(policy, tokenizer),
        seed=SEED,
        batch_size=len(ids),
    )
    nats = 0.0
    for prompt, (response,) in zip(ids, sampled, strict=True):
        packed = pack([Group(prompt, [list(response.ids)])])
        with torch.no_grad():
            own, theirs = (forward.response_log_probs(network, packed).double().sum() for network in (policy, frozen))
        nats += float(own - theirs)
    texts = [chat.decode_response(tokenizer, response.ids) for (response,) in sampled]
    reward_models = RewardModels.load(options.reward, **how, max_length=2048, budget=2048)
    scores = reward_models.mean_scores([(messages, [text]) for messages, text in zip(chats, texts, strict=True)])
    known = [score for own_scores in scores for score in own_scores if score is not None]
    return {"score": sum(known) / len(known), "kl": nats / len(ids)}


def _peer(options: argparse.Namespace, data: Path, model: str, out: Path) -> list[str]:
    line = [str(options.peer), str(options.script), model, options.reward, str(data), str(out / "model")]
    line += ["--episodes", str(options.episodes), "--batch", str(options.batch)]
    return [*line, "--new-tokens", str(options.new_tokens), "--kl-coef", str(options.kl_coef)]


def _lean_peer(options: argparse.Namespace, data: Path, model: str, out: Path) -> list[str]:
    return [*_peer(options, data, model, out), "--checkpointing"]


def _hone(options: argparse.Namespace, data: Path, model: str, out: Path) -> list[str]:
    line = [sys.executable, "-m", "models_core", "ppo", "--model", model, "--reward", options.reward]
    values = {
        "episodes": options.episodes,
        "batch_size": options.batch,
        "minibatches": 1,
        "ppo_epochs": 1,
        "max_new_tokens": options.new_tokens,
        "kl_coef": options.kl_coef,
        "save_every": 0,
        "held_out": 0,
        "reward_train_overlap": "keep",  # the peer does not ask what the reward model has learned from
    }
    settings = [*(f"{name}={value}" for name, value in values.items()), *options.set]
    return [*line, "--data", str(data), "--out", str(out), *(f"--set={text}" for text in settings)]
