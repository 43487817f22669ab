"""The prompts that a language model is evaluated on: demonstrations as they are, or rows that templates word.

A template draws its words from the row, so it also says what the response would be under another label, and what a
label is called in it. Rows are worded as `sft` words its held-out ones under the same seed, but without worked
examples: there are no training rows here to take them from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from models_core.commands.evaluate import label_accuracy
from models_core.contract.errors import BadInput
from models_core.contract.rows.records import Demonstration, Message
from models_core.contract.settings import EvaluateConfig
from models_core.demonstrations.data_files import read_rows
from models_core.demonstrations.templated_rows import drawn_template
from models_core.demonstrations.templates import Template, read_templates, template_file


@dataclass(kw_only=True)
class EvalPrompts:
    """Rows to measure on. By label, `responses[i]` is what row i's response would be, `words[i]` what it is called."""

    classes: list[str]
    rows: list[Demonstration] = field(default_factory=list)
    responses: list[Mapping[str, str]] = field(default_factory=list)
    words: list[Mapping[str, str]] = field(default_factory=list)
    no_template_fits: int = 0


def read(path: Path, *, templates: str | None, settings: EvaluateConfig) -> EvalPrompts:
    """Raises BadInput: for rows that are none, labels that cannot be, and templates that fit no row."""
    template_set = None if templates is None else read_templates(template_file(templates))
    given = read_rows(path, templates=template_set)
    found = EvalPrompts(classes=label_accuracy.classes(given, given=settings.labels))
    for place, row in enumerate(given):
        if template_set is None:
            found.rows.append(row)
            found.responses.append(
                {label: label_accuracy.candidate(row, label, found.classes) for label in found.classes}
            )
            found.words.append({label: label for label in found.classes})
            continue
        template = drawn_template(row, templates=template_set, draw=f"{settings.seed}/0/held out/{place}")
        if template is None:
            found.no_template_fits += 1
            continue
        words = _words(template, found.classes)
        found.rows.append(_worded(row, template))
        found.responses.append({label: _worded(_relabelled(row, label), template).response for label in words})
        found.words.append(words)
    if not found.rows:
        raise BadInput(f"{path.name}: no row can be measured on; {found.no_template_fits} rows that no template fits.")
    return found


def _worded(row: Demonstration, template: Template) -> Demonstration:
    prompt, response = template.word(row) or ("", "")
    return replace(row, messages=(*row.messages[:-1], Message(role="user", content=prompt)), response=response)


def _words(template: Template, classes: Sequence[str]) -> dict[str, str]:
    """What labels are called: those that the template has a word for, where it has any."""
    if not template.labels or template.label_field != "label":
        return {label: label for label in classes}
    return {label: template.labels[label] for label in classes if label in template.labels}


def _relabelled(row: Demonstration, label: str) -> Demonstration:
    return replace(row, fields=row.fields | {"label": label})
