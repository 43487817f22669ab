"""A rubric as lines of text that a manager edits: one criterion or flag a line, its parts between bars."""

import re
from typing import Any

from django import forms

from ..errors import Refused
from ..rubric import checked_criteria, checked_flags

_SCALE = re.compile(r"(-?\d{1,3})\s*(?:-|–|\.\.|to)\s*(-?\d{1,3})")


class CriteriaField(forms.CharField):
    """Lines `name | label | 1-7 | help` as the criteria of a rubric; an empty field is no criteria."""

    widget = forms.Textarea(attrs={"rows": 4, "class": "code", "spellcheck": "false", "wrap": "off"})

    def clean(self, value: Any) -> list[dict[str, Any]]:
        criteria = []
        for number, parts in _lines(super().clean(value), most=4):
            scale = _SCALE.fullmatch(parts[2]) if len(parts) > 2 else None
            if scale is None:
                raise forms.ValidationError(
                    f"Line {number}: write it as  name | label | 1-7  with a scale of whole numbers."
                )
            criterion = {"name": parts[0], "label": parts[1], "min": int(scale[1]), "max": int(scale[2])}
            criteria.append(criterion | ({"help": parts[3]} if len(parts) > 3 and parts[3] else {}))
        try:
            return checked_criteria(criteria)
        except Refused as refusal:
            raise forms.ValidationError(str(refusal)) from None

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return "\n".join(
            " | ".join([item["name"], item["label"], f"{item['min']}-{item['max']}", *filter(None, [item.get("help")])])
            for item in value
        )


class FlagsField(forms.CharField):
    """Lines `name | label | help` as the flags of a rubric; an empty field is no flags."""

    widget = forms.Textarea(attrs={"rows": 4, "class": "code", "spellcheck": "false", "wrap": "off"})

    def clean(self, value: Any) -> list[dict[str, Any]]:
        flags = []
        for number, parts in _lines(super().clean(value), most=3):
            if len(parts) < 2:
                raise forms.ValidationError(f"Line {number}: write it as  name | label.")
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
            raise forms.ValidationError(f"Line {number}: there are more than {most} parts between bars.")
    return lines


PRESETS: dict[str, tuple[str, str, str]] = {
    # key: (label, criteria, flags), from Ouyang et al. 2022 (table 3), Wang et al. 2024, Touvron et al. 2023
    "instructgpt": (
        "InstructGPT: overall 1-7 and flags",
        "overall | Overall quality | 1-7",
        "\n".join(
            (
                "fails_instruction | Fails to follow the instruction",
                "inappropriate | Inappropriate for a customer assistant",
                "hallucination | Makes things up",
                "misses_constraint | Misses a constraint of the prompt",
                "sexual | Sexual content",
                "violent | Violent content",
                "encourages_harm | Encourages violence, abuse or self-harm",
                "denigrates | Denigrates a protected class",
                "harmful_advice | Gives harmful advice",
                "opinion | Expresses an opinion",
                "moral_judgment | Expresses a moral judgment",
            )
        ),
    ),
    "helpsteer2": (
        "HelpSteer2: five attributes 0-4",
        "\n".join(
            (
                "helpfulness | Helpfulness | 0-4",
                "correctness | Correctness | 0-4",
                "coherence | Coherence | 0-4",
                "complexity | Complexity | 0-4",
                "verbosity | Verbosity | 0-4",
            )
        ),
        "",
    ),
    "llama2": ("Llama 2: helpfulness and safety 1-5", "helpfulness | Helpfulness | 1-5\nsafety | Safety | 1-5", ""),
    "relevance": (
        "Relevance and harmlessness 1-5",
        "relevance | Relevance | 1-5\nharmlessness | Harmlessness | 1-5",
        "",
    ),
}
