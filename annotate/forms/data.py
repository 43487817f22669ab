"""Files that come in and snapshots that are asked for."""

from typing import Any

from django import forms

from ..formats import EXPORTERS, IMPORTERS
from ..models import Prompt, Snapshot

LARGEST_UPLOAD = 512 * 2**20


class ImportForm(forms.Form):
    file = forms.FileField(
        label="File",
        widget=forms.ClearableFileInput(attrs={"accept": ".jsonl,.json,.txt,.gz"}),
        help_text="JSON lines, a JSON array or plain text (a prompt a line), UTF-8, gzipped or not.",
    )
    format = forms.ChoiceField(
        choices=[("auto", "Find out by itself"), *((name, module.LABEL) for name, module in IMPORTERS.items())],
        initial="auto",
    )
    language = forms.CharField(
        required=False,
        max_length=10,
        label="Only the language",
        help_text="Such as en. Rows that don’t say theirs are taken.",
    )
    limit = forms.IntegerField(required=False, min_value=1, label="At most so many rows")

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > LARGEST_UPLOAD:
            raise forms.ValidationError(
                f"The file is larger than {LARGEST_UPLOAD // 2**20} MB. Split it, or have it imported by import_data."
            )
        return file


class SnapshotForm(forms.Form):
    kind = forms.ChoiceField(choices=Snapshot.Kind.choices, initial=Snapshot.Kind.RANKINGS, label="What")
    format = forms.ChoiceField(choices=[(name, exporter.label) for name, exporter in EXPORTERS.items()], initial="hone")
    tie_policy = forms.ChoiceField(
        choices=Snapshot.TiePolicy.choices, initial=Snapshot.TiePolicy.KEEP, label="Ties", help_text="Of rankings."
    )
    splits = forms.MultipleChoiceField(
        choices=Prompt.Split.choices,
        initial=Prompt.Split.values,
        widget=forms.CheckboxSelectMultiple,
        help_text="A prompt and all its answers are on one side for ever.",
    )
