"""A judgment of any kind as others read it: in a line, and as the texts that it is about or brought."""

from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.labeling.ordering import Ordering
from annotate.labeling.rubric import shown
from annotate.models import Judgment, JudgmentRevision, Response, Task

Kind = Task.Kind
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


@dataclass(frozen=True, slots=True)
class WrittenTurn:
    """A text that the labeler wrote or chose: `role` as in a chat, `how` it came about."""

    role: str
    how: str
    text: str


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
    kind, content = judgment.task.kind, revision.content
    if kind == Kind.COMPARE:
        return Ordering.stored(revision.tiers).in_letters(judgment.assignment.presentation)
    if kind == Kind.RATE:
        return ", ".join(f"{label} {value:g}" for label, value in _ratings(revision)) or _("No rating")
    if kind == Kind.CHAT:
        count = len(content.get("turns", []))
        return ngettext("%(n)s turn", "%(n)s turns", count) % {"n": count}
    if is_sensitive(judgment):
        return _("Covered: this text may upset.")
    messages = content.get("messages") or []
    text = messages[-1]["content"] if messages else content.get("text", "")
    return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 1] + "…"


def responses(judgment: Judgment, revision: JudgmentRevision) -> list[JudgedResponse]:
    """Of a comparison or a rating: best first, the unranked ones last, as the labeler lettered them."""
    presentation = judgment.assignment.presentation
    texts = Response.objects.in_bulk(presentation)
    ranks = Ordering.stored(revision.tiers).ranks()
    flags = {item["name"]: shown(item["label"]) for item in (revision.rubric.flags if revision.rubric else [])}
    found = [
        JudgedResponse(
            letter=chr(ord("A") + number),
            text=texts[key].text,
            rank=ranks.get(key),
            ratings=_ratings(revision, key),
            flags=[flags.get(name, name) for name in revision.flags.get(str(key), [])],
            note=revision.notes.get(str(key), ""),
        )
        for number, key in enumerate(presentation)
    ]
    return sorted(found, key=lambda item: (item.rank is None, item.rank or 0, item.letter))


def written(judgment: Judgment, revision: JudgmentRevision) -> list[WrittenTurn]:
    """What the labeler wrote: a demonstration, a prompt, the turns of a chat. Nothing for the other kinds."""
    content = revision.content
    if judgment.task.kind == Kind.DEMONSTRATE:
        pairs = [
            turn for query, response in content.get("pairs", []) for turn in (("user", query), ("assistant", response))
        ]
        examples = [WrittenTurn(role, _("Example, corrected"), text) for role, text in pairs]
        return [*examples, WrittenTurn("assistant", _("Written"), content.get("text", ""))]
    if judgment.task.kind == Kind.WRITE_PROMPT:
        return [WrittenTurn(turn["role"], _("Written"), turn["content"]) for turn in content.get("messages", [])]
    if judgment.task.kind == Kind.CHAT:
        return [
            WrittenTurn(turn["role"], _("Chosen") if turn.get("offered") else _("Written"), turn["text"])
            for turn in content.get("turns", [])
        ]
    return []


def _ratings(revision: JudgmentRevision, key: int | None = None) -> list[tuple[str, float]]:
    """[(criterion, number)] of one response, or of the only one that was rated."""
    labels = {item["name"]: shown(item["label"]) for item in (revision.rubric.criteria if revision.rubric else [])}
    given = revision.ratings.get(str(key), {}) if key is not None else next(iter(revision.ratings.values()), {})
    return [(labels.get(name, name), value) for name, value in given.items()]
