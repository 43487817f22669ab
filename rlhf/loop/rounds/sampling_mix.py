"""What a round samples for the labelers: parts with shares that sum to 1, each of a version, a temperature and prompts.

Stored as [{"version", "temperature", "prompts", "share"}]; without parts the policy in use responds to the prompts with
the fewest comparisons. The prompts of a round are divided among the parts by largest remainders.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import TextChoices
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.errors import Refused
from annotate.models import Project
from rlhf.loop import versions
from rlhf.loop.prompts import PromptOrder
from rlhf.models import ModelVersion

MOST_PARTS = 6
HIGHEST_TEMPERATURE = 100.0
TOLERANCE = 1e-6


class MixVersion(TextChoices):
    """Whose responses a part has."""

    POLICY = "policy", gettext_lazy("The policy in use")
    PREVIOUS = "previous", gettext_lazy("The policy before it")
    REFERENCE = "reference", gettext_lazy("Its SFT or base model")

    def of(self, project: Project) -> ModelVersion:
        """The version; the policy in use where there is no other."""
        policy = versions.active_policy(project)
        if self == MixVersion.PREVIOUS:
            return versions.previous(policy) or policy
        return versions.reference(policy) if self == MixVersion.REFERENCE else policy


@dataclass(frozen=True, kw_only=True)
class Part:
    """temperature: None takes that of the loop's settings of sampling."""

    version: MixVersion = MixVersion.POLICY
    temperature: float | None = None
    prompts: PromptOrder = PromptOrder.LEAST_COMPARED
    share: float = 1.0

    def as_json(self) -> dict[str, Any]:
        return {
            "version": str(self.version.value),
            "temperature": self.temperature,
            "prompts": str(self.prompts.value),
            "share": self.share,
        }


def checked(rows: Sequence[Mapping[str, Any]]) -> list[Part]:
    """The parts; [] without rows. Raises Refused (400) with a sentence for a wrong value or shares off 1."""
    if len(rows) > MOST_PARTS:
        raise Refused(_("A mix has at most %(most)s parts.") % {"most": MOST_PARTS}, status=400)
    parts = [_part(row, number) for number, row in enumerate(rows, start=1)]
    if not parts:
        return []
    total = sum(part.share for part in parts)
    if abs(total - 1) > TOLERANCE:
        raise Refused(wrong_total(total), status=400)
    return parts


def wrong_total(total: float) -> str:
    """What to change about shares that do not sum to 1."""
    off = {"total": f"{total:.4g}", "off": f"{abs(1 - total):.4g}"}
    if total < 1:
        return _("The shares sum to %(total)s. Add %(off)s to make it 1.") % off
    return _("The shares sum to %(total)s. Take %(off)s away to make it 1.") % off


def of_stored(rows: Sequence[Mapping[str, Any]]) -> list[Part]:
    """The parts of a project's settings; the usual one where none are stored."""
    return checked(rows) or [Part()]


def allocated(parts: Sequence[Part], *, prompts: int) -> list[int]:
    """How many prompts each part gets, by largest remainders; they sum to `prompts`."""
    exact = [part.share * prompts for part in parts]
    counts = [math.floor(value + TOLERANCE) for value in exact]
    remainders = sorted(range(len(parts)), key=lambda place: (counts[place] - exact[place], place))
    for place in remainders[: prompts - sum(counts)]:
        counts[place] += 1
    return counts


def _part(row: Mapping[str, Any], number: int) -> Part:
    version, order = str(row.get("version", "")), str(row.get("prompts", ""))
    if version not in MixVersion.values or order not in PromptOrder.values:
        raise Refused(_("Part %(number)s: choose a version and prompts.") % {"number": number}, status=400)
    share = _number(row.get("share"))
    if share is None or not 0 < share <= 1:
        raise Refused(
            _("Part %(number)s: the share is a number above 0 and at most 1.") % {"number": number}, status=400
        )
    temperature = row.get("temperature")
    if temperature is not None:
        temperature = _number(temperature)
        if temperature is None or not 0 <= temperature <= HIGHEST_TEMPERATURE:
            raise Refused(
                _("Part %(number)s: the temperature is a number from 0 to %(most)g, or empty.")
                % {"number": number, "most": HIGHEST_TEMPERATURE},
                status=400,
            )
    return Part(version=MixVersion(version), temperature=temperature, prompts=PromptOrder(order), share=share)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
