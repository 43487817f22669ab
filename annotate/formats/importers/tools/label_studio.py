"""Label Studio's tasks and exports: a prompt with responses, and the annotations of each task.

Two responses are `answer1` and `answer2`, compared by a Pairwise tag; several are `items`, ordered by a Ranker tag,
whose buckets named 1, 2, ... are tiers; a single `response` is rated by Rating tags. A prompt alone waits for a
response: the text of a TextArea is an ideal one.

Exports are JSON, or JSON-MIN and CSV, which have a row for each annotation: the task's data, and under the name of each
tag what it says.
"""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.chat_turns import prompt_of
from annotate.formats.files import parsed_json
from annotate.formats.importers.hone import judged_of, margin_of, origin_of
from annotate.formats.rows import (
    MOST_RESPONSES,
    BadRow,
    Fields,
    ImportedResponse,
    ImportedRow,
    LeftOut,
    WrittenBy,
    by_model,
    shown_key,
)

NAME, LABEL = "label_studio", gettext_noop("Label Studio tasks")
RESPONSE_KEYS = ("answer1", "answer2")
RANKS = {"left": (1, 2), "right": (2, 1)}
OF_ANNOTATION = {
    "annotator": "completed_by",
    "annotation_id": "id",
    "lead_time": "lead_time",
    "created_at": "created_at",
}
KINDS = {"selected": "pairwise", "ranker": "ranker", "rating": "rating", "text": "textarea"}


def recognises(row: dict[str, Any]) -> bool:
    data = row.get("data", row)
    if not isinstance(data, dict) or "prompt" not in data:
        return False
    is_task = "data" in row and ("annotations" in row or "items" in data or "response" in data)
    return is_task or set(RESPONSE_KEYS) <= set(data) or {"annotator", "annotation_id"} <= set(row)


def parse(row: Fields) -> list[ImportedRow | LeftOut]:
    """A judgment an annotation; a task without any is one to rank, or a prompt."""
    data = row.within("data", row.values["data"]) if isinstance(row.values.get("data"), dict) else row
    flat = _flat_annotation(row) if data is row else None
    common = {**origin_of(data), "messages": prompt_of(data)}
    if common["source"] is None:
        common["source"] = "Label Studio"
    common["id"] = row.label("id") or common["id"]
    responses = _responses(data)
    annotations = row.objects("annotations") if "annotations" in row else []
    annotations += [flat] if flat is not None else []
    if annotations and responses:
        common |= judged_of(data) | {"margin": margin_of(data, len(responses))}
    if not annotations:
        unjudged = tuple(ImportedResponse(text=text, **author) for text, author in responses.values())
        return [ImportedRow(**common, responses=unjudged)]
    author: WrittenBy = {} if responses else _demonstrator(data)
    return [_judged(annotation, common, responses, number, author) for number, annotation in enumerate(annotations, 1)]


def _flat_annotation(row: Fields) -> Fields | None:
    """The annotation of a row of JSON-MIN or CSV, as JSON has it."""
    if not {"annotator", "annotation_id"} <= row.values.keys():
        return None
    row.ignore(*OF_ANNOTATION, "updated_at")
    results = []
    for key, cell in list(row.values.items()):
        if isinstance(cell, str) and cell.startswith("[{"):
            # Of a table, whose cells hold JSON.
            read = parsed_json(f'{{"cell": {cell}}}')
            row.values[key] = cell = read["cell"] if isinstance(read, dict) else cell
        said = [_result(key, value) for value in cell] if isinstance(cell, list) else []
        if said and None not in said:
            row.ignore(key)
            results += said
    if not results and "response" in row and "answer1" not in row.values:
        # Nothing else was said of it: it is what a TextArea of that name holds.
        results.append({"type": "textarea", "value": {"text": row.values.pop("response")}})
    said_of_it = {name: row.values[key] for key, name in OF_ANNOTATION.items() if key in row.values}
    return row.within("annotations", said_of_it | {"result": results})


def _result(tag: str, value: Any) -> dict[str, Any] | None:
    """What a tag of the row says, as a result of an annotation; None for what is the task's own data."""
    kind = next((kind for key, kind in KINDS.items() if isinstance(value, dict) and key in value), None)
    if kind == "textarea" and not isinstance(value["text"], list):
        return None
    return None if kind is None else {"type": kind, "from_name": tag, "value": value}


def _demonstrator(data: Fields) -> WrittenBy:
    """Who wrote what a TextArea holds, where the task says it."""
    kind = data.label("author_kind")
    name = data.label("author")
    return {"model": name, "author_kind": kind} if kind in ("person", "model") and name else {}


Texts = dict[str, tuple[str, WrittenBy]]


