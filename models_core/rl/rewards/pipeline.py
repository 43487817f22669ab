"""The reward pipeline: raw scores of a source, normalised, with penalties added.

    raw           mean over the source's heads, minus a penalty on their disagreement
    score         raw minus the reference's (reward_baseline), on a running scale (reward_normalise), then clipped
                  (reward_clip)
    length        -length_penalty_coef for every token beyond length_target
    format        -format_penalty for each broken rule
    missing_eos   penalty of a truncated response

The shaped reward is the sum of the last four.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models_core.contract.errors import BadInput
from models_core.contract.reports.reward_names import Kind, kind_of
from models_core.contract.rows.records import Prompt
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import PPOConfig
from models_core.modeling import heads
from models_core.rl.rewards import shaping
from models_core.rl.rewards.base import BroadcastSource, Completion, RewardFailed, RewardSource
from models_core.rl.rewards.baseline import Baseline, SampleReference
from models_core.rl.rewards.function import RewardFunction
from models_core.rl.rewards.llm_judge import LLMJudge
from models_core.rl.rewards.rollout_rewards import RolloutRewards


@dataclass(frozen=True, kw_only=True)
class RawScores:
    """Scores of a batch of completions as the source gave them."""

    head_scores: torch.Tensor  # (batch, heads); NaN where missing
    scores: torch.Tensor  # (batch,); missing ones are the mean of the others

    @property
    def num_missing(self) -> int:
        return int(self.head_scores.isnan().any(-1).sum())

    def metrics(self) -> dict[str, float]:
        """`score`: mean over heads and completions; with several heads also their standard deviation."""
        known = self.head_scores[~self.head_scores.isnan().any(-1)]
        metrics = {"score": known.mean()}
        if self.head_scores.shape[-1] > 1:
            metrics |= {"score_std": known.std(-1, correction=0).mean(), "conservative_score": self.scores.mean()}
        return {name: value.item() for name, value in metrics.items()} | (
            {"missing_scores": float(self.num_missing)} if self.num_missing else {}
        )


@dataclass(frozen=True, kw_only=True)
class ShapedRewards:
    """Raw scores of a batch, and the named terms of its shaped rewards: (batch,) each, fp32 on the CPU."""

    raw: RawScores
    terms: dict[str, torch.Tensor]
    metrics: dict[str, float]

    @property
    def total(self) -> torch.Tensor:
        """Sum of the terms: (batch,)."""
        return sum(self.terms.values(), torch.zeros(()))


class RewardPipeline:
    """Rewards of completions. The running scale is part of every checkpoint."""

    def __init__(
        self,
        source: RewardSource,
        *,
        settings: PPOConfig,
        sample_reference: SampleReference | None = None,
        baseline_file: Path | None = None,
    ) -> None:
        """`sample_reference` and `baseline_file` serve reward_baseline. Raises BadInput."""
        self.source = source
        self.settings = settings
        self.rules = shaping.FormatRules.from_settings(settings)
        self.scale = shaping.RunningScale()
        self.baseline: Baseline | None = None
        if settings.reward_baseline and sample_reference is not None and baseline_file is not None:
            self.baseline = Baseline(
                baseline_file,
                sample=sample_reference,
                score=lambda completions: self.raw_scores(completions).scores,
                seed=settings.seed,
            )

    def smoke_test(self, prompts: Sequence[Prompt]) -> None:
        """Score a made-up response, so that an unusable source is found before anything is written.

        Raises BadInput. Reward models are skipped: they have been loaded.
        """
        if isinstance(self.source, RolloutRewards) or not prompts:
            return
        completion = Completion(prompt=prompts[0], prompt_ids=(), ids=(), text="Yes.", ended=True)
        try:
            self.source.head_scores([completion])
        except RewardFailed as error:
            raise BadInput(str(error)) from error

    def raw_scores(self, completions: Sequence[Completion]) -> RawScores:
        """Raises RewardFailed, BadInput, Stopped."""
        head_scores = self.source.head_scores(completions)
        is_missing = head_scores.isnan().any(-1)
        scores = heads.ensemble_score(
            head_scores, objective=self.settings.reward_objective, coef=self.settings.reward_std_coef
        )
        if is_missing.any():
            scores = torch.where(is_missing, scores[~is_missing].mean(), scores)
        return RawScores(head_scores=head_scores, scores=scores)

    def shaped_rewards(self, completions: Sequence[Completion], *, step: int) -> ShapedRewards:
        """Rewards of a rollout iteration. Call it once an iteration: it updates the running scale."""
        raw = self.raw_scores(completions)
        scores, metrics = raw.scores, raw.metrics()
        if self.baseline is not None:
            baseline_scores = self.baseline.scores_for(completions, step=step)
            metrics["baseline_score"] = baseline_scores.mean().item()
            scores = scores - baseline_scores
        if self.settings.reward_normalise != "none":
            self.scale.update(scores.tolist())
            shift = self.scale.mean if self.settings.reward_normalise == "standard" else 0.0
            scores = (scores - shift) / self.scale.std
        if self.settings.reward_clip > 0:
            clipped = scores.clamp(-self.settings.reward_clip, self.settings.reward_clip)
            metrics["clipped_scores"] = (clipped != scores).float().mean().item()
            scores = clipped
        terms = shaping.reward_terms(completions, scores, settings=self.settings, rules=self.rules)
        metrics |= {f"reward/{name}": term.mean().item() for name, term in terms.items()}
        return ShapedRewards(raw=raw, terms=terms, metrics=metrics)

    def selection_scores(
        self, completions: Sequence[Completion], raw: RawScores, *, penalty_scale: float
    ) -> torch.Tensor:
        """Scores by which weights are selected: raw scores plus penalties times `penalty_scale`, (batch,).

        Independent of the running scale, so they are comparable over the whole run.
        """
        terms = shaping.reward_terms(completions, raw.scores, settings=self.settings, rules=self.rules)
        return terms.pop("score") + penalty_scale * sum(terms.values(), torch.zeros(()))

    def state_dict(self) -> dict[str, Any]:
        return {"scale": self.scale.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.scale.load_state_dict(state["scale"])
        if self.baseline is not None:
            self.baseline.load()


def make_source(name: str, *, reward_models: RolloutRewards, settings: PPOConfig, stop: StopSignal) -> RewardSource:
    """The source of `--reward NAME`; `reward_models` are those in memory already. Raises BadInput."""
    match kind_of(name):
        case Kind.JUDGE:
            return BroadcastSource(LLMJudge(name, settings=settings, stop=stop))
        case Kind.FUNCTION:
            return BroadcastSource(RewardFunction(name))
        case _:
            return reward_models
