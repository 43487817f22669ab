"""What a rubric may ask about each answer, checked before a version of it is stored."""

import re
from typing import Any

from annotate import text
from annotate.errors import Refused

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
MOST = 20


def checked_criteria(criteria: Any) -> list[dict[str, Any]]:
    """[{"name", "label", "min", "max", "help"?}] with whole min < max at most 100 apart. Raises Refused (400)."""
    checked = []
    for item in _checked_items(criteria, kind="criterion", keys={"name", "label", "min", "max", "help"}):
        low, high = _whole(item.get("min")), _whole(item.get("max"))
        if low is None or high is None or not 0 < high - low <= 100:
            raise Refused(f"The scale of {item['label']} must go from one whole number up to another.", status=400)
        checked.append(item)
    return checked


def checked_flags(flags: Any) -> list[dict[str, Any]]:
    """[{"name", "label", "help"?}]. Raises Refused (400)."""
    return _checked_items(flags, kind="flag", keys={"name", "label", "help"})


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _checked_items(items: Any, *, kind: str, keys: set[str]) -> list[dict[str, Any]]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Refused(f"A rubric lists each {kind} as an object.", status=400)
    if len(items) > MOST:
        raise Refused(f"A rubric has at most {MOST} of a kind; there is one {kind} too many.", status=400)
    names = set()
    for item in items:
        name = item.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise Refused(f"The name of a {kind} is made of small letters, digits and _.", status=400)
        if name in names:
            raise Refused(f"The {kind} {name} is there twice.", status=400)
        names.add(name)
        if unknown := set(item) - keys:
            raise Refused(f"The {kind} {name} has an unknown field {min(unknown)!r}.", status=400)
        if not text.checked(item.get("label"), name=f"The label of {name}", longest=120).strip():
            raise Refused(f"The {kind} {name} needs a label.", status=400)
        text.checked(item.get("help", ""), name=f"The help of {name}", longest=500)
    return items
