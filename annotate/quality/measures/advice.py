"""Signs that somebody might not be reading: advice for whoever looks after the people, and no verdict.

A sign is given where chance alone would show as much in fewer than one of a thousand labelers, or where a rate is far
from what attentive work has; each has a reason that may be innocent, which the page says too.
"""

from dataclasses import dataclass
from enum import StrEnum

from django.utils.translation import gettext_lazy as _

from annotate.quality.intervals import Share, binomial_tail
from annotate.quality.measures.report import Measures

FEWEST = 20
"""Judgments below which nothing is said."""
IMPROBABLE = 1e-3
MANY = 0.2
"""Share of hasty judgments, or of pasted texts, from which on it is a sign."""
NEARLY_ALL = 0.9


class Sign(StrEnum):
    """What is noticed."""

    HASTE = "haste"
    PASTE = "paste"
    AS_SHOWN = "as_shown"
    SAME_RATINGS = "same_ratings"
    POSITION = "position"
    CONTRARY = "contrary"

    @property
    def label(self) -> str:
        return str(_LABELS[self])


_LABELS = {
    Sign.HASTE: _("Judges faster than the responses can be read"),
    Sign.PASTE: _("Writes faster than anybody types: texts may have been pasted"),
    Sign.AS_SHOWN: _("Often leaves the responses in the order in which they are shown"),
    Sign.SAME_RATINGS: _("Gives nearly every response the same rating"),
    Sign.POSITION: _("Prefers responses for their place on the page"),
    Sign.CONTRARY: _("Agrees with others less than by chance"),
}


@dataclass(frozen=True, slots=True)
class Advice:
    """A sign with the figure that it rests on."""

    sign: Sign
    share: Share


def advice(measures: Measures) -> list[Advice]:
    """The signs in one labeler's measures."""
    return [Advice(sign, share) for sign, share in _signs(measures)]


def _signs(measures: Measures) -> "list[tuple[Sign, Share]]":
    found: list[tuple[Sign, Share]] = []
    for sign, share in ((Sign.HASTE, measures.hasty), (Sign.PASTE, measures.pasted)):
        if share.total >= FEWEST and share.low is not None and share.low > MANY:
            found.append((sign, share))
    ordered, chance = measures.as_shown, measures.as_shown_by_chance
    if ordered.total >= FEWEST and binomial_tail(ordered.hits, ordered.total, chance or 0.0) < IMPROBABLE:
        found.append((Sign.AS_SHOWN, ordered))
    if measures.same_ratings.total >= FEWEST and (measures.same_ratings.rate or 0.0) >= NEARLY_ALL:
        found.append((Sign.SAME_RATINGS, measures.same_ratings))
    if _is_far_from_half(measures):
        found.append((Sign.POSITION, measures.position))
    strict = measures.strict_agreement
    if strict.clusters >= FEWEST and strict.high is not None and strict.high < 0.5:
        found.append((Sign.CONTRARY, strict))
    return found


def _is_far_from_half(measures: Measures) -> bool:
    """Whether the position bias is improbable without one, and large enough to matter."""
    moments = measures.moments("position")
    rate, error = moments.ratio, moments.standard_error
    if rate is None or error is None or moments.clusters < FEWEST:
        return False
    return abs(rate - 0.5) > max(0.1, 3.29 * error)
