"""Which metrics share a chart, and under which heading charts stand on a page of runs."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from rlhf.models import Stage
from rlhf.reports import labels

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

HELD_OUT = "eval_"
"""A metric of held-out rows is drawn into the chart of the same metric of the training."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One or several metrics on the same axes."""

    title: str
    metrics: tuple[str, ...]

    @property
    def words(self) -> list[tuple[str, str]]:
        """(name, label) of each metric."""
        return [(name, labels.in_words(name)) for name in self.metrics]

    @property
    def as_json(self) -> str:
        """The metrics for the script."""
        return json.dumps(self.words)

    @property
    def query(self) -> str:
        """The query of a file of these metrics."""
        return "?" + "".join(f"{urlencode({'name': name})}&" for name in self.metrics)

    @property
    def searched(self) -> str:
        """What the search of the page looks at."""
        return " ".join([self.title, *self.metrics]).lower()


@dataclass(frozen=True, slots=True)
class Group:
    title: "StrOrPromise"
    charts: tuple[Chart, ...]
    is_system: bool = False
    """Whether its charts are over minutes and not over steps."""


def _is_reward_term(name: str) -> bool:
    return name == "reward" or name.startswith("reward/")


RULES: tuple[tuple["StrOrPromise", Callable[[str], bool]], ...] = (
    (gettext_lazy("Loss"), lambda name: name.endswith("loss") or name in ("perplexity", "bits_per_byte")),
    (gettext_lazy("Accuracy"), lambda name: "accuracy" in name or name == "reward_margin"),
    (gettext_lazy("Reward"), lambda name: _is_reward_term(name) or "score" in name),
    (gettext_lazy("KL divergence"), lambda name: "kl" in name.split("_")),
    (gettext_lazy("Responses"), lambda name: name in ("length", "eos_rate", "entropy")),
    (gettext_lazy("Optimisation"), lambda name: name in ("gradient_norm", "learning_rate") or "clip" in name),
    (gettext_lazy("Rollout log-probabilities"), lambda name: name.startswith("sampler_")),
    (gettext_lazy("Speed"), lambda name: name.endswith("_per_s") or name == "seconds"),
)
"""(heading, whether a metric stands under it), the first that holds."""


def group(names: Iterable[str], *, stage: str) -> list[Group]:
    """The charts of these metrics under their headings; each metric is in one chart."""
    left = list(names)
    found = []
    if stage == Stage.PPO and (first := _of_ppo(left)):
        found.append(Group(gettext_lazy("PPO at a glance"), first))
        left = [name for name in left if not any(name in chart.metrics for chart in first)]
    headings: dict[str, tuple[StrOrPromise, list[Chart]]] = {}
    for chart in _pairs(left):
        key, title = _heading(chart.metrics[0])
        headings.setdefault(key, (title, []))[1].append(chart)
    places = {str(place): place for place in range(len(RULES))}
    order = sorted(headings, key=lambda key: (places.get(key, len(RULES) + (key == "")), key))
    return [*found, *(Group(headings[key][0], tuple(headings[key][1])) for key in order)]


def of_system(names: Sequence[str]) -> Group | None:
    """Processor, memory and GPUs while a run went on; None where nothing was measured."""
    charts = tuple(Chart(labels.of_system(name), (name,)) for name in names)
    return Group(gettext_lazy("System"), charts, is_system=True) if charts else None


def _of_ppo(names: Sequence[str]) -> tuple[Chart, ...]:
    """What tells whether PPO goes well: reward and its terms, KL, entropy, clip fraction, length."""
    terms = tuple(name for name in names if _is_reward_term(name) or name in ("score", "eval_score"))
    charts = [Chart(_("Reward and its terms"), terms)] if terms else []
    for main in ("kl", "entropy", "clip_fraction", "length"):
        found = tuple(name for name in (main, HELD_OUT + main, f"value_{main}") if name in names)
        if found:
            charts.append(Chart(labels.in_words(main), found))
    return tuple(charts)


def _pairs(names: Sequence[str]) -> list[Chart]:
    charts = []
    for name in names:
        if name.startswith(HELD_OUT) and name.removeprefix(HELD_OUT) in names:
            continue
        held_out = HELD_OUT + name
        charts.append(Chart(labels.in_words(name), (name, held_out) if held_out in names else (name,)))
    return charts


def _heading(name: str) -> tuple[str, "StrOrPromise"]:
    """(key, title): of the first rule that holds, else the prefix before a slash, else "Other"."""
    plain = name.removeprefix(HELD_OUT)
    for place, (title, holds) in enumerate(RULES):
        if holds(plain):
            return str(place), title
    prefix, slash, _rest = name.partition("/")
    return (prefix, prefix) if slash else ("", gettext_lazy("Other"))
