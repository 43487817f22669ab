"""A model version's card: what it is, what it was trained on and how, how good it is, and what to be careful about.

After Mitchell et al. 2019 (1810.03993), from what the run has stored.
"""

import re
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.data import stored_messages
from rlhf.loop import promotions
from rlhf.models import ModelVersion, TrainingRun
from rlhf.reports import benchmark_results, curves, labels, stop_reasons
from rlhf.runs.execution.run_files import document
from rlhf.runs.storage import run_artefacts

Rows = list[tuple[str, str]]
MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|])")


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Sections of (name, text); `limits` are sentences."""

    version: ModelVersion
    about: Rows
    data: Rows
    recipe: Rows
    measures: Rows
    measured_on: Rows
    limits: list[str]

    @property
    def sections(self) -> list[tuple[str, Rows]]:
        found = [
            (_("Model"), self.about),
            (_("Data"), self.data),
            (_("Recipe"), self.recipe),
            (_("Measures"), self.measures),
            (_("Measured on files"), self.measured_on),
        ]
        return [(title, rows) for title, rows in found if rows]

    def markdown(self) -> str:
        """The card as a Markdown file. Names and texts of people can't be markup in it."""
        lines = [f"# {_escaped(self.version.label)}", ""]
        for title, rows in self.sections:
            lines += [f"## {title}", "", f"| {_('Name')} | {_('Value')} |", "| --- | --- |"]
            lines += [f"| {_escaped(name)} | {_escaped(value)} |" for name, value in rows]
            lines += [""]
        lines += [f"## {_('Limits')}", "", *(f"- {_escaped(sentence)}" for sentence in self.limits), ""]
        return "\n".join(lines)


def card_of(version: ModelVersion) -> ModelCard:
    run = TrainingRun.objects.filter(produced=version).select_related("snapshot", "created_by").first()
    return ModelCard(
        version=version,
        about=_about(version, run),
        data=_data(run),
        recipe=_recipe(run) if run is not None else [],
        measures=curves.numbers(version.metrics),
        measured_on=[(each.file, str(each)) for each in benchmark_results.of_version(version, only_ended=True)],
        limits=_limits(version, run),
    )


def _about(version: ModelVersion, run: TrainingRun | None) -> Rows:
    parents = ", ".join(parent.label for parent in version.parents.all())
    rows = [
        (_("Kind"), str(version.get_kind_display())),
        (_("Base model"), version.base_model),
        (_("From"), parents),
        (_("Tags"), ", ".join(version.tags)),
        (_("Imported from"), _source(version)),
        (_("Project"), version.project.name),
        (_("Made"), f"{version.created_at:%Y-%m-%d %H:%M} UTC"),
        (_("Run"), f"{run.pk}: {run.get_stage_display()}" if run is not None else ""),
        (_("SHA-256 of its files"), version.sha256),
    ]
    return [(name, text) for name, text in rows if text]


def _source(version: ModelVersion) -> str:
    """Of an imported version: the Hub id with its commit, or the folder's name."""
    source, revision = (str(version.metrics.get(name) or "") for name in ("source", "revision"))
    return f"{source} @ {revision}" if revision else source.rpartition("/")[2] if source.startswith("/") else source


def _data(run: TrainingRun | None) -> Rows:
    if run is None or run.snapshot is None:
        return []
    rows: Rows = [(_("Data set"), str(run.snapshot))]
    if run.snapshot.rows:
        rows.append((_("Rows"), f"{run.snapshot.rows:,}"))
    files = document(run_artefacts.shown(run).run / "run.json").get("data")
    for name, entry in files.items() if isinstance(files, dict) else ():
        if isinstance(entry, dict) and isinstance(entry.get("sha256"), str):
            rows.append((_("SHA-256 of %(file)s") % {"file": f"{name}.jsonl"}, entry["sha256"]))
    return rows


def _recipe(run: TrainingRun) -> Rows:
    stored = document(run_artefacts.shown(run).run / "run.json")
    config = stored.get("config") if isinstance(stored.get("config"), dict) else run.config
    rows = [(labels.in_words(name), _text(value)) for name, value in (config or {}).items() if value not in (None, "")]
    packages = stored.get("versions")
    if isinstance(packages, dict):
        rows.append((_("Libraries"), ", ".join(f"{name} {number}" for name, number in packages.items())))
    return rows


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)[:200]


def _limits(version: ModelVersion, run: TrainingRun | None) -> list[str]:
    found = list(promotions.change_to(version).warnings)
    if run is not None:
        found += [sentence] if (sentence := stop_reasons.sentence(run)) else []
        found += [str(stored_messages.text(note)) for note in run.result.get("notes", [])]
    rows = run.snapshot.rows if run is not None and run.snapshot is not None else None
    if rows:
        found.append(
            ngettext(
                "It knows the preferences of the people behind %(n)d row of one project, and nobody else's.",
                "It knows the preferences of the people behind %(n)d rows of one project, and nobody else's.",
                rows,
            )
            % {"n": rows}
        )
    found.append(_("Responses of a language model can be false, harmful or biased; measures above are averages."))
    return found


def _escaped(text: str) -> str:
    return MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))
