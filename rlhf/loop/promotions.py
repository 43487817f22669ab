"""Effects and warnings of a promotion, shown before it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from rlhf.loop import versions
from rlhf.models import ModelVersion
from rlhf.reports import curves

FEW_ROWS = 50
"""Fewer training rows than this cause a warning."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A promotion of `version` in place of `current`: effects, warnings, and metrics of both."""

    version: ModelVersion
    current: ModelVersion | None
    effects: tuple[str, ...]
    warnings: tuple[str, ...]
    numbers: tuple[tuple[str, str, str], ...]
    """(name, of the version, of the current one); empty text where a model has no such number."""


def change_to(version: ModelVersion) -> Change:
    current = versions.in_use(version)
    return Change(
        version=version,
        current=current,
        effects=_effects(version),
        warnings=tuple(_warnings(version)),
        numbers=_compare_metrics(version.metrics, current.metrics if current is not None else {}),
    )


def _effects(version: ModelVersion) -> tuple[str, ...]:
    if version.kind == ModelVersion.Kind.REWARD:
        return (
            _("PPO, evaluation and the loop use it as the default reward model."),
            _("If uncertain comparisons are prioritised, it scores them."),
        )
    return (
        _("Live chats and the next sampling runs use it."),
        _("The next PPO run starts from it. Existing responses keep their model."),
    )


def _warnings(version: ModelVersion) -> list[str]:
    run = getattr(version, "run", None)
    found = []
    rows = run.snapshot.rows if run is not None and run.snapshot is not None else None
    if rows is not None and rows < FEW_ROWS:
        found.append(
            ngettext(
                "It was trained on %(rows)d row, too few to generalise.",
                "It was trained on %(rows)d rows, too few to generalise.",
                rows,
            )
            % {"rows": rows}
        )
    if run is not None and run.result.get("ready_for_ppo") is False:
        found.append(_("The verdict of its report is negative: not good enough for PPO."))
    if run is not None and not curves.headline(version.metrics):
        found.append(_("It has no evaluation metrics."))
    return found


def _compare_metrics(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    left, right = dict(curves.headline(ours)), dict(curves.headline(theirs))
    return tuple((name, left.get(name, ""), right.get(name, "")) for name in dict.fromkeys([*left, *right]))
