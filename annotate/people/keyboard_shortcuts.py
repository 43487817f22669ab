"""Keyboard shortcuts of the work pages: the actions, their default keys, and the keys that a person chose."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.errors import Refused
from annotate.labeling import task_kinds
from annotate.models import Task, User

COMPARE, RATE = (Task.Kind.COMPARE.value, "exam"), (Task.Kind.RATE.value,)
OFF = "off"
"""In place of a key: an action without one. Stored under this name as well, it switches off all keys."""


@dataclass(frozen=True, slots=True)
class KeyAction:
    """An action with a key.

    key:   as the browser names it (KeyboardEvent.key), letters in lower case.
    only:  the kinds of task that have it, as form[data-kind] of the work page says them; empty for every kind.
    """

    name: str
    key: str
    label: str | Promise
    only: tuple[str, ...] = ()
    in_exam: bool = True

    @property
    def kinds(self) -> tuple[str, ...]:
        return self.only or (*task_kinds.names(), *(["exam"] if self.in_exam else []))


KEY_ACTIONS = (
    KeyAction("submit", "Enter", gettext_lazy("Submit (Ctrl and Enter while writing)")),
    KeyAction("next", "ArrowRight", gettext_lazy("Next response"), COMPARE),
    KeyAction("previous", "ArrowLeft", gettext_lazy("Previous response"), COMPARE),
    KeyAction("better", "ArrowUp", gettext_lazy("One rank better"), COMPARE),
    KeyAction("worse", "ArrowDown", gettext_lazy("One rank worse"), COMPARE),
    KeyAction("tie", "t", gettext_lazy("Tie with the response ranked last"), COMPARE),
    KeyAction("clear", "0", gettext_lazy("Take the rank away"), COMPARE),
    KeyAction("unacceptable", "u", gettext_lazy("All unacceptable"), COMPARE),
    KeyAction("rate", "r", gettext_lazy("Ratings and flags of the response"), COMPARE[:1] + RATE),
    KeyAction("note", "n", gettext_lazy("Note on the response"), COMPARE[:1]),
    KeyAction("comment", "c", gettext_lazy("Comment on the task"), in_exam=False),
    KeyAction("improve", "i", gettext_lazy("Improve the best response"), COMPARE[:1]),
    KeyAction("diff", "d", gettext_lazy("Compare two responses word by word"), COMPARE),
    KeyAction("raw", "v", gettext_lazy("Show the text as it was written"), COMPARE + RATE),
    KeyAction("layout", "l", gettext_lazy("Columns, stack, or scrolling together"), COMPARE),
    KeyAction("guidelines", "g", gettext_lazy("Guidelines")),
    KeyAction("skip", "s", gettext_lazy("Skip"), in_exam=False),
    KeyAction("report", "p", gettext_lazy("Report a problem"), in_exam=False),
    KeyAction("undo", "z", gettext_lazy("Undo the last submit or skip"), in_exam=False),
    KeyAction("help", "?", gettext_lazy("These keys")),
)
_NAMES = {action.name for action in KEY_ACTIONS}
_KEY = re.compile(
    r"[^\s\x00-\x1f\x7f]|Enter|Backspace|Delete|Insert|Home|End|PageUp|PageDown|Arrow(?:Up|Down|Left|Right)|F(?:[2-9]|1[0-2])"
)
# Ranks, and what the browser or a screen reader can't do without.
_RESERVED = {*"123456789"}


def switched_off(user: User) -> bool:
    """Whether this person wants no single keys at all, as who dictates or whose screen reader uses them."""
    return isinstance(user.keys, dict) and user.keys.get(OFF) == OFF


def key_map(user: User) -> dict[str, str]:
    """{action: key}, a person's own before the usual ones. Anything of another shape in the record is ignored."""
    own = user.keys if isinstance(user.keys, dict) else {}
    return {
        action.name: own[action.name] if isinstance(own.get(action.name), str) else action.key for action in KEY_ACTIONS
    }


def checked(chosen: Mapping[str, str]) -> dict[str, str]:
    """What to store of {action: key}: only what differs from the usual. Raises Refused (400) with a sentence."""
    if unknown := set(chosen) - _NAMES:
        raise Refused(_("There is nothing called %(name)s to do by key.") % {"name": min(unknown)[:40]}, status=400)
    keys = {action.name: _written(chosen.get(action.name, action.key)) for action in KEY_ACTIONS}
    for name, key in keys.items():
        label = next(action.label for action in KEY_ACTIONS if action.name == name)
        if key == OFF:
            continue
        if not _KEY.fullmatch(key):
            raise Refused(
                _("“%(label)s” needs one sign, or the name of a key such as Enter, Home or F2.") % {"label": label},
                status=400,
            )
        if key in _RESERVED:
            raise Refused(_("The digits 1 to 9 give ranks: choose another key for “%(label)s”.") % {"label": label})
        twin = next((other for other, taken in keys.items() if taken == key and other != name), None)
        if twin is not None:
            other_label = next(action.label for action in KEY_ACTIONS if action.name == twin)
            raise Refused(
                _("“%(label)s” and “%(other)s” can't have the same key.") % {"label": label, "other": other_label},
                status=400,
            )
    return {action.name: keys[action.name] for action in KEY_ACTIONS if keys[action.name] != action.key}


def _written(key: Any) -> str:
    """A key as a person may write it, as the browser names it."""
    key = str(key).strip()
    names = {name.lower(): name for name in ("Enter", "Backspace", "Delete", "Insert", "Home", "End", "PageUp")}
    names |= {name.lower(): name for name in ("PageDown", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight")}
    if len(key) == 1 or key.lower() == OFF or not key:
        return key.lower() or OFF
    return names.get(key.lower(), key.upper() if re.fullmatch(r"[fF]\d{1,2}", key) else key)
