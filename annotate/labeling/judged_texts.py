"""A judgment of any kind as others read it: in a line, and as the texts that it is about or brought."""

from dataclasses import dataclass

from django.utils.translation import gettext as _

from annotate.labeling import task_kinds
from annotate.labeling.ordering import Ordering
from annotate.labeling.rubric import labeled_ratings, translated
from annotate.labeling.task_kinds import WrittenTurn
from annotate.models import Judgment, JudgmentRevision, Response

LONGEST_LINE = 140


@dataclass(frozen=True, slots=True)
class JudgedResponse:
    """A response in a judgment, as its labeler left it. `rank` None: not ranked."""

    letter: str
    text: str
    rank: int | None
    ratings: list[tuple[str, float]]
    flags: list[str]
    note: str


def is_sensitive(judgment: Judgment) -> bool:
    """Whether what it shows may upset: its prompt does, or the prompt that it wrote."""
    prompt = judgment.task.prompt
    wrote = judgment.latest.content.get("sensitive") if judgment.latest else False
    return bool(wrote or (prompt is not None and prompt.sensitive))


def line(judgment: Judgment) -> str:
    """What was said, in a line: an order, ratings, the beginning of a text; covered where it may upset."""
    revision = judgment.latest
    if revision is None:
        return ""
    kind = task_kinds.kind_of(judgment.task)
    if kind.quotes_text and is_sensitive(judgment):
        return _("Covered: this text may upset.")
    summary = kind.summary(judgment, revision)
    return summary if not kind.quotes_text or len(summary) <= LONGEST_LINE else summary[: LONGEST_LINE - 1] + "…"


def responses(judgment: Judgment, revision: JudgmentRevision) -> list[JudgedResponse]:
    """Of a comparison or a rating: best first, the unranked ones last, as the labeler lettered them."""
    presentation = judgment.assignment.presentation
    texts = Response.objects.in_bulk(presentation)
    ranks = Ordering.stored(revision.tiers).ranks()
    flags = {item["name"]: translated(item["label"]) for item in (revision.rubric.flags if revision.rubric else [])}
    found = [
        JudgedResponse(
            letter=chr(ord("A") + number),
            text=texts[key].text,
            rank=ranks.get(key),
            ratings=labeled_ratings(revision, key),
            flags=[flags.get(name, name) for name in revision.flags.get(str(key), [])],
            note=revision.notes.get(str(key), ""),
        )
        for number, key in enumerate(presentation)
    ]
    return sorted(found, key=lambda item: (item.rank is None, item.rank or 0, item.letter))


def written(judgment: Judgment, revision: JudgmentRevision) -> list[WrittenTurn]:
    """The texts that the revision consists of: a demonstration, a prompt, the turns of a chat."""
    return task_kinds.kind_of(judgment.task).texts(revision)
