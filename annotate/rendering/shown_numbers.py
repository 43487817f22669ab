"""Numbers as pages and scripts have them."""


def percent(share: float | str | None, digits: int = 0) -> str:
    """0.726 -> "73%"; nothing known, or no such thing -> a dash."""
    return "–" if share is None or isinstance(share, str) else f"{100 * share:.{digits}f}%"


def unlocalized(number: float | None) -> str:
    """A number as scripts read it, whatever the language writes decimals with; nothing where there is none."""
    return "" if number is None else f"{number:.6g}" if isinstance(number, float) else str(number)
