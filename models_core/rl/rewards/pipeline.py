"""From answers to what PPO learns from: raw scores of the source, put on a scale, and terms beside them.

    raw       mean of the source's voices, less the price of their disagreement
    score     raw, less the reference's (reward_baseline), on a running scale (reward_normalise), clipped (reward_clip)
    length    -length_penalty_coef for every token beyond length_target
    format    -format_penalty for each rule that is broken
    missing_eos   what an answer loses that was cut off

The sum of the last four is the episode's score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models_core.contract.errors import BadInput
from models_core.contract.records import Prompt
from models_core.contract.reward_names import Kind, kind_of
from models_core.contract.settings import PPOConfig
from models_core.contract.stopping import StopSignal
from models_core.modeling import heads
from models_core.rl.rewards import shaping
from models_core.rl.rewards.base import Answered, RewardFailed, Shared, Source
from models_core.rl.rewards.baseline import Baseline, Draw
from models_core.rl.rewards.function import RewardFunction
from models_core.rl.rewards.llm_judge import Judge
from models_core.rl.rewards.reward_model_source import Opinions, RewardModels
from models_core.rl.rewards.running_scale import RunningScale


@dataclass(frozen=True, kw_only=True)
class Raw:
    """What a source says of B answers, before anything is made of it."""

    opinions: torch.Tensor  # [B, voices]; a missing one is NaN
    scores: torch.Tensor  # [B], the missing ones filled with the mean of the others

    @property
    def missing(self) -> int:
        return int(self.opinions.isnan().any(-1).sum())

    def metrics(self) -> dict[str, float]:
        """`score` is the mean of all voices and answers; of several voices also how far they are apart."""
        read = self.opinions[~self.opinions.isnan().any(-1)]
        found = {"score": read.mean()}
        if self.opinions.shape[-1] > 1:
            found |= {"score_std": read.std(-1, correction=0).mean(), "conservative_score": self.scores.mean()}
        return {name: value.item() for name, value in found.items()} | (
            {"missing_scores": float(self.missing)} if self.missing else {}
        )


@dataclass(frozen=True, kw_only=True)
class Scored:
    """B answers in the source's eyes, and the named terms [B] of what each is worth. All fp32, on the CPU."""

    raw: Raw
    terms: dict[str, torch.Tensor]
    metrics: dict[str, float]

    @property
    def total(self) -> torch.Tensor:
        """[B]: the sum of the terms."""
        return sum(self.terms.values(), torch.zeros(()))


class Rewards:
    """All that becomes of a policy's answers before it learns from them. What is remembered is part of checkpoints."""

    def __init__(
        self, source: Source, *, settings: PPOConfig, baseline: Draw | None = None, baseline_file: Path | None = None
    ) -> None:
        """`baseline` draws the reference's answers, kept in `baseline_file`, where the setting asks for them.

        Raises BadInput.
        """
        self.source = source
        self.settings = settings
        self.form = shaping.Form.of(settings)
        self.scale = RunningScale()
        self.baseline: Baseline | None = None
        if settings.reward_baseline and baseline is not None and baseline_file is not None:
            self.baseline = Baseline(
                baseline_file,
                draw=baseline,
                judged=lambda answers: self.judged(answers).scores,
                seed=settings.seed,
            )

    def rehearse(self, prompts: Sequence[Prompt]) -> None:
        """Ask for the score of a made-up answer, so that a source which is no use says so before anything is written.

        Raises BadInput. Reward models need none of this: they were loaded.
        """
        if isinstance(self.source, RewardModels) or not prompts:
            return
        trial = Answered(prompt=prompts[0], prompt_ids=(), ids=(), text="Yes.", ended=True)
        try:
            self.source.opinions([trial])
        except RewardFailed as error:
            raise BadInput(str(error)) from error

    def judged(self, answers: Sequence[Answered]) -> Raw:
        """What the source says of answers. Raises RewardFailed, BadInput, Stopped."""
        opinions = self.source.opinions(answers)
        missing = opinions.isnan().any(-1)
        scores = heads.conservative(
            opinions, objective=self.settings.reward_objective, coef=self.settings.reward_std_coef
        )
        if missing.any():
            scores = torch.where(missing, scores[~missing].mean(), scores)
        return Raw(opinions=opinions, scores=scores)

    def score(self, answers: Sequence[Answered], *, step: int) -> Scored:
        """What a phase's answers are worth. It moves the running scale, so a phase is scored once."""
        raw = self.judged(answers)
        scores, metrics = raw.scores, raw.metrics()
        if self.baseline is not None:
            before = self.baseline.of(answers, step=step)
            metrics["baseline_score"] = before.mean().item()
            scores = scores - before
        if self.settings.reward_normalise != "none":
            self.scale.see(scores.tolist())
            shift = self.scale.mean if self.settings.reward_normalise == "standard" else 0.0
            scores = (scores - shift) / self.scale.deviation
        if self.settings.reward_clip > 0:
            clipped = scores.clamp(-self.settings.reward_clip, self.settings.reward_clip)
            metrics["clipped_scores"] = (clipped != scores).float().mean().item()
            scores = clipped
        parts = shaping.named(answers, scores, settings=self.settings, form=self.form)
        metrics |= {f"reward/{name}": term.mean().item() for name, term in parts.items()}
        return Scored(raw=raw, terms=parts, metrics=metrics)

    def worth(self, answers: Sequence[Answered], raw: Raw, *, scale: float) -> torch.Tensor:
        """What held-out answers are worth on one scale for the whole run, [B]: raw scores, and terms times `scale`."""
        parts = shaping.named(answers, raw.scores, settings=self.settings, form=self.form)
        return parts.pop("score") + scale * sum(parts.values(), torch.zeros(()))

    def state(self) -> dict[str, Any]:
        return {"scale": self.scale.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint's state; an empty one is a fresh start."""
        if state:
            self.scale = RunningScale.of(state["scale"])
        if self.baseline is not None:
            self.baseline.restore()


def source_of(name: str, *, opinions: Opinions, settings: PPOConfig, stop: StopSignal) -> Source:
    """The source that `--reward NAME` stands for; `opinions` are those of the reward models already in memory.

    Raises BadInput.
    """
    match kind_of(name):
        case Kind.JUDGE:
            return Shared(Judge(name, settings=settings, stop=stop))
        case Kind.FUNCTION:
            return Shared(RewardFunction(name))
        case _:
            return RewardModels(opinions)
