"""Choices of a form as HTML. A board of nine responses has some three hundred of them, and each passes through here:
a template would take longer over them than over everything else on the page.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe


@dataclass(frozen=True, slots=True)
class Option:
    """A value with what is shown for it; `spoken` is said in place of a label that is only a sign."""

    value: str
    label: str
    aria_label: str = ""
    title: str = ""


def radios(name: str, options: Iterable[Option], *, chosen: str) -> SafeString:
    """One of the options. All of it is escaped here."""
    return _choices("radio", name, options, chosen={chosen})


def checkboxes(name: str, options: Iterable[Option], *, chosen: Container[str]) -> SafeString:
    """Any of the options."""
    return _choices("checkbox", name, options, chosen=chosen)


def _choices(kind: str, name: str, options: Iterable[Option], *, chosen: Container[str]) -> SafeString:
    name = escape(name)
    parts = []
    for option in options:
        title = f' title="{escape(option.title)}"' if option.title else ""
        aria_label = f' aria-label="{escape(option.aria_label)}"' if option.aria_label else ""
        hidden = ' aria-hidden="true"' if option.aria_label else ""
        checked = " checked" if option.value in chosen else ""
        parts.append(
            f'<label{title}><input type="{kind}" name="{name}" value="{escape(option.value)}"{aria_label}{checked}>'
            f"<span{hidden}>{escape(option.label)}</span></label>"
        )
    return mark_safe("".join(parts))  # each part was escaped above
