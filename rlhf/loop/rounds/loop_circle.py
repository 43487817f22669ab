"""The picture on the page of the loop: prompts, responses, judgments and models in a circle, and what goes on between.

Coordinates are in a box of 720 x 380, as templates/rlhf/loop.html has it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.models import Project, Task
from annotate.quality import project_figures
from rlhf.loop import versions
from rlhf.models import Iteration, LoopSettings, ModelVersion

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

Step = Iteration.Step

ARROW_OF = {
    Step.WAIT: "judging",
    Step.SNAPSHOT: "reward",
    Step.SFT: "ppo",
    Step.REWARD: "reward",
    Step.PPO: "ppo",
    Step.EVALUATE: "gate",
    Step.PROMOTE: "gate",
    Step.SAMPLE: "sampling",
}
"""The arrow on which a step is."""
WAITS_FOR_PEOPLE = {Step.WAIT, Step.EVALUATE, Step.PROMOTE}


@dataclass(frozen=True, kw_only=True)
class Node:
    """A place of the circle. Coordinates of its upper left corner."""

    name: str
    title: "StrOrPromise"
    count: str
    url: str
    x: int
    y: int
    width: int = 168
    height: int = 58


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """An arrow of the circle with its label. state: "", "now" where a step runs, "waits" at people or a gate."""

    name: str
    path: str
    label: str
    x: int
    y: int
    anchor: str = "middle"
    state: str = ""


def nodes(project: Project) -> list[Node]:
    policy, reward = versions.policies(project, active=True).first(), versions.active_reward(project)
    figures, slug = project_figures.of(project), project.slug
    waiting = figures.kinds.get(Task.Kind.COMPARE, {}).get("open", 0) if figures else None
    return [
        Node(
            name="prompts",
            title=_("Prompts"),
            count="" if figures is None else str(figures.prompts),
            url=reverse("annotate:prompts", args=[slug]),
            x=16,
            y=98,
        ),
        Node(
            name="responses",
            title=_("Responses"),
            count="" if waiting is None else _waiting_comparisons(waiting),
            url=reverse("annotate:tasks", args=[slug]),
            x=276,
            y=8,
        ),
        Node(
            name="judgments",
            title=_("Judgments"),
            count="" if figures is None else str(figures.judgments),
            url=reverse("annotate:review", args=[slug]),
            x=536,
            y=98,
        ),
        Node(
            name="reward",
            title=_("Reward model"),
            count=reward.label if reward else _("none yet"),
            url=_version_url(project, reward),
            x=440,
            y=306,
        ),
        Node(
            name="policy",
            title=_("Policy"),
            count=policy.label if policy else _("none yet"),
            url=_version_url(project, policy),
            x=112,
            y=306,
        ),
    ]


def _version_url(project: Project, version: ModelVersion | None) -> str:
    if version is None:
        return reverse("rlhf:models", args=[project.slug])
    return reverse("rlhf:model", args=[project.slug, version.pk])


def _waiting_comparisons(count: int) -> str:
    return ngettext("%(n)d comparison waits", "%(n)d comparisons wait", count) % {"n": count}


def arrows(
    project: Project, iteration: Iteration | None, settings: LoopSettings, *, num_new: int, wanted: int
) -> list[Arrow]:
    numbers: Mapping[str, float | None] = iteration.numbers if iteration is not None else {}
    state: dict[str, str] = {}
    if iteration is not None and iteration.step in ARROW_OF:
        step = Step(iteration.step)
        state[ARROW_OF[step]] = "waits" if step in WAITS_FOR_PEOPLE or settings.paused_at else "now"
    accuracy, kl = numbers.get("reward_accuracy"), numbers.get("kl")
    by_hand = settings.promotion == LoopSettings.PromotionBy.HAND
    return [
        Arrow(
            name="sampling",
            path="M118 98C140 60 190 40 270 38",
            label=_("%(n)s prompts a round") % {"n": settings.prompts_per_round},
            x=176,
            y=34,
            anchor="end",
            state=state.get("sampling", ""),
        ),
        Arrow(
            name="judging",
            path="M446 38C530 40 580 60 602 92",
            label=_("%(count)s of %(wanted)s new") % {"count": num_new, "wanted": wanted},
            x=546,
            y=34,
            anchor="start",
            state=state.get("judging", ""),
        ),
        Arrow(
            name="reward",
            path="M626 158C624 220 600 264 566 300",
            label=_("accuracy %(value)s") % {"value": f"{accuracy:.2f}"} if accuracy is not None else _("training"),
            x=596,
            y=236,
            anchor="end",
            state=state.get("reward", ""),
        ),
        Arrow(
            name="ppo",
            path="M438 335L288 335",
            label=_("KL %(value)s") % {"value": f"{kl:.2f}"} if kl is not None else "PPO",
            x=362,
            y=325,
            state=state.get("ppo", ""),
        ),
        Arrow(
            name="gate",
            path="M154 304C120 264 100 220 98 164",
            label=_("promoted by hand") if by_hand else _("promoted by the gates"),
            x=128,
            y=236,
            anchor="start",
            state=state.get("gate", ""),
        ),
    ]
