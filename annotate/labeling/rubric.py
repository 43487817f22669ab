"""Criteria and flags of a rubric: checked before a version is stored, and labeled for readers."""

import re
from typing import Any

from django.utils.translation import gettext as _

from annotate.data import text
from annotate.errors import Refused
from annotate.models import JudgmentRevision

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
MOST = 20
LONGEST_ANCHOR = 120


def checked_criteria(criteria: Any) -> list[dict[str, Any]]:
    """[{"name", "label", "min", "max", "help"?, "anchors"?}] with whole min < max at most 100 apart.

    anchors: {"4": what a 4 means, ...}, points of the scale. Raises Refused (400).
    """
    checked = []
    for item in _checked_items(criteria, kind="criterion", keys={"name", "label", "min", "max", "help", "anchors"}):
        low, high = _whole(item.get("min")), _whole(item.get("max"))
        if low is None or high is None or not 0 < high - low <= 100:
            raise Refused(
                _("The scale of %(label)s must go from one whole number up to another.") % {"label": item["label"]},
                status=400,
            )
        _check_anchors(item, range(low, high + 1))
        checked.append(item)
    return checked


def _check_anchors(item: dict[str, Any], scale: range) -> None:
    anchors = item.get("anchors", {})
    if not isinstance(anchors, dict) or not set(anchors) <= {str(point) for point in scale}:
        raise Refused(_("Meanings of %(label)s are for points of its scale.") % {"label": item["label"]}, status=400)
    for meaning in anchors.values():
        if not text.checked(meaning, name=_("Meaning of a point"), longest=LONGEST_ANCHOR).strip():
            raise Refused(_("A point of %(label)s has no meaning.") % {"label": item["label"]}, status=400)


def checked_flags(flags: Any) -> list[dict[str, Any]]:
    """[{"name", "label", "help"?}]. Raises Refused (400)."""
    return _checked_items(flags, kind="flag", keys={"name", "label", "help"})


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _checked_items(items: Any, *, kind: str, keys: set[str]) -> list[dict[str, Any]]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Refused(_("A rubric lists each %(kind)s as an object.") % {"kind": kind}, status=400)
    if len(items) > MOST:
        raise Refused(
            _("A rubric has at most %(most)s of a kind; there is one %(kind)s too many.")
            % {"most": MOST, "kind": kind},
            status=400,
        )
    names = set()
    for item in items:
        name = item.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise Refused(
                _("The name of a %(kind)s is made of small letters, digits and _.") % {"kind": kind}, status=400
            )
        if name in names:
            raise Refused(_("The %(kind)s %(name)s is there twice.") % {"kind": kind, "name": name}, status=400)
        names.add(name)
        if unknown := set(item) - keys:
            raise Refused(
                _("The %(kind)s %(name)s has an unknown field %(field)r.")
                % {"kind": kind, "name": name, "field": min(unknown)},
                status=400,
            )
        if not text.checked(item.get("label"), name=f"The label of {name}", longest=120).strip():
            raise Refused(_("The %(kind)s %(name)s needs a label.") % {"kind": kind, "name": name}, status=400)
        text.checked(item.get("help", ""), name=f"The help of {name}", longest=500)
    return items


def translated(words: str) -> str:
    """A label or help: a preset's in the reader's language, a manager's own as it was written."""
    return _(words) if words else ""


def labeled_ratings(revision: JudgmentRevision, response_id: int | None = None) -> list[tuple[str, float]]:
    """[(criterion's label, rating)] of one response, or of the first that was rated."""
    labels = {item["name"]: translated(item["label"]) for item in (revision.rubric.criteria if revision.rubric else [])}
    rated = revision.ratings
    ratings = rated.get(str(response_id), {}) if response_id is not None else next(iter(rated.values()), {})
    return [(labels.get(name, name), value) for name, value in ratings.items()]
