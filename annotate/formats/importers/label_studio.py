"""Label Studio's pairwise tasks: a prompt with two responses, and in an export the annotations of each."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.chat_turns import prompt_of
from annotate.formats.rows import Fields, ImportedResponse, ImportedRow, LeftOut, Messages

NAME, LABEL = "label_studio", gettext_noop("Label Studio pairs")
RESPONSE_KEYS = ("answer1", "answer2")
RANKS = {"left": (1, 2), "right": (2, 1)}


def recognises(row: dict[str, Any]) -> bool:
    data = row.get("data", row)
    return isinstance(data, dict) and {"prompt", *RESPONSE_KEYS} <= set(data)


def parse(row: Fields) -> list[ImportedRow | LeftOut]:
    """A judgment an annotation; a task without any is one to rank."""
    data = row.within("data", row.values["data"]) if isinstance(row.values.get("data"), dict) else row
    messages = prompt_of(data)
    texts = [data.text(key) for key in RESPONSE_KEYS]
    own_id = row.label("id")
    annotations = row.objects("annotations") if "annotations" in row else []
    if not annotations:
        responses = tuple(ImportedResponse(text=text) for text in texts)
        return [ImportedRow(messages=messages, id=own_id, source="Label Studio", responses=responses)]
    return [_judged(annotation, messages, texts, own_id, number) for number, annotation in enumerate(annotations, 1)]


def _judged(
    annotation: Fields, messages: Messages, texts: list[str], own_id: str, number: int
) -> ImportedRow | LeftOut:
    if annotation.flag("was_cancelled"):
        annotation.ignore(*annotation.values)
        return LeftOut(_("the annotator skipped it"))
    chosen = [_selected(item) for item in annotation.objects("result")]
    sides = [side for side in chosen if side in RANKS]
    person = annotation.values.get("completed_by")
    labeler = (
        annotation.within("completed_by", person).label("id")
        if isinstance(person, dict)
        else annotation.label("completed_by")
    )
    seconds, timestamp = annotation.number("lead_time", low=0), annotation.label("created_at")
    if len(sides) != 1:
        return LeftOut(_("it says of no pair which is better"))
    return ImportedRow(
        messages=messages,
        id=own_id,
        task=own_id or "label studio",
        source="Label Studio",
        # Of a task's unnamed annotators each is a person of their own.
        labeler=f"annotator {labeler}" if labeler else f"annotation {annotation.label('id') or number}",
        seconds=seconds,
        timestamp=timestamp,
        ranked=True,
        responses=tuple(
            ImportedResponse(text=text, rank=rank) for text, rank in zip(texts, RANKS[sides[0]], strict=True)
        ),
    )


def _selected(item: Fields) -> str:
    """The side that a result of the pairwise kind names; results of other kinds aren't kept, and are named."""
    value = item.values.get("value")
    if item.label("type") != "pairwise" or not isinstance(value, dict):
        return ""
    return item.within("value", value).label("selected")
