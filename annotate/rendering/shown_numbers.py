"""Numbers as pages and scripts have them."""

from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString


def percent(share: float | str | None, digits: int = 0) -> str:
    """0.726 -> "73%"; nothing known, or no such thing -> a dash."""
    return "–" if share is None or isinstance(share, str) else f"{100 * share:.{digits}f}%"


def unlocalized(number: float | None) -> str:
    """A number as scripts read it, whatever the language writes decimals with; nothing where there is none."""
    return "" if number is None else f"{number:.6g}" if isinstance(number, float) else str(number)


def share(known: Any) -> SafeString:
    """A quality.Share: its rate and its interval; a dash for none."""
    if known.rate is None:
        return format_html('<span class="muted">{}</span>', "–")
    return format_html("{} <small>{}–{}</small>", percent(known.rate), percent(known.low), percent(known.high))
