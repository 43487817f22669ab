"""Files that come in and snapshots that are asked for."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.formats import EXPORTERS, IMPORTERS
from annotate.models import Prompt, Snapshot

LARGEST_UPLOAD = 512 * 2**20


class ImportForm(forms.Form):
    file = forms.FileField(
        label=gettext_lazy("File"),
        widget=forms.ClearableFileInput(attrs={"accept": ".jsonl,.json,.csv,.tsv,.parquet,.txt,.gz"}),
        help_text=gettext_lazy(
            "JSON lines, a JSON array, CSV, TSV, Parquet, or plain text (a prompt a line); UTF-8 or UTF-16."
        ),
    )
    format = forms.ChoiceField(
        label=gettext_lazy("Format"),
        choices=[
            ("auto", gettext_lazy("Detect automatically")),
            *((name, gettext_lazy(module.LABEL)) for name, module in IMPORTERS.items()),
        ],
        initial="auto",
    )
    language = forms.CharField(
        required=False,
        max_length=10,
        label=gettext_lazy("Language"),
        help_text=gettext_lazy("Such as en. Rows that don’t say theirs are taken."),
    )
    limit = forms.IntegerField(required=False, min_value=1, label=gettext_lazy("Maximum number of rows"))
    keep_tools = forms.BooleanField(
        required=False,
        label=gettext_lazy("Keep turns of tools as text"),
        help_text=gettext_lazy("Otherwise rows that have some are left out."),
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > LARGEST_UPLOAD:
            raise forms.ValidationError(
                _("The file is larger than %(size)s MB. Split it, or have it imported by import_data.")
                % {"size": LARGEST_UPLOAD // 2**20}
            )
        return file


class SnapshotForm(forms.Form):
    kind = forms.ChoiceField(choices=Snapshot.Kind.choices, initial=Snapshot.Kind.RANKINGS, label=gettext_lazy("What"))
    format = forms.ChoiceField(
        label=gettext_lazy("Format"),
        choices=[(name, gettext_lazy(exporter.label)) for name, exporter in EXPORTERS.items()],
        initial="hone",
    )
    tie_policy = forms.ChoiceField(
        choices=Snapshot.TiePolicy.choices,
        initial=Snapshot.TiePolicy.KEEP,
        label=gettext_lazy("Ties"),
        help_text=gettext_lazy("Applies to rankings."),
    )
    aggregation = forms.ChoiceField(
        choices=Snapshot.Aggregation.choices,
        initial=Snapshot.Aggregation.RAW,
        required=False,
        label=gettext_lazy("Several judgments of a task"),
        help_text=gettext_lazy("Of rankings. Weights have the mean 1 over the snapshot."),
    )
    splits = forms.MultipleChoiceField(
        label=gettext_lazy("Splits"),
        choices=Prompt.Split.choices,
        initial=Prompt.Split.values,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("A prompt and all its responses stay in one split."),
    )

    def clean(self) -> dict[str, Any]:
        wanted: dict[str, Any] = super().clean() or {}
        kind, name = wanted.get("kind"), wanted.get("format")
        if kind and name and kind not in EXPORTERS[name].kinds:
            labels = {"format": _(EXPORTERS[name].label), "kind": Snapshot.Kind(kind).label.lower()}
            self.add_error("format", _("The format %(format)s has no place for %(kind)s.") % labels)
        return wanted
