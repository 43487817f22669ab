"""A rubric as lines of text that a manager edits: one criterion or flag a line, its parts between bars."""

import re
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from annotate.errors import Refused
from annotate.labeling.rubric import checked_criteria, checked_flags

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

_ANCHOR = re.compile(r"(-?\d{1,3})\s*:\s*(.+)")
_SCALE = re.compile(r"(-?\d{1,3})\s*(?:-|–|\.\.|to)\s*(-?\d{1,3})")


class CriteriaField(forms.CharField):
    """Lines `name | label | 1-7 | help | 7: Excellent; 1: Terrible` as the criteria of a rubric.

    The last two parts may be left out. An empty field is no criteria."""

    widget = forms.Textarea(attrs={"rows": 4, "class": "code", "spellcheck": "false", "wrap": "off"})

    def clean(self, value: Any) -> list[dict[str, Any]]:
        criteria = []
        for number, parts in _lines(super().clean(value), most=5):
            scale = _SCALE.fullmatch(parts[2]) if len(parts) > 2 else None
            if scale is None:
                raise forms.ValidationError(
                    _("Line %(number)s: write it as  name | label | 1-7  with a scale of whole numbers.")
                    % {"number": number}
                )
            criterion = {"name": parts[0], "label": parts[1], "min": int(scale[1]), "max": int(scale[2])}
            criterion |= {"help": parts[3]} if len(parts) > 3 and parts[3] else {}
            criterion |= {"anchors": _anchors(parts[4], number)} if len(parts) > 4 and parts[4] else {}
            criteria.append(criterion)
        try:
            return checked_criteria(criteria)
        except Refused as refusal:
            raise forms.ValidationError(str(refusal)) from None

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return "\n".join(_criterion_line(item) for item in value)


class FlagsField(forms.CharField):
    """Lines `name | label | help` as the flags of a rubric; an empty field is no flags."""

    widget = forms.Textarea(attrs={"rows": 4, "class": "code", "spellcheck": "false", "wrap": "off"})

    def clean(self, value: Any) -> list[dict[str, Any]]:
        flags = []
        for number, parts in _lines(super().clean(value), most=3):
            if len(parts) < 2:
                raise forms.ValidationError(_("Line %(number)s: write it as  name | label.") % {"number": number})
            flag = {"name": parts[0], "label": parts[1]}
            flags.append(flag | ({"help": parts[2]} if len(parts) > 2 and parts[2] else {}))
        try:
            return checked_flags(flags)
        except Refused as refusal:
            raise forms.ValidationError(str(refusal)) from None

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return "\n".join(" | ".join([item["name"], item["label"], *filter(None, [item.get("help")])]) for item in value)


def _lines(text: str, *, most: int) -> list[tuple[int, list[str]]]:
    """The lines that say something, with their numbers and their parts."""
    lines = [
        (number, [part.strip() for part in line.split("|")])
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
    ]
    for number, parts in lines:
        if len(parts) > most:
            raise forms.ValidationError(
                _("Line %(number)s: there are more than %(most)s parts between bars.")
                % {"number": number, "most": most}
            )
    return lines


def _anchors(part: str, number: int) -> dict[str, str]:
    """`7: Excellent; 1: Terrible` as {"7": "Excellent", "1": "Terrible"}."""
    anchors = {}
    for each in filter(None, (entry.strip() for entry in part.split(";"))):
        found = _ANCHOR.fullmatch(each)
        if found is None:
            raise forms.ValidationError(
                _("Line %(number)s: write what points mean as  7: Excellent; 1: Terrible.") % {"number": number}
            )
        anchors[str(int(found[1]))] = found[2]
    return anchors


def _criterion_line(item: dict[str, Any]) -> str:
    parts = [item["name"], item["label"], f"{item['min']}-{item['max']}", item.get("help", "")]
    parts.append("; ".join(f"{point}: {meaning}" for point, meaning in item.get("anchors", {}).items()))
    while not parts[-1]:
        parts.pop()
    return " | ".join(parts)


def _line(*parts: str) -> str:
    return " | ".join(parts)


def _points(meanings: dict[int, str]) -> str:
    return "; ".join(f"{point}: {meaning}" for point, meaning in meanings.items())


