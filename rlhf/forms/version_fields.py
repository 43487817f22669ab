"""Fields that choose model versions."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _

from rlhf.models import ModelVersion

MOST_DIGITS = 18
"""Of a version's key."""


class _NamedVersions:
    """Labels of versions in a select field."""

    def label_from_instance(self, version: ModelVersion) -> str:
        name = f" ({version.base_model})" if version.base_model else ""
        in_use = _(", in use") if version.active else ""
        return f"{version.label}{name}{in_use}"


class VersionField(_NamedVersions, forms.ModelChoiceField):
    pass


class VersionsField(_NamedVersions, forms.ModelMultipleChoiceField):
    def clean(self, value: Any) -> Any:
        # A number beyond the column's range is no version's; SQLite would raise for it.
        for one in value or ():
            if not str(one).isdecimal() or len(str(one)) > MOST_DIGITS:
                message = self.error_messages["invalid_choice"]
                raise forms.ValidationError(message, code="invalid_choice", params={"value": str(one)[:MOST_DIGITS]})
        return super().clean(value)