def _responses(data: Fields) -> Texts:
    """{id: (text, who wrote it)} of a task's responses."""
    if all(key in data.values for key in RESPONSE_KEYS):
        return {key: (data.text(key), by_model(data.label(f"{key}_model"))) for key in RESPONSE_KEYS}
    if "items" in data:
        items = data.objects("items")
        if len(items) > MOST_RESPONSES:
            raise BadRow(_("more than %(most_responses)s responses") % {"most_responses": MOST_RESPONSES})
        found = {}
        for number, item in enumerate(items, start=1):
            item.ignore("title")
            found[item.label("id") or str(number)] = (item.text("body"), by_model(item.label("model")))
        return found
    return {"response": (data.text("response"), by_model(data.label("model")))} if "response" in data else {}


def _judged(
    annotation: Fields, common: dict[str, Any], texts: Texts, number: int, author: WrittenBy
) -> ImportedRow | LeftOut:
    if annotation.flag("was_cancelled"):
        annotation.ignore(*annotation.values)
        return LeftOut(_("the annotator skipped it"))
    person = annotation.values.get("completed_by")
    labeler = (
        annotation.within("completed_by", person).label("id")
        if isinstance(person, dict)
        else annotation.label("completed_by")
    )
    named = f"annotation {annotation.label('id') or number}"
    labeler = (f"annotator {labeler}" if labeler.isdigit() else labeler) or named
    seconds, timestamp = annotation.number("lead_time", low=0), annotation.label("created_at")
    results = _Results(annotation.objects("result"), texts)
    if not texts:
        if not results.written.strip():
            return LeftOut(_("nobody responded"))
        return ImportedRow(
            **common,
            demonstration=results.written,
            author=author.get("model", labeler),
            author_kind=author.get("author_kind", "person"),
        )
    judged: dict[str, Any] = {
        **common,
        "task": common["task"] or common["id"] or "label studio",
        # Of a task's unnamed annotators each is a person of their own; a model that judged is none.
        "labeler": common["labeler"] or ("" if common["judge"] == "ai" else labeler),
        "seconds": common["seconds"] if seconds is None else seconds,
        "timestamp": timestamp or common["timestamp"],
        "comment": results.written or common["comment"],
    }
    responses = tuple(
        ImportedResponse(text=text, rank=results.ranks.get(key), ratings=results.ratings.get(key, {}), **author)
        for key, (text, author) in texts.items()
    )
    if len(texts) == 1:
        if not responses[0].ratings:
            return LeftOut(_("its rating is no number"))
        return ImportedRow(**judged, rated=True, responses=responses)
    if not results.ranks:
        return LeftOut(_("it says of no pair which is better"))
    return ImportedRow(**judged, ranked=True, responses=responses)


class _Results:
    """What an annotation's results say. Results of other kinds aren't kept, and are named."""

    def __init__(self, results: list[Fields], texts: Texts) -> None:
        self.ranks: dict[str, int] = {}
        self.ratings: dict[str, dict[str, float]] = {}
        written = []
        keys = list(texts)
        sides = 0
        for item in results:
            given = item.values.get("value")
            kind = item.label("type")
            if not isinstance(given, dict) or kind not in ("pairwise", "ranker", "rating", "textarea"):
                continue
            value = item.within("value", given)
            item.ignore("id", "from_name", "to_name", "origin")
            if kind == "pairwise" and (side := value.label("selected")) in RANKS and len(keys) == 2:
                self.ranks = dict(zip(keys, RANKS[side], strict=True))
                sides += 1
            elif kind == "ranker" and isinstance(given.get("ranker"), dict):
                self.ranks = _order(value.raw("ranker"), texts)
            elif kind == "rating" and keys and (number := value.number("rating")) is not None:
                name = shown_key(str(item.values.get("from_name") or "rating"))
                # A rating of one of several says of which by the name of its tag: "response_2:help".
                key, _colon, criterion = name.rpartition(":")
                key = key if key in texts else keys[0]
                self.ratings.setdefault(key, {})[criterion or name] = number
            elif kind == "textarea":
                texts_given = value.raw("text")
                parts = texts_given if isinstance(texts_given, list) else [texts_given]
                written += [Fields({"text": part}).text("text", longest=100_000) for part in parts if part]
        if sides > 1:
            self.ranks = {}
        self.written = "\n\n".join(written)[: 1_000_000 if not texts else 20_000]


def _order(buckets: Any, texts: Texts) -> dict[str, int]:
    """Ranks by a list of ids, or by buckets that are numbered."""
    if len(buckets) > 1 and not all(isinstance(name, str) and name.isdigit() and len(name) < 4 for name in buckets):
        return {}
    ranks: dict[str, int] = {}
    first = 1 if "0" in buckets else 0
    for name, ids in buckets.items():
        for place, key in enumerate(ids if isinstance(ids, list) else [], start=1):
            if isinstance(key, str) and key in texts:
                ranks[key] = place if len(buckets) == 1 else int(name) + first
    return ranks
