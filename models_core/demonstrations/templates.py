"""Instruction templates: several ways to word a row as a prompt and a response.

One task asked in many words teaches to follow instructions rather than one wording (Wei et al. 2021, 2109.01652; Sanh
et al. 2021, 2110.08207). A template names the row's keys in braces, `{text}`, or is a cloze pattern whose answer stands
at `[label]` (Schick and Schuetze 2020, 2001.07676). docs/sft.md describes the file. Standard library only.
"""

import json
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models_core.contract.errors import BadInput, BadLine, RowError
from models_core.contract.rows import json_lines
from models_core.contract.rows.records import Demonstration, clean

BUILT_IN = Path(__file__).with_name("builtin")
LARGEST_FILE = 2**20
MOST_SHOTS = 64
BLANK = re.compile(r"\[([A-Za-z_]\w*)\]")
KEYS = {"shots", "exemplars", "labels", "templates", "description"}
TEMPLATE_KEYS = ({"prompt", "response", "labels", "unless"}, {"cloze", "labels", "unless"})

Pieces = tuple[tuple[str, str | None], ...]
"""Literal texts, each with the name of the field that follows it, or None."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """One wording. `labels` are the words (the verbalizer) that stand for the values of the field `label_field`.

    It is not for rows that have a field of `unless`: a question whose context it would leave out.
    """

    prompt: Pieces
    response: Pieces
    label_field: str = "label"
    labels: Mapping[str, str] = field(default_factory=dict)
    unless: tuple[str, ...] = ()

    def word(self, row: Demonstration) -> tuple[str, str] | None:
        """The row as a prompt's last turn and a response; None where it lacks a field or a word for its label."""
        values = {name: value for name, value in row.fields.items() if value.strip()}
        if row.messages:
            values["prompt"] = row.messages[-1]["content"]
        if row.response:
            values["response"] = row.response
        if any(name in values for name in self.unless):
            return None
        if self.labels and self.label_field in values:
            if values[self.label_field] not in self.labels:
                return None
            values[self.label_field] = self.labels[values[self.label_field]]
        prompt, response = _filled(self.prompt, values), _filled(self.response, values)
        return (prompt, response) if prompt and response and prompt.strip() and response.strip() else None


@dataclass(frozen=True, kw_only=True)
class TemplateSet:
    """The templates of one data set, how many worked examples may precede a row, and whether as turns or as text."""

    name: str
    templates: tuple[Template, ...]
    shots: tuple[int, ...] = (0,)
    as_turns: bool = True


def template_file(name: str | Path) -> Path:
    """The file behind a built-in set's name, or the file itself. Raises BadInput."""
    built_in = BUILT_IN / f"{name}.json"
    if str(name) in built_in_names():
        return built_in
    if not Path(name).is_file():
        raise BadInput(f"There are no templates {name}: give a JSON file or one of {', '.join(built_in_names())}.")
    return Path(name)


def built_in_names() -> list[str]:
    return sorted(path.stem for path in BUILT_IN.glob("*.json"))


