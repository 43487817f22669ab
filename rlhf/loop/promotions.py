"""What changes when another model is put into use, to be read before it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from rlhf.loop import versions
from rlhf.models import ModelVersion
from rlhf.reports import curves

FEW_ROWS = 50
"""A model that learned from fewer rows is put into use only after a warning: nothing general is learned from so few."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """`version` takes the place of `current`: what that means, what speaks against it, and both models' numbers."""

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
        numbers=_side_by_side(version.metrics, current.metrics if current is not None else {}),
    )


def _effects(version: ModelVersion) -> tuple[str, ...]:
    if version.kind == ModelVersion.Kind.REWARD:
        return (
            _("PPO runs, comparisons and the loop take it as the usual reward model."),
            _("Where uncertain comparisons come first, it decides which those are."),
        )
    return (
        _("Live chats and the next samples come from it."),
        _("The next PPO run starts from it. Responses that exist keep the model that wrote them."),
    )


def _warnings(version: ModelVersion) -> list[str]:
    run = getattr(version, "run", None)
    found = []
    rows = run.snapshot.rows if run is not None and run.snapshot is not None else None
    if rows is not None and rows < FEW_ROWS:
        found.append(
            ngettext(
                "It learned from %(rows)d row. That is too little to learn anything general.",
                "It learned from %(rows)d rows. That is too little to learn anything general.",
                rows,
            )
            % {"rows": rows}
        )
    if run is not None and run.result.get("ready_for_ppo") is False:
        found.append(_("Its report doesn’t find it good enough for PPO."))
    if run is not None and not curves.headline(version.metrics):
        found.append(_("Nothing was measured of it."))
    return found


def _side_by_side(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    left, right = dict(curves.headline(ours)), dict(curves.headline(theirs))
    return tuple((name, left.get(name, ""), right.get(name, "")) for name in dict.fromkeys([*left, *right]))
