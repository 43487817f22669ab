"""What a reward model judges: rankings, against those who made them, and two models' responses to the same prompts."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from models_core.commands import sample
from models_core.contract.errors import BadInput
from models_core.contract.rows import row_parser, trained_prompts
from models_core.contract.rows.records import Prompt, Ranking
from models_core.contract.runs import processes
from models_core.contract.runs.progress import Ticker, part_of
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import EvaluateConfig
from models_core.modeling import chat, loading
from models_core.reward_report import assembly, scored_judgments
from models_core.reward_report.measures.intervals import estimate_mean
from models_core.rl.rewards.reward_models import RewardModels

Row = TypeVar("Row", Ranking, Prompt)


def reward_report(
    settings: EvaluateConfig, *, model: str, data: str | Path, device: torch.device, dtype: torch.dtype
) -> dict[str, Any]:
    """All that rankings say of a reward model. Raises BadInput where they put no two responses in an order."""
    given: list[Ranking] = row_parser.read(data, "rankings")
    rankings, trained_on = _untrained(given, rewards=[model], file=Path(data).name)
    start = time.perf_counter()
    scored = scored_judgments.score_rankings(
        model,
        rankings,
        device=device,
        dtype=dtype,
        max_length=settings.max_length,
        budget=settings.max_tokens_per_forward,
    )
    seconds = time.perf_counter() - start
    report = assembly.build(scored.judgments, all_rankings=rankings, shift=scored.shift, scale=scored.scale)
    if not report["pairs"]:
        raise BadInput(f"{Path(data).name}: no ranking has two responses in a strict order.")
    rates = {"seconds": seconds, "rankings_per_s": len(rankings) / seconds}
    return {"rankings": len(rankings), "trained_on": trained_on, **report, **rates}


def _untrained(rows: Sequence[Row], *, rewards: Sequence[str], file: str) -> tuple[list[Row], int]:
    """The rows whose prompts no reward model has learned from, and how many it has. Raises BadInput for none left."""
    known = frozenset[str]().union(*(trained_prompts.read(loading.locate(name)) for name in rewards))
    kept = trained_prompts.exclude(rows, known)
    if rows and not kept:
        raise BadInput(
            f"{file}: the reward model was trained on the prompts of all {len(rows)} rows, so they cannot measure it: "
            "give rows whose prompts it has not seen."
        )
    if left_out := len(rows) - len(kept):
        processes.log_main(
            f"{left_out} of {len(rows)} rows are left out: the reward model was trained on their prompts, so they "
            "cannot measure it."
        )
    return kept, left_out


def win_rate(
    settings: EvaluateConfig,
    *,
    model: str,
    against: str,
    reward: str,
    data: str | Path,
    device: torch.device,
    dtype: torch.dtype,
    stop: StopSignal,
) -> dict[str, Any]:
    """How often `model`'s response to a prompt scores higher than `against`'s, both sampled with the same seed."""
    given: list[Prompt] = row_parser.read(data, "prompts")
    prompts, trained_on = _untrained(given, rewards=loading.several(reward), file=Path(data).name)
    chats = [prompt.messages for prompt in prompts]
    texts = {}
    tokens, seconds = 0, 0.0
    ticker = Ticker("responses")
    for number, (role, name) in enumerate((("model", model), ("against", against))):
        tokenizer = loading.load_tokenizer(name)
        chat.give_template(tokenizer, name=name, chat_template=settings.chat_template)
        network = loading.load_policy(name, device=device, dtype=dtype)
        progress = part_of(ticker, number=number, parts=2)
        sampled, took = sample.respond(
            network, tokenizer, chats, samples=1, settings=settings, stop=stop, progress=progress
        )
        texts[role] = [sample.text_of(tokenizer, item) for (item,) in sampled]
        tokens += sum(sample.content_length(item) for (item,) in sampled)
        seconds += took
        del network
    reward_models = RewardModels.load(
        reward, device=device, dtype=dtype, max_length=settings.max_length, budget=settings.max_tokens_per_forward
    )
    pairs = reward_models.mean_scores(list(zip(chats, zip(texts["model"], texts["against"], strict=True), strict=True)))
    scores = [(ours, theirs) for ours, theirs in pairs if ours is not None and theirs is not None]
    if not scores:
        raise BadInput(f"The reward model {reward} can read none of the responses: they are too long for it.")
    wins = [win(ours, theirs) for ours, theirs in scores]
    won = estimate_mean(np.array(wins), np.arange(len(wins)))
    return {
        "prompts": len(prompts),
        "trained_on": trained_on,
        "too_long_responses": len(prompts) - len(scores),
        "win_rate": won.value,
        "win_rate_low": won.low,
        "win_rate_high": won.high,
        "ties": wins.count(0.5),
        "score_model": sum(ours for ours, _ in scores) / len(scores),
        "score_against": sum(theirs for _, theirs in scores) / len(scores),
        "seconds": seconds,
        "tokens_per_s": tokens / seconds,
    }


def win(ours: float, theirs: float) -> float:
    """1 for the higher score, 0 for the lower, a half for equal ones."""
    return 1.0 if ours > theirs else 0.5 if ours == theirs else 0.0
