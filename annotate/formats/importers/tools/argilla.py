"""Argilla's records: fields that people answered questions about, of version 2 and of version 1 (feedback data sets).

They are nested, or tables as Argilla makes them for `datasets`, whose columns are fields, metadata and answers. Which
field is the prompt and which are the responses is known by their names; what a question is by its values: a list is an
order, a number a rating, a text where there is no response an ideal one, the name of a field a choice.
"""

import re
from collections import defaultdict
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.chat_turns import prompt_of, turns_of
from annotate.formats.files import parsed_json
from annotate.formats.importers.hone import judged_of, margin_of, origin_of
from annotate.formats.importers.tools.argilla_tables import is_table, read_annotations
from annotate.formats.rows import (
    MOST_RESPONSES,
    BadRow,
    Fields,
    ImportedResponse,
    ImportedRow,
    LeftOut,
    WrittenBy,
    by_model,
    checked_messages,
    number_of,
    shown_key,
)

NAME, LABEL = "argilla", gettext_noop("Argilla records")
PROMPTS = ("prompt", "instruction", "request", "input", "question", "query", "chat", "messages", "conversation", "text")
RESPONSE = re.compile(r"(?:response|reply|completion|answer|generation|output)[-_ ]?(\d{1,3}|[a-z])?", re.ASCII)
NUMBER = re.compile(r"[-_ ](\d{1,3})$", re.ASCII)


def recognises(row: dict[str, Any]) -> bool:
    is_nested = isinstance(row.get("fields"), dict) and bool({"responses", "suggestions", "metadata"} & set(row))
    return is_nested or ("fields" not in row and is_table(row))


def parse(row: Fields) -> ImportedRow | list[ImportedRow | LeftOut]:
    """A judgment for each person who answered; a record without answers is a prompt, or responses to compare."""
    given: Any = row.values.get("responses")
    if is_flat := "fields" not in row.values:
        fields, given = row, read_annotations(row)
    else:
        fields = row.object("fields")
    names = [name for name in fields.values if isinstance(name, str) and not (is_flat and name in given)]
    response_names = [name for name in names if RESPONSE.fullmatch(name)]
    prompt_name = next((name for name in PROMPTS if name in names), None)
    if prompt_name is None:
        raise LeftOut(_("no field of it is a prompt"))
    if len(response_names) > MOST_RESPONSES:
        raise BadRow(_("more than %(most_responses)s responses") % {"most_responses": MOST_RESPONSES})
    messages = prompt_of(fields, prompt_name)
    texts = {name: fields.text(name) for name in response_names if name in fields}
    row.ignore("status", "_server_id", "external_id", "inserted_at", "updated_at", "dataset_id")
    if row.values.get("suggestions"):
        row.leave("suggestions", _("a model's suggestions, which nobody confirmed"))
    metadata = _metadata(row, is_flat=is_flat)
    common = {**origin_of(metadata), "messages": checked_messages(messages)}
    if "opening" in fields:
        common["opening"] = checked_messages(turns_of(fields, "opening"))
    authors = _authors(metadata, list(texts))
    if common["source"] is None:
        common["source"] = "Argilla"
    common["id"] = common["id"] or row.label("external_id") or row.label("id")
    submitted = _submitted_values(row, given)
    if not submitted:
        responses = tuple(ImportedResponse(text=text, **authors[name]) for name, text in texts.items())
        return ImportedRow(**common, responses=responses)
    if texts:
        common |= judged_of(metadata) | {"margin": margin_of(metadata, len(texts))}
    return [_judged(common, texts, authors, person, given, metadata) for person, given in submitted.items()]


def _authors(metadata: Fields, names: list[str]) -> dict[str, WrittenBy]:
    """Of each response the model that wrote it, where the metadata names it: "response_1_model", or "model"."""
    found: dict[str, WrittenBy] = {}
    for name in names:
        keys = [f"{name}_model", *(["model"] if len(names) == 1 else [])]
        model = next((metadata.label(key) for key in keys if key in metadata), "")
        found[name] = by_model(model)
    return found


def _metadata(row: Fields, *, is_flat: bool) -> Fields:
    """Of a table's row the metadata are columns as the fields are; version 1 has them as a text of JSON."""
    given = row.values.get("metadata")
    if is_flat and isinstance(given, str):
        parsed = parsed_json(given) if given else {}
        given = parsed if isinstance(parsed, dict) else None
    if isinstance(given, dict):
        return row.within("metadata", given)
    return row if is_flat else Fields({})