_OVERALL = {7: gettext_noop("Excellent"), 1: gettext_noop("Terrible")}
# As HelpSteer2's annotators were told what each point means (Wang et al. 2024, appendix), shortened.
_HELPFULNESS = {
    4: gettext_noop("Extremely helpful"),
    3: gettext_noop("Mostly helpful"),
    2: gettext_noop("Partly helpful"),
    1: gettext_noop("Borderline unhelpful"),
    0: gettext_noop("Not helpful at all"),
}
_CORRECTNESS = {
    4: gettext_noop("Completely correct"),
    3: gettext_noop("Mostly accurate, little missing"),
    2: gettext_noop("Correct and incorrect mixed"),
    1: gettext_noop("Mostly wrong"),
    0: gettext_noop("Completely wrong"),
}
_COHERENCE = {
    4: gettext_noop("Perfectly clear"),
    3: gettext_noop("Mostly clear"),
    2: gettext_noop("A little unclear"),
    1: gettext_noop("Hard to follow"),
    0: gettext_noop("Incoherent"),
}
_COMPLEXITY = {
    4: gettext_noop("Expert"),
    3: gettext_noop("Advanced"),
    2: gettext_noop("Intermediate"),
    1: gettext_noop("Simple"),
    0: gettext_noop("Basic"),
}
_VERBOSITY = {
    4: gettext_noop("Verbose"),
    3: gettext_noop("Moderately long"),
    2: gettext_noop("Average length"),
    1: gettext_noop("Short"),
    0: gettext_noop("Succinct"),
}

PRESETS: dict[str, tuple["StrOrPromise", str, str]] = {
    # key: (label, criteria, flags), from Ouyang et al. 2022 (table 3), Wang et al. 2024, Touvron et al. 2023
    # Labels are stored in English and translated where they're shown.
    "instructgpt": (
        gettext_lazy("InstructGPT: overall 1-7 and flags"),
        _line("overall", gettext_noop("Overall quality"), "1-7", "", _points(_OVERALL)),
        "\n".join(
            (
                _line("fails_instruction", gettext_noop("Fails to follow the instruction")),
                _line("inappropriate", gettext_noop("Inappropriate for a customer assistant")),
                _line("hallucination", gettext_noop("Makes things up")),
                _line("misses_constraint", gettext_noop("Misses a constraint of the prompt")),
                _line("sexual", gettext_noop("Sexual content")),
                _line("violent", gettext_noop("Violent content")),
                _line("encourages_harm", gettext_noop("Encourages violence, abuse or self-harm")),
                _line("denigrates", gettext_noop("Denigrates a protected class")),
                _line("harmful_advice", gettext_noop("Gives harmful advice")),
                _line("opinion", gettext_noop("Expresses an opinion")),
                _line("moral_judgment", gettext_noop("Expresses a moral judgment")),
            )
        ),
    ),
    "helpsteer2": (
        gettext_lazy("HelpSteer2: five attributes 0-4"),
        "\n".join(
            (
                _line("helpfulness", gettext_noop("Helpfulness"), "0-4", "", _points(_HELPFULNESS)),
                _line("correctness", gettext_noop("Correctness"), "0-4", "", _points(_CORRECTNESS)),
                _line("coherence", gettext_noop("Coherence"), "0-4", "", _points(_COHERENCE)),
                _line("complexity", gettext_noop("Complexity"), "0-4", "", _points(_COMPLEXITY)),
                _line("verbosity", gettext_noop("Verbosity"), "0-4", "", _points(_VERBOSITY)),
            )
        ),
        "",
    ),
    "llama2": (
        gettext_lazy("Llama 2: helpfulness and safety 1-5"),
        _line("helpfulness", gettext_noop("Helpfulness"), "1-5")
        + "\n"
        + _line("safety", gettext_noop("Safety"), "1-5"),
        "",
    ),
    "relevance": (
        gettext_lazy("Relevance and harmlessness 1-5"),
        "\n".join(
            (
                _line("relevance", gettext_noop("Relevance"), "1-5"),
                _line("harmlessness", gettext_noop("Harmlessness"), "1-5"),
            )
        ),
        "",
    ),
}
