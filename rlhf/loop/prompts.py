"""Selection of prompts: for sampling, PPO and evaluation."""

import json
import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db.models import Count, Q, QuerySet, TextChoices
from django.utils.translation import gettext_lazy

from annotate.data import snapshots
from annotate.data.stored_messages import StoredMessage, refusal
from annotate.models import Project, Prompt, Task
from annotate.models.data.prompt import content_hash
from models_core.contract.rows.prompt_identity import MIN_HELD_OUT_PROMPTS
from rlhf.loop import versions
from rlhf.models import ModelVersion

Row = dict[str, Any]


class PromptOrder(TextChoices):
    """Which prompts are sampled first."""

    LEAST_COMPARED = "least_compared", gettext_lazy("Those with the fewest comparisons")
    NEWEST = "newest", gettext_lazy("The newest")
    RANDOM = "random", gettext_lazy("At random")


@dataclass(frozen=True, kw_only=True)
class PromptSelection:
    """Prompts as rows, and notes on their selection."""

    rows: list[Row]
    notes: tuple[StoredMessage, ...] = ()


def next_for_sampling(
    project: Project, *, count: int, order: str = PromptOrder.LEAST_COMPARED, seed: int = 0
) -> list[Row]:
    """Prompts to sample, at most `count`: by default those with the fewest open comparisons, then the fewest
    comparisons, then the oldest. `seed` is of a random order.

    Without test prompts, which are held out, and turns of chats, which have responses. Raises Refused when there are no
    others.
    """
    offered = offered_for_sampling(project)
    if order == PromptOrder.RANDOM:
        keys = list(offered.order_by("pk").values_list("pk", flat=True))
        rows = with_ids(project, random.Random(seed).sample(keys, min(count, len(keys))))
    elif order == PromptOrder.NEWEST:
        rows = [_row(prompt) for prompt in offered.order_by("-pk")[:count]]
    else:
        rows = [_row(prompt) for prompt in _least_compared(offered)[:count]]
    if not rows:
        raise refusal("no_prompts", project=project.name)
    return rows


def offered_for_sampling(project: Project) -> QuerySet[Prompt]:
    """All but test prompts, which are held out, and turns of chats, which have responses."""
    return project.prompts.filter(opening=None).exclude(split=Prompt.Split.TEST)


def _least_compared(offered: QuerySet[Prompt]) -> QuerySet[Prompt]:
    comparisons = Q(tasks__kind=Task.Kind.COMPARE, tasks__repeat_of=None, tasks__data_import__finished_or=0)
    return offered.annotate(
        open_tasks=Count("tasks", filter=comparisons & Q(tasks__state=Task.State.OPEN)),
        all_tasks=Count("tasks", filter=comparisons),
    ).order_by("open_tasks", "all_tasks", "pk")


def for_ppo(project: Project, *, rewards: Sequence[ModelVersion], enough: int) -> PromptSelection:
    """Train prompts that no reward model was trained on; if these are fewer than `enough`, all train prompts.

    On its training prompts a reward model is more accurate than elsewhere, which would bias PPO. Raises Refused when
    the project has no train prompts.
    """
    train = of_split(project, Prompt.Split.TRAIN)
    learned = set[str]().union(*map(_trained_prompts, rewards))
    rows = [_row(prompt) for prompt in train if prompt.content_hash not in learned]
    if len(rows) >= enough:
        return PromptSelection(rows=rows)
    everything = [_row(prompt) for prompt in train]
    if not everything:
        raise refusal("no_train_prompts", project=project.name)
    note = StoredMessage("few_new_prompts", {"new": len(rows), "all": len(everything), "enough": enough})
    return PromptSelection(rows=everything, notes=(note,))


def for_evaluation(project: Project) -> list[Row]:
    """The validation prompts, for evaluation during PPO; [] if they are too few, so that train prompts are held out."""
    rows = [_row(prompt) for prompt in of_split(project, Prompt.Split.VALIDATION)]
    return rows if len(rows) >= MIN_HELD_OUT_PROMPTS else []


def held_out(project: Project) -> list[Row]:
    """The test prompts. Raises Refused when there are none."""
    rows = [_row(prompt) for prompt in of_split(project, Prompt.Split.TEST)]
    if not rows:
        raise refusal("no_test_prompts", project=project.name)
    return rows


def with_ids(project: Project, ids: Iterable[int]) -> list[Row]:
    """These prompts of the project, in the order of their ids."""
    return [_row(prompt) for prompt in project.prompts.filter(pk__in=list(ids)).order_by("pk")]


def write(rows: Iterable[Row], path: Path) -> None:
    """Write rows as JSON lines, whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def of_split(project: Project, split: str) -> QuerySet[Prompt]:
    return project.prompts.filter(split=split).order_by("pk")


def _trained_prompts(reward: ModelVersion) -> set[str]:
    """Content hashes of the prompts that a reward model was trained on, and those that it was trained on from."""
    found: set[str] = set()
    for version in versions.reward_chain(reward):
        run = getattr(version, "run", None)
        if run is not None and run.snapshot is not None:
            with snapshots.data_file(run.snapshot, Prompt.Split.TRAIN).open(encoding="utf-8") as file:
                found |= {content_hash(json.loads(line)["prompt"]) for line in file if line.strip()}
    return found


def _row(prompt: Prompt) -> Row:
    return {"id": str(prompt.pk), "prompt": prompt.messages}