def _submitted_values(row: Fields, given: Any) -> dict[str, dict[str, Any]]:
    """{who: {question: value}}, of submitted responses alone."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    if isinstance(given, dict):
        inner = row.within("responses", given)
        for question in given:
            if not given[question]:
                inner.ignore(question)
                continue
            asked = f'"{shown_key(question)}"'
            for number, item in enumerate(inner.objects(question, name=asked), start=1):
                if _is_submitted(item):
                    found[item.label("user_id") or f"annotator {number}"][question] = item.raw("value")
        return found
    for number, item in enumerate(row.objects("responses") if given else [], start=1):
        item.ignore("id", "inserted_at", "updated_at", "record_id")
        values = item.values.get("values")
        if _is_submitted(item) and isinstance(values, dict):
            inner = item.within("values", values)
            for question, value in values.items():
                if isinstance(value, dict):
                    said = inner.within(question, value).raw("value")
                    found[item.label("user_id") or f"annotator {number}"][question] = said
    return found


def _is_submitted(item: Fields) -> bool:
    status = item.label("status").lower()
    if status in ("", "submitted"):
        return True
    for key in ("status", "value", "values"):
        if key in item:
            item.leave(key, _("drafts and discarded answers are no judgments"))
    item.ignore(*item.values)
    return False


def _judged(
    common: dict[str, Any],
    texts: dict[str, str],
    authors: dict[str, WrittenBy],
    person: str,
    given: dict[str, Any],
    metadata: Fields,
) -> ImportedRow | LeftOut:
    """What one person answered to the questions of a record."""
    names = list(texts)
    ranks: dict[str, int] = {}
    ratings: dict[str, dict[str, float]] = {name: {} for name in names}
    said: list[str] = []
    for asked, value in given.items():
        question = shown_key(asked)
        if order := _order(value, names):
            ranks = order
        elif isinstance(value, str):
            said.append(Fields({question: value}).text(question, longest=100_000))
        elif (number := number_of(value, question)) is not None:
            at = NUMBER.search(question)
            place = int(at[1]) - 1 if at and len(names) > 1 else 0
            if place < len(names):
                ratings[names[place]][NUMBER.sub("", question) if at else question] = number
    if not texts:
        text = next((each for each in said if each.strip()), "")
        if not text:
            return LeftOut(_("nobody responded"))
        # Of Hone's exports, which hold texts of models too.
        kind = "model" if metadata.label("author_kind") == "model" else "person"
        return ImportedRow(**common, demonstration=text, author=person, author_kind=kind)
    judged = {**common, "task": common["task"] or common["id"] or "argilla"}
    # A model that judged has no account there.
    judged["labeler"] = "" if common["judge"] == "ai" and person.startswith("annotator ") else person
    judged["comment"] = "\n\n".join(said)[:20_000] or common["comment"]
    if len(names) == 1:
        (name,) = names
        if not ratings[name] and not said:
            return LeftOut(_("its rating is no number"))
        note = "" if ratings[name] else judged.pop("comment")[:4_000]
        response = ImportedResponse(text=texts[name], ratings=ratings[name], note=note, **authors[name])
        return ImportedRow(**judged, rated=True, responses=(response,))
    if not ranks and not any(ratings.values()):
        return LeftOut(_("it says of no pair which is better"))
    responses = tuple(
        ImportedResponse(text=texts[name], rank=ranks.get(name), ratings=ratings[name], **authors[name])
        for name in names
    )
    return ImportedRow(**judged, ranked=True, responses=responses)


def _order(value: Any, names: list[str]) -> dict[str, int]:
    """{name: rank} of an order as Argilla writes it, or of a choice; empty for anything else."""
    if isinstance(value, str) and value in names and len(names) > 1:
        return {name: 1 if name == value else 2 for name in names}
    if not isinstance(value, list) or not value:
        return {}
    if all(isinstance(item, str) for item in value):
        return {name: place for place, name in enumerate(value, start=1) if name in names}
    ranks: dict[str, int] = {}
    for item in value:
        name, rank = (item.get("value"), item.get("rank")) if isinstance(item, dict) else (None, None)
        if isinstance(name, str) and name in names and isinstance(rank, int) and 0 < rank < 1_000:
            ranks[name] = rank
    return ranks
