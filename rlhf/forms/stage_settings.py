"""The form of a stage's settings. Its fields come from the settings class in models_core.contract.settings."""

import dataclasses
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext as _

from annotate.errors import Refused
from models_core.contract.errors import BadInput
from models_core.contract.settings import STAGES, Settings, parse, subjects
from rlhf.models import Stage
from rlhf.reports import labels
from rlhf.runs.stages import ppo

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

PREFIX = "set_"
FIRST_SETTINGS = (
    "size", "method", "algorithm", "objective", "epochs", "episodes", "batch_size", "samples_per_prompt",
    "learning_rate", "kl_coef", "beta", "max_new_tokens", "temperature", "best_of", "weight_format",
)  # fmt: skip
"""Settings that are changed most; the others are folded."""


def setting_field(setting: "dataclasses.Field[Any]", kind: type) -> forms.Field:
    """A form field for one setting, with its help, range and choices."""
    low, high, choices = (setting.metadata[key] for key in ("minimum", "maximum", "choices"))
    label = labels.of_name(setting.name)
    common: dict[str, Any] = {"label": label, "help_text": _(setting.metadata["help"])}
    if choices:
        return forms.ChoiceField(choices=[(choice, choice) for choice in choices], **common)
    if kind is bool:
        return forms.BooleanField(required=False, **common)
    if kind is int:
        return forms.IntegerField(min_value=low, max_value=high, **common)
    if kind is float:
        return forms.FloatField(
            min_value=low, max_value=high, widget=forms.NumberInput(attrs={"step": "any"}), **common
        )
    return forms.CharField(required=bool(setting.default), **common)


@dataclass(frozen=True, kw_only=True)
class ShownSetting:
    """A setting on a form. With values of the field `other` that aren't among `values` it has no effect."""

    field: forms.BoundField
    is_changed: bool
    other: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SubjectGroup:
    title: "StrOrPromise"
    settings: list[ShownSetting]

    @property
    def changed(self) -> int:
        """How many differ from their defaults."""
        return sum(setting.is_changed for setting in self.settings)

    @property
    def has_errors(self) -> bool:
        return any(setting.field.errors for setting in self.settings)


class SettingsForm(forms.Form):
    """The settings of a stage. `config` has those that differ from their defaults."""

    def __init__(self, *args: Any, stage: str, given: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stage = stage
        self.settings: type[Settings] = STAGES[stage]
        types = typing.get_type_hints(self.settings)
        for setting in self._shown():
            self.fields[PREFIX + setting.name] = setting_field(setting, types[setting.name])
            self.initial[PREFIX + setting.name] = (given or {}).get(setting.name, setting.default)

    def _shown(self) -> "list[dataclasses.Field[Any]]":
        """All settings but those for the command line alone, such as servers and Python functions."""
        return [setting for setting in dataclasses.fields(self.settings) if setting.metadata["on_pages"]]

    def first_settings(self) -> list[forms.BoundField]:
        return [self[PREFIX + name] for name in FIRST_SETTINGS if PREFIX + name in self.fields]

    def further_settings(self) -> list[forms.BoundField]:
        names = [field.name for field in self._shown() if field.name not in FIRST_SETTINGS]
        return [self[PREFIX + name] for name in names]

    def essential_settings(self) -> list[ShownSetting]:
        return [self._shown_setting(name) for name in FIRST_SETTINGS if PREFIX + name in self.fields]

    def subject_groups(self) -> list[SubjectGroup]:
        """The settings that are not essential, by subject."""
        names = [field.name for field in self._shown() if field.name not in FIRST_SETTINGS]
        return [
            SubjectGroup(title=_(subject), settings=[self._shown_setting(name) for name in members])
            for subject, members in subjects.grouped(names)
        ]

    def _shown_setting(self, name: str) -> ShownSetting:
        other, values = subjects.ONLY_WITH.get(name, ("", ()))
        field = self[PREFIX + name]
        default = next(each.default for each in dataclasses.fields(self.settings) if each.name == name)
        is_changed = field.field.has_changed(default, field.value())
        if PREFIX + other not in self.fields:
            return ShownSetting(field=field, is_changed=is_changed)
        return ShownSetting(field=field, is_changed=is_changed, other=self[PREFIX + other].html_name, values=values)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            try:
                parse(self.settings, self.config())
            except BadInput as error:
                raise forms.ValidationError(str(error)) from None
        if self.stage == Stage.PPO and not self.errors:
            try:
                ppo.refuse_servers(self.config())
            except Refused as error:
                self.add_error(PREFIX + "rollouts_ahead", str(error))
        return cleaned

    def config(self) -> dict[str, Any]:
        """The settings that differ from their defaults."""
        given = {field.name: self.cleaned_data[PREFIX + field.name] for field in self._shown()}
        defaults = {field.name: field.default for field in dataclasses.fields(self.settings)}
        return {name: value for name, value in given.items() if value != defaults[name]}
