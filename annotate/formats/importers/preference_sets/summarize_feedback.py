"""OpenAI's summarize-from-feedback: two summaries of a post or article and a worker's choice, or one rated by axes."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.formats.rows import (
    BadRow,
    Fields,
    ImportedResponse,
    ImportedRow,
    LeftOut,
    Messages,
    checked_messages,
    user_turn,
)

NAME, LABEL = "summarize_feedback", gettext_noop("Summarize from feedback")
# Where the text was read, before what is to be summarised; as the prompts of the paper have it.
HEAD = (("subreddit", "SUBREDDIT: r/"), ("title", "TITLE: "), ("post", "POST: "), ("article", "ARTICLE: "))
END = "TL;DR:"


def recognises(row: dict[str, Any]) -> bool:
    judged = {"summaries", "choice"} <= set(row) or isinstance(row.get("summary"), dict)
    return isinstance(row.get("info"), dict) and judged


def parse(row: Fields) -> ImportedRow:
    info = row.object("info")
    common: dict[str, Any] = {
        "messages": _prompt(info),
        "id": info.label("id"),
        "source": f"Summarize from feedback {row.label('batch')}".strip(),
        "use_case": "summarisation",
        "labeler": row.label("worker"),
    }
    if "split" in row:
        row.leave("split", _("the side is decided by the prompt's content"))
    if isinstance(row.values.get("summary"), dict):
        return ImportedRow(**common, rated=True, responses=(_rated(row.within("summary", row.values["summary"])),))
    summaries = row.objects("summaries")
    choice = row.number("choice", strict=True)
    if len(summaries) != 2 or choice not in (0, 1):
        raise BadRow(_("the choice must be 0 or 1, of two summaries"))
    if isinstance(row.values.get("extra"), dict):
        extra = row.within("extra", row.values["extra"])
        if "confidence" in extra:
            extra.leave("confidence", _("kept as which is better, not by how much"))
    return ImportedRow(
        **common,
        ranked=True,
        responses=tuple(_summary(summary, rank=1 if place == choice else 2) for place, summary in enumerate(summaries)),
    )


def _prompt(info: Fields) -> Messages:
    parts = [f"{before}{info.text(key)}" for key, before in HEAD if key in info]
    if not ("post" in info or "article" in info):
        raise LeftOut(_("the text that was summarised is missing"))
    return checked_messages(user_turn("\n\n".join([*parts, END])))


def _summary(summary: Fields, *, rank: int | None = None, ratings: dict[str, float] | None = None) -> ImportedResponse:
    policy = summary.label("policy")
    # "ref" is what the author of the post wrote.
    kind = "person" if policy == "ref" else "model" if policy else "unknown"
    return ImportedResponse(
        text=summary.text("text"),
        rank=rank,
        ratings=ratings or {},
        model="Reddit" if policy == "ref" else policy,
        author_kind=kind,
        note=summary.text("note", longest=4_000) if "note" in summary else "",
    )


def _rated(summary: Fields) -> ImportedResponse:
    given = summary.values.get("axes")
    axes = summary.within("axes", given) if isinstance(given, dict) else Fields({})
    ratings = {name: value for name in list(axes.values)[:50] if (value := axes.number(name)) is not None}
    if not ratings:
        raise LeftOut(_("its rating is no number"))
    return _summary(summary, ratings=ratings)
