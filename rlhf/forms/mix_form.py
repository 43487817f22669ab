"""The sampling mix of a round."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _

from annotate.errors import Refused
from rlhf.loop.prompts import PromptOrder
from rlhf.loop.rounds import sampling_mix


class MixForm(forms.Form):
    """What a round samples: rows of a version, a temperature, prompts and a share; rows without a share are left out.

    `parts` has them as they are stored.
    """

    prefix = "mix"

    def __init__(self, data: Any = None, *, given: list[dict[str, Any]], prompts: int) -> None:
        super().__init__(data)
        self.given, self.prompts = given, prompts
        for number in range(sampling_mix.MOST_PARTS):
            part = given[number] if number < len(given) else {}
            for name, field in self._row_fields(number + 1).items():
                self.fields[f"{number}-{name}"] = field
                self.initial[f"{number}-{name}"] = part.get(name)

    @staticmethod
    def _row_fields(number: int) -> dict[str, forms.Field]:
        def label(what: str) -> str:
            return _("Part %(number)s: %(what)s") % {"number": number, "what": what}

        any_number = forms.NumberInput(attrs={"step": "any", "min": 0})
        return {
            "version": forms.ChoiceField(
                required=False, label=label(_("version")), choices=sampling_mix.MixVersion.choices
            ),
            "temperature": forms.FloatField(required=False, label=label(_("temperature")), widget=any_number),
            "prompts": forms.ChoiceField(required=False, label=label(_("prompts")), choices=PromptOrder.choices),
            "share": forms.FloatField(
                required=False,
                label=label(_("share")),
                widget=forms.NumberInput(attrs={"step": "any", "min": 0, "max": 1}),
            ),
        }

    def rows(self) -> list[list[forms.BoundField]]:
        names = ("version", "temperature", "prompts", "share")
        return [[self[f"{number}-{name}"] for name in names] for number in range(sampling_mix.MOST_PARTS)]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        self.parts: list[dict[str, Any]] = []
        if not self.errors:
            try:
                self.parts = [part.as_json() for part in sampling_mix.checked(self._given(cleaned))]
            except Refused as error:
                raise forms.ValidationError(str(error)) from None
        return cleaned

    def summary(self) -> str:
        """What the shares come to, or what is wrong with them, while somebody types."""
        if self.is_bound and not self.is_valid():
            return " ".join(str(error) for errors in self.errors.values() for error in errors)
        parts = sampling_mix.checked(self.parts if self.is_bound else self.given)
        if not parts:
            return _("Without parts the policy in use responds to the prompts with the fewest comparisons.")
        counts = sampling_mix.allocated(parts, prompts=self.prompts)
        return _("The shares sum to 1. Prompts of each part: %(counts)s.") % {"counts": ", ".join(map(str, counts))}

    @staticmethod
    def _given(cleaned: dict[str, Any]) -> list[dict[str, Any]]:
        """The rows with a share or a temperature, up to the last of them."""
        names = ("version", "temperature", "prompts", "share")
        rows = [{name: cleaned.get(f"{number}-{name}") for name in names} for number in range(sampling_mix.MOST_PARTS)]
        return [row for row in rows if row["share"] is not None or row["temperature"] is not None]
