"""Which prompts a model answers: for the labeling queue, while it learns, and when it is measured."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils.translation import gettext as _

from annotate.data import snapshots
from annotate.errors import Refused
from annotate.models import Project, Prompt, Task
from annotate.models.prompt import content_hash
from models_core.contract.prompt_identity import MIN_HELD_OUT_PROMPTS
from rlhf.models import ModelVersion

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PromptSelection:
    """Prompts as rows, and what there is to say about the choice."""

    rows: list[Row]
    notes: tuple[str, ...] = ()


def next_for_sampling(project: Project, *, count: int) -> list[Row]:
    """The prompts that wait least for labelers: fewest open comparisons, then fewest comparisons, then oldest.

    Test prompts are held out of everything that is trained on, and the turns of a labeler's chat were answered in it.
    Raises Refused when the project has no others.
    """
    comparisons = Q(tasks__kind=Task.Kind.COMPARE, tasks__data_import__finished_or=0)
    waiting = (
        project.prompts.filter(opening=None)
        .exclude(split=Prompt.Split.TEST)
        .annotate(
            open_tasks=Count("tasks", filter=comparisons & Q(tasks__state=Task.State.OPEN)),
            all_tasks=Count("tasks", filter=comparisons),
        )
        .order_by("open_tasks", "all_tasks", "pk")[:count]
    )
    rows = [_row(prompt) for prompt in waiting]
    if not rows:
        raise Refused(_("%(project)s has no prompts to answer. Import some first.") % {"project": project.name})
    return rows


def for_ppo(project: Project, *, rewards: Sequence[ModelVersion], enough: int) -> PromptSelection:
    """Train prompts that no reward model has learned from; where those are fewer than `enough`, all train prompts.

    On a prompt it has learned from, a reward model's scores are better than they are elsewhere, and PPO would learn
    from a judge it will not have. Raises Refused when the project has no train prompts.
    """
    train = _of_split(project, Prompt.Split.TRAIN)
    learned = set[str]().union(*map(_trained_prompts, rewards))
    rows = [_row(prompt) for prompt in train if prompt.content_hash not in learned]
    if len(rows) >= enough:
        return PromptSelection(rows=rows)
    everything = [_row(prompt) for prompt in train]
    if not everything:
        raise Refused(_("%(project)s has no train prompts. Import some first.") % {"project": project.name})
    note = _(
        "Only %(new)s of %(all)s train prompts are new to the reward model, fewer than the %(enough)s of a batch, "
        "so PPO used all of them."
    )
    return PromptSelection(
        rows=everything, notes=(note % {"new": len(rows), "all": len(everything), "enough": enough},)
    )


def for_evaluation(project: Project) -> list[Row]:
    """The validation prompts, which a policy is measured on while it learns from others.

    None where they are too few to measure anything: a part of the train prompts is held out then.
    """
    rows = [_row(prompt) for prompt in _of_split(project, Prompt.Split.VALIDATION)]
    return rows if len(rows) >= MIN_HELD_OUT_PROMPTS else []


def held_out(project: Project) -> list[Row]:
    """The test prompts, which nothing is trained on. Raises Refused when there are none."""
    rows = [_row(prompt) for prompt in _of_split(project, Prompt.Split.TEST)]
    if not rows:
        raise Refused(_("%(project)s has no test prompts to measure on.") % {"project": project.name})
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


def _of_split(project: Project, split: str) -> QuerySet[Prompt]:
    return project.prompts.filter(split=split).order_by("pk")


def _trained_prompts(reward: ModelVersion) -> set[str]:
    """Content hashes of the prompts in the rankings that a reward model was trained on."""
    run = getattr(reward, "run", None)
    if run is None or run.snapshot is None:
        return set()
    with snapshots.data_file(run.snapshot, Prompt.Split.TRAIN).open(encoding="utf-8") as file:
        return {content_hash(json.loads(line)["prompt"]) for line in file if line.strip()}


def _row(prompt: Prompt) -> Row:
    return {"id": str(prompt.pk), "prompt": prompt.messages}