def read_templates(path: Path) -> TemplateSet:
    """The templates of a file. Raises BadInput that names the file and what is wrong in it."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadInput(f"{path.name}: a template file of more than {LARGEST_FILE // 2**20} MiB is not read.")
        document = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=json_lines.keys_once)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path.name}: not valid JSON ({error}).") from None
    except BadLine as reason:
        raise BadInput(f"{path.name}: {reason}.") from None
    try:
        return _template_set(document, name=path.stem)
    except (_Wrong, RowError) as reason:
        raise BadInput(f"{path.name}: {reason}.") from None


class _Wrong(Exception):
    """Why a template file cannot be used."""


def _template_set(document: Any, *, name: str) -> TemplateSet:
    if not isinstance(document, dict) or not isinstance(document.get("templates"), list) or not document["templates"]:
        raise _Wrong('it must be an object with a non-empty list "templates"')
    _known(document, KEYS, "the file")
    shots = document.get("shots", [0])
    if not isinstance(shots, list) or not shots or not all(_is_count(count) for count in shots):
        raise _Wrong(f'"shots" must be a list of whole numbers from 0 to {MOST_SHOTS}')
    exemplars = document.get("exemplars", "turns")
    if exemplars not in ("turns", "text"):
        raise _Wrong('"exemplars" must be "turns" or "text"')
    labels = _labels(document, "the file")
    templates = tuple(
        _template(item, labels=labels, where=f"template {number}")
        for number, item in enumerate(document["templates"], start=1)
    )
    return TemplateSet(name=name, templates=templates, shots=tuple(shots), as_turns=exemplars == "turns")


def _template(item: Any, *, labels: Mapping[str, str], where: str) -> Template:
    if not isinstance(item, dict) or ("prompt" in item) == ("cloze" in item):
        raise _Wrong(f'{where} must be an object with either "prompt" or "cloze"')
    plain, cloze = TEMPLATE_KEYS
    _known(item, plain if "prompt" in item else cloze, where)
    labels = _labels(item, where) or labels
    unless = item.get("unless", [])
    if not isinstance(unless, list) or not all(isinstance(name, str) for name in unless):
        raise _Wrong(f'{where}: "unless" must be a list of fields')
    if "prompt" in item:
        prompt, response = _string(item, "prompt", where), _string(item, "response", where, default="{response}")
        return Template(
            prompt=_pieces(prompt, where), response=_pieces(response, where), labels=labels, unless=tuple(unless)
        )
    pattern = _string(item, "cloze", where)
    blanks = list(BLANK.finditer(pattern))
    if len(blanks) != 1:
        raise _Wrong(f'{where}: a "cloze" has its answer at one place, such as [label]; this one has {len(blanks)}')
    (blank,) = blanks
    # The blank is the assistant's to fill: what precedes it asks, and it answers to the end of the sentence.
    asked, rest = pattern[: blank.start()].rstrip(), pattern[blank.end() :]
    return Template(
        prompt=_pieces(asked, where),
        response=((("", blank[1])), *_pieces(rest, where)),
        label_field=blank[1],
        labels=labels,
        unless=tuple(unless),
    )


def _pieces(text: str, where: str) -> Pieces:
    """The text cut at its fields. A name is all that braces may hold, so nothing is looked up inside a value."""
    try:
        parsed = list(string.Formatter().parse(text))
    except ValueError as error:
        raise _Wrong(f"{where}: {str(error).lower()} (a brace of the text itself is written twice)") from None
    for _, name, specification, conversion in parsed:
        if name is not None and (not name.isidentifier() or specification or conversion):
            raise _Wrong(
                f"{where}: {{{name}}} is not the name of a field (a brace of the text itself is written twice)"
            )
    return tuple((literal, name) for literal, name, _, _ in parsed)


def _filled(pieces: Pieces, values: Mapping[str, str]) -> str | None:
    """The text with its fields, whose own braces stay what they are; None where a field is missing."""
    if any(name is not None and name not in values for _, name in pieces):
        return None
    return "".join(literal + (values[name] if name is not None else "") for literal, name in pieces)


def _labels(item: dict[str, Any], where: str) -> dict[str, str]:
    labels = item.get("labels", {})
    if not isinstance(labels, dict) or not all(isinstance(word, str) and word.strip() for word in labels.values()):
        raise _Wrong(f'{where}: "labels" must give a word for every label, such as {{"pos": "great"}}')
    return {value: clean(word, f'{where}: "labels"') for value, word in labels.items()}


def _known(item: dict[str, Any], keys: set[str], where: str) -> None:
    unknown = [key for key in item if key not in keys]
    if unknown:
        raise _Wrong(f"{where} has the key {unknown[0]!r}; it may have {', '.join(sorted(keys))}")


def _string(item: dict[str, Any], key: str, where: str, *, default: str | None = None) -> str:
    value = item.get(key, default)
    if not isinstance(value, str) or not value.strip():
        raise _Wrong(f'{where}: "{key}" must be a text')
    return clean(value, f'{where}: "{key}"')


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_SHOTS
