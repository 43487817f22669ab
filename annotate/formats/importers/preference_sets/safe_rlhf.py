"""PKU-SafeRLHF: two responses, of which people chose the more helpful one and said what harm each of them does.

BeaverTails has one response a row, and of harm alone: a rating of it, and no ideal response.
"""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.rows import (
    LONGEST_LABEL,
    BadRow,
    Fields,
    ImportedResponse,
    ImportedRow,
    by_model,
    checked_messages,
    text_of,
    user_turn,
)

NAME, LABEL = "safe_rlhf", gettext_noop("PKU-SafeRLHF")
UNSAFE = "unsafe"


def recognises(row: dict[str, Any]) -> bool:
    pair = {"prompt", "response_0", "response_1", "better_response_id"}
    return pair <= set(row) or {"prompt", "response", "is_safe"} <= set(row)


def parse(row: Fields) -> ImportedRow:
    """The order is that of helpfulness. A response that isn't safe has the flag "unsafe", and one for each harm."""
    if "better_response_id" not in row.values:
        return _rating(row)
    better = row.zero_or_one("better_response_id")
    if "safer_response_id" in row:
        row.leave("safer_response_id", _("a judgment has one order; this file’s is that of the better response"))
    source = row.label("prompt_source")
    return ImportedRow(
        messages=checked_messages(user_turn(row.text("prompt"))),
        source=f"PKU-SafeRLHF {source}".strip(),
        ranked=True,
        responses=tuple(_response(row, place, rank=1 if place == better else 2) for place in (0, 1)),
    )


def _rating(row: Fields) -> ImportedRow:
    is_safe = row.flag("is_safe")
    if is_safe is None:
        raise BadRow(_("%(name)s must be true or false") % {"name": row.named("is_safe")})
    response = ImportedResponse(
        text=row.text("response"),
        ratings={"safe": float(is_safe)},
        flags=_flags(is_safe, _harms(row, "category")),
    )
    return ImportedRow(
        messages=checked_messages(user_turn(row.text("prompt"))),
        source="BeaverTails",
        rated=True,
        responses=(response,),
    )


def _response(row: Fields, place: int, *, rank: int) -> ImportedResponse:
    severity = row.number(f"response_{place}_severity_level")
    row.ignore(f"response_{place}_sha256")
    is_safe = row.flag(f"is_response_{place}_safe")
    return ImportedResponse(
        text=row.text(f"response_{place}"),
        rank=rank,
        ratings={} if severity is None else {"severity_level": severity},
        flags=_flags(is_safe, _harms(row, f"response_{place}_harm_category")),
        **by_model(row.label(f"response_{place}_source")),
    )


def _flags(is_safe: bool | None, harms: list[str]) -> tuple[str, ...]:
    return (UNSAFE, *harms) if is_safe is False else tuple(harms)


def _harms(row: Fields, key: str) -> list[str]:
    harms = row.raw(key)
    if harms is None:
        return []
    if not isinstance(harms, dict):
        row.leave(key, _("not a list of harms"))
        return []
    inner = row.within(key, harms)
    # A name is checked before a sentence about its value names it.
    names = [text_of(name, row.named(key), longest=LONGEST_LABEL) for name in harms]
    return [name for name in names if inner.flag(name)]
