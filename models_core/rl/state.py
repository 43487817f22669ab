"""The state of a PPO run: all that changes between its steps beside the optimizers and the best weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from models_core.rl.advantages import KLController
from models_core.rl.early_stopping import StopReason
from models_core.rl.evaluation import Evaluator
from models_core.rl.rewards.pipeline import RewardPipeline
from models_core.rl.rollout_logprobs import RolloutLogprobCheck
from models_core.rl.rollout_server.sampler import RolloutSampler
from models_core.training.ema import MovingAverage


@dataclass(kw_only=True)
class PPOState:
    """`step`: rollout iterations done of `total`; `metrics`: those of the last one."""

    total: int
    kl_controller: KLController
    average: MovingAverage
    rewards: RewardPipeline
    evaluator: Evaluator
    logprob_check: RolloutLogprobCheck
    sampler: RolloutSampler
    step: int = 0
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def is_finished(self) -> bool:
        return self.step == self.total or self.evaluator.stop_reason is not None

    def stop(self, reason: StopReason) -> None:
        """End the run after this step; the weights that sampled its rollouts become the model."""
        self.evaluator.stop_reason = reason

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds as JSON."""
        return {
            "kl_coef": self.kl_controller.coef,
            "average_updates": self.average.updates,
            "rewards": self.rewards.state_dict(),
            "evaluator": self.evaluator.state_dict(),
            "logprob_check": self.logprob_check.state_dict(),
            "rollout_server": self.sampler.state_dict(),
            "metrics": self.metrics,
        }

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """What a checkpoint holds as tensors, whole, by group: "average", "good"."""
        return self.average.groups() | self.evaluator.tensors()

    def load_state_dict(
        self, state: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]], *, step: int
    ) -> None:
        """`tensors`: the groups of `tensors()`, {} for a group that the checkpoint does not hold."""
        state = current_keys(state)
        self.step = step
        self.kl_controller.coef = state["kl_coef"]
        self.average.restore(tensors["average"], updates=state["average_updates"])
        self.rewards.load_state_dict(state["rewards"])
        self.evaluator.load_state_dict(state["evaluator"], tensors["good"])
        self.logprob_check.load_state_dict(state["logprob_check"])
        self.sampler.load_state_dict(state.get("rollout_server", {}))
        self.metrics = state["metrics"]

    def checkpoint(self) -> dict[str, Any]:
        """Arguments of Training.step, after and between_steps that say what to save."""
        return {"total": self.total, "state": self.state_dict(), "tensors": self.tensors}


def current_keys(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """A checkpoint's state under the keys of this version: a run that an earlier version stopped can be resumed."""
    if "evaluator" in state:
        return state
    evaluator = state["watch"]
    return {
        "kl_coef": state["kl_coef"],
        "average_updates": state["averaged"],
        "rewards": state["rewards"],
        "evaluator": {
            "early_stopping": {"zero_variance": evaluator["guards"]["flat"]},
            "last_step": evaluator["measured"],
            "initial": evaluator["start"],
            "latest": evaluator["latest"],
            "penalty_scale": evaluator["scale"],
        },
        "logprob_check": {"enabled": state["sampler"]["is_trusted"]},
        "metrics": state["latest"],
    }
