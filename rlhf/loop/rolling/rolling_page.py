"""What the page of the loop says of the rolling mode: how old the newest judgment in the reward model is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from annotate.models import Project
from rlhf.loop import versions
from rlhf.loop.rolling import updates
from rlhf.models import LoopSettings, ModelVersion, RollingUpdate

UPDATES_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class RollingPage:
    """newest_at: when the newest judgment was given that the reward model in use has learned from.

    num_new: judgments of train prompts that are newer. due_at: when an update begins with fewer than settings.rolling
    new ones; None without a new one.
    """

    is_on: bool
    reward: ModelVersion | None
    newest_at: datetime | None
    num_new: int
    wanted: int
    due_at: datetime | None
    updates: Sequence[RollingUpdate]

    @property
    def in_training(self) -> RollingUpdate | None:
        return next((update for update in self.updates if update.state == RollingUpdate.State.TRAINING), None)


def of(project: Project) -> RollingPage:
    settings = LoopSettings.of(project)
    reward = versions.active_reward(project)
    frozen = updates.frozen_at(reward)
    judged = updates.of_train_prompts(project)
    learned = judged.filter(created_at__lt=frozen).order_by("-created_at") if frozen else judged.none()
    newer = updates.new_to(reward, project)
    first = newer.values_list("created_at", flat=True).first()
    is_waiting = settings.rolling and settings.paused_at is None and reward is not None and first is not None
    return RollingPage(
        is_on=settings.rolling,
        reward=reward,
        newest_at=learned.values_list("created_at", flat=True).first(),
        num_new=newer.count(),
        wanted=settings.rolling_judgments,
        due_at=first + timedelta(minutes=settings.rolling_minutes) if is_waiting and first is not None else None,
        updates=list(project.rolling_updates.select_related("run__produced", "source")[:UPDATES_SHOWN]),
    )
