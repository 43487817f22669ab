"""Files that come in and snapshots that are asked for."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.data.hub.hub_files import LONGEST, HubSource
from annotate.data.pseudonyms import labeler_name
from annotate.data.snapshot_filters import LONGEST_NAME, MOST_NAMES, labelers_of
from annotate.errors import Refused
from annotate.formats import EXPORTERS, IMPORTERS, column_mapping, column_pairs
from annotate.models import JudgmentRevision, Project, Prompt, Snapshot

LARGEST_UPLOAD = 512 * 2**20
SEVERAL = gettext_lazy("Nothing chosen takes all.")
NAMES = gettext_lazy("Separated by commas; nothing takes all.")


class NamesField(forms.CharField):
    """A few names, separated by commas."""

    def clean(self, value: Any) -> list[str]:
        names = [name.strip() for name in str(super().clean(value)).replace("，", ",").split(",")]
        names = [name for name in names if name]
        if len(names) > MOST_NAMES or any(len(name) > LONGEST_NAME for name in names):
            raise forms.ValidationError(_("Give up to %(most)d names.") % {"most": MOST_NAMES})
        return names


def _date(label: Any) -> forms.DateField:
    widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    return forms.DateField(required=False, label=label, widget=widget)


class ImportOptions(forms.Form):
    """How a file is read, wherever it comes from."""

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
    columns = forms.CharField(
        required=False,
        max_length=2_000,
        label=gettext_lazy("Columns"),
        help_text=gettext_lazy(
            "For a file in no known format: which column holds what, such as prompt=question, response=reply. Fields "
            "are prompt, system, response, chosen, rejected, score, label, lang, source, id."
        ),
    )
    keep_tools = forms.BooleanField(
        required=False,
        label=gettext_lazy("Keep turns of tools as text"),
        help_text=gettext_lazy("Otherwise rows that have some are left out."),
    )

    def clean_columns(self) -> dict[str, str]:
        try:
            return column_pairs(self.cleaned_data["columns"])
        except ValueError:
            raise forms.ValidationError(_("Write it like prompt=question, response=reply.")) from None

    @property
    def options(self) -> dict[str, Any]:
        """Of import_file."""
        return {name: self.cleaned_data[name] for name in ImportOptions.base_fields}

    @property
    def option_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in ImportOptions.base_fields]


class ImportForm(ImportOptions):
    file = forms.FileField(
        label=gettext_lazy("File"),
        widget=forms.ClearableFileInput(attrs={"accept": ".jsonl,.json,.csv,.tsv,.xlsx,.parquet,.arrow,.txt,.gz,.zip"}),
        help_text=gettext_lazy(
            "JSON lines, a JSON array, CSV, TSV, .xlsx, Parquet, Arrow, plain text (a prompt a line), or a zip of a "
            "folder that datasets saved; UTF-8 or UTF-16."
        ),
    )

    field_order = ["file"]

    def clean_columns(self) -> dict[str, str]:
        """As chosen for each column, else as written."""
        try:
            by_choice = column_mapping.chosen(self.data.getlist("map"))  # type: ignore[attr-defined]
        except ValueError:
            raise forms.ValidationError(_("Each of them is held by one column.")) from None
        return by_choice or super().clean_columns()

    def written_columns(self) -> None:
        """Keep what was chosen as text, so that the next file is read in the same way."""
        if columns := self.cleaned_data.get("columns"):
            written = ", ".join(f"{field}={column}" for field, column in columns.items())
            self.data = {**self.data.dict(), "columns": written}  # type: ignore[attr-defined]

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > LARGEST_UPLOAD:
            raise forms.ValidationError(
                _("The file is larger than %(size)s MB. Split it, or have it imported by import_data.")
                % {"size": LARGEST_UPLOAD // 2**20}
            )
        return file


class HubImportForm(ImportOptions):
    """A data set of a Hub."""

    prefix = "hub"

    repository = forms.CharField(
        max_length=200, label=gettext_lazy("Data set"), help_text=gettext_lazy("OWNER/NAME on the Hub.")
    )
    config = forms.CharField(required=False, max_length=LONGEST, label=gettext_lazy("Configuration"))
    split = forms.CharField(required=False, max_length=LONGEST, label=gettext_lazy("Split"))
    revision = forms.CharField(
        required=False,
        max_length=LONGEST,
        label=gettext_lazy("Revision"),
        help_text=gettext_lazy("A branch, a tag or a commit; the newest otherwise."),
    )
    token_variable = forms.CharField(
        required=False,
        max_length=64,
        label=gettext_lazy("Environment variable with the token"),
        help_text=gettext_lazy("Of the worker, such as HF_TOKEN; none is needed for a public data set."),
    )

    SOURCE = ("repository", "config", "split", "revision", "token_variable")
    field_order = SOURCE

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if not self.errors:
            try:
                self.source = HubSource.checked(**{name: values[name] for name in self.SOURCE})
            except Refused as reason:
                self.add_error(None, str(reason))
        return values

    @property
    def source_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.SOURCE]


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

    after = _date(gettext_lazy("From"))
    before = _date(gettext_lazy("Before"))
    sources = forms.MultipleChoiceField(
        required=False,
        label=gettext_lazy("Judged by"),
        choices=JudgmentRevision.Source.choices,
        initial=JudgmentRevision.Source.values,
        widget=forms.CheckboxSelectMultiple,
    )
    labelers = forms.MultipleChoiceField(required=False, label=gettext_lazy("Labelers"), help_text=SEVERAL)
    models = NamesField(required=False, label=gettext_lazy("With a response of the models"), help_text=NAMES)
    use_cases = forms.MultipleChoiceField(
        required=False, label=gettext_lazy("Use cases"), choices=Prompt.UseCase.choices, help_text=SEVERAL
    )
    languages = NamesField(required=False, label=gettext_lazy("Languages"), help_text=NAMES)
    agreement = forms.FloatField(
        required=False,
        min_value=0,
        max_value=1,
        label=gettext_lazy("Least agreement"),
        help_text=gettext_lazy("Of rankings: the share of pairs on which a task’s labelers agree, from 0 to 1."),
    )
    redact = forms.BooleanField(
        required=False,
        label=gettext_lazy("Replace personal data in texts"),
        help_text=gettext_lazy("E-mail addresses, phone, card, account and identity numbers, IP addresses; no names."),
    )
    licence = forms.CharField(
        required=False, max_length=LONGEST_NAME, label=gettext_lazy("Licence"), help_text=gettext_lazy("For the card.")
    )

    MAIN = ("kind", "format", "tie_policy", "aggregation", "splits", "redact", "licence")

    def __init__(self, *arguments: Any, project: Project, **values: Any) -> None:
        super().__init__(*arguments, **values)
        people = [(labeler_name(user, project), user.display_name) for user in labelers_of(project)[:MOST_NAMES]]
        self.fields["labelers"].choices = people  # type: ignore[attr-defined]

    @property
    def main_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.MAIN]

    @property
    def filter_fields(self) -> list[forms.BoundField]:
        return [field for field in self if field.name not in self.MAIN]

    @property
    def filters(self) -> dict[str, Any]:
        """What was asked for, as a snapshot keeps it: without what takes everything."""
        wanted = self.cleaned_data
        found: dict[str, Any] = {name: wanted[name] for name in ("labelers", "models", "use_cases", "languages")}
        found |= {name: wanted[name] for name in ("agreement", "redact", "licence")}
        for name, all_of_them in (("splits", Prompt.Split.values), ("sources", JudgmentRevision.Source.values)):
            found[name] = wanted[name] if set(wanted[name]) != set(all_of_them) else []
        for name in ("after", "before"):
            found[name] = f"{wanted[name].isoformat()}T00:00:00+00:00" if wanted[name] else ""
        return {name: value for name, value in found.items() if value not in (None, "", [], False)}

    def clean(self) -> dict[str, Any]:
        wanted: dict[str, Any] = super().clean() or {}
        kind, name = wanted.get("kind"), wanted.get("format")
        if kind and name and kind not in EXPORTERS[name].kinds:
            labels = {"format": _(EXPORTERS[name].label), "kind": Snapshot.Kind(kind).label.lower()}
            self.add_error("format", _("The format %(format)s has no place for %(kind)s.") % labels)
        return wanted
