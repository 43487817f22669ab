"""Hone's own rows, read: prompts, demonstrations, rankings, pairs, ratings, votes and sampled responses.

They are told apart row by row. The same rows come from JSON lines, from a JSON array, from a table with these columns
and from Parquet, and TRL's data sets (a completion, chosen and rejected turns) are rows of this kind too.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.data.pseudonyms import PSEUDONYM
from annotate.formats import files
from annotate.formats.chat_turns import prompt_of, response_of, turns_of
from annotate.formats.rows import (
    HIGHEST_RANK,
    LONGEST_LABEL,
    MOST_RESPONSES,
    BadRow,
    Fields,
    ImportedResponse,
    ImportedRow,
    LeftOut,
    Messages,
    WrittenBy,
    by_model,
    checked_messages,
    number_of,
    text_of,
)
from annotate.models import Author, Prompt, Response
from annotate.rendering.csv_tables import text_of_cell

NAME, LABEL = "hone", gettext_noop("Hone rows, TRL data sets")
USE_CASES = {"summarization": "summarisation", "open_qa": "open_qa", "closed_qa": "closed_qa"}
CHOICES = {"a": (1, 2), "b": (2, 1), "tie": (1, 1)}
STRENGTHS = {"a_is_better": 2, "b_is_better": 2, "a_is_slightly_better": 1, "b_is_slightly_better": 1, "tie": 0}
OWN_COLUMNS = {"prompt", "split", "use_case", "kind"}
LISTS = ("prompt", "opening", "responses")
BESIDE_PROMPT = {"chosen", "rejected", "responses", "response", "completion", "votes"}
RATING_KEYS = ("score", "rating", "label", "ratings", "flags", "acceptable")


def recognises(row: dict[str, Any]) -> bool:
    if isinstance(row.get("prompt"), list | str):
        # A prompt said again before its whole chat is a chat's.
        return not isinstance(row.get("messages"), list) or bool(BESIDE_PROMPT & row.keys())
    return all(isinstance(row.get(key), list) for key in ("chosen", "rejected"))


def parse(row: Fields) -> ImportedRow | Sequence[ImportedRow | LeftOut]:
    if row.values.keys() >= OWN_COLUMNS and str(row.values["prompt"]).startswith('[{"role"'):
        _read_cells(row.values)
    if _is_gold(row) and not {"chosen", "rejected", "responses"} & row.values.keys():
        raise BadRow(_needs_order())
    if "votes" in row.values and "response_a" in row.values:
        return _votes(row)
    if "chosen" in row or "rejected" in row:
        return _pair(row)
    if "responses" in row.values:
        return _ranking(row)
    written = next((key for key in ("response", "completion") if key in row.values), "")
    if written:
        return _written(row, written)
    return ImportedRow(**_common(row, prompt_of(row)))


def _read_cells(values: dict[str, Any]) -> None:
    """Of a row of Hone's CSV: lists are JSON in their cells, and an apostrophe keeps a text from being a formula."""
    for key, cell in values.items():
        if isinstance(cell, str) and key in LISTS:
            lists = files.parsed_json(f'{{"cell": {cell}}}')
            if isinstance(lists, dict):
                values[key] = lists["cell"]
        elif isinstance(cell, str):
            values[key] = text_of_cell(cell)


def _is_gold(row: Fields) -> bool:
    """Whether the row's order is a known one, for a gold task, and nobody's judgment."""
    return "gold" in row and row.flag("gold") is True


def _needs_order() -> str:
    return _("a gold row needs ranks that prefer at least one response to another")


def _common(row: Fields, messages: Messages) -> dict[str, Any]:
    """The prompt of a row of any kind."""
    return {"messages": messages, **origin_of(row)}


def origin_of(row: Fields) -> dict[str, Any]:
    """Ids and properties of a row's prompt, as Hone's rows say them; other formats of Hone's exports too."""
    own_id = row.label("id")
    opening = checked_messages(turns_of(row, "opening")) if "opening" in row else None
    split = row.choice("split", Prompt.Split, aliases={"dev": "validation", "valid": "validation"})
    return {
        "id": row.label("source_id") or own_id,
        "record_id": own_id,
        "prompt_id": row.label("prompt_id"),
        "language": row.label("lang", longest=10),
        "source": None if row.values.get("source") is None else row.label("source"),
        "kind": row.choice("kind", Prompt.Kind),
        "use_case": row.choice("use_case", Prompt.UseCase, aliases=USE_CASES),
        "sensitive": row.flag("sensitive"),
        "split": split,
        "opening": opening,
    }


def judged_of(row: Fields) -> dict[str, Any]:
    """The judge of a row: a labeler (human), a model (ai), or a user of the model; another name is a machine's."""
    judge = row.label("judge") or "human"
    rubric, revision = row.number("rubric", low=1, high=2**31 - 1), row.number("revision", low=1, high=2**31 - 1)
    return {
        "labeler": row.label("labeler"),
        "judge": judge if judge in ("human", "user") else "ai",
        "judge_name": "" if judge in ("human", "ai", "user") else judge,
        "task": row.label("task"),
        "weight": row.number("weight", low=0, strict=True),
        "seconds": row.number("seconds", low=0),
        "scale": row.label("scale") or row.label("score_meaning"),
        "comment": row.text("comment", longest=20_000) if "comment" in row else "",
        "timestamp": _timestamp(row, "timestamp"),
        "rubric": None if rubric is None else int(rubric),
        "revision": None if revision is None else int(revision),
    }


def margin_of(row: Fields, responses: int) -> int | None:
    """Other people's margins are on other scales: only Hone's four levels can be kept, and only of two responses."""
    value = row.number("margin")
    if value is None:
        return None
    if responses != 2:
        row.leave("margin", _("only a comparison of two has one"))
        return None
    if value not in (0, 1, 2, 3):
        row.leave("margin", _("not one of the levels 0 to 3"))
        return None
    return int(value)


def _pair(row: Fields) -> ImportedRow:
    prompt = prompt_of(row) if row.values.get("prompt") not in (None, "") else None
    chosen_prompt, chosen = response_of(row, "chosen", prompt)
    rejected_prompt, rejected = response_of(row, "rejected", prompt)
    if chosen_prompt != rejected_prompt:
        raise LeftOut(_("the two dialogues part before their last responses"))
    names = _pair_names(row)
    gold = _is_gold(row)
    responses = tuple(
        ImportedResponse(text=text, rank=rank, score=None if gold else _score_of(row, key), **names[rank - 1])
        for rank, (key, text) in enumerate((("chosen", chosen), ("rejected", rejected)), start=1)
    )
    if row.values.get("messages") == row.values.get("chosen"):
        row.ignore("messages")
    if gold:
        return ImportedRow(**_common(row, chosen_prompt), responses=responses, gold=True)
    return ImportedRow(
        **_common(row, chosen_prompt), **judged_of(row), margin=margin_of(row, 2), responses=responses, ranked=True
    )


def _score_of(row: Fields, key: str) -> float | None:
    """A judge's number for one of a pair, as binarised data sets have it."""
    return row.number(f"score_{key}" if f"score_{key}" in row else f"{key}_score")


def _pair_names(row: Fields) -> list[WrittenBy]:
    """The authors of a pair's two responses, where "models" lists two, or RewardBench's columns name them."""
    names = row.values.get("models")
    if names is None and ("chosen_model" in row or "rejected_model" in row):
        return [_model(row.label(key)) for key in ("chosen_model", "rejected_model")]
    if names is None or not isinstance(names, list) or len(names) != 2:
        return [{}, {}]
    row.ignore("models")
    return [_model(text_of(name, '"models"')) if name else {} for name in names]


def _model(name: str) -> WrittenBy:
    return by_model(name.strip()[:LONGEST_LABEL])


def _votes(row: Fields) -> list[ImportedRow | LeftOut]:
    """One judgment per voter on two responses; a skip is no judgment."""
    common = _common(row, prompt_of(row))
    names = _pair_names(row)
    texts = [row.text(key) for key in ("response_a", "response_b")]
    rows: list[ImportedRow | LeftOut] = []
    for number, vote in enumerate(row.objects("votes"), start=1):
        choice = vote.label("choice").lower()
        # Of a row's unnamed voters each is a person of their own.
        voter = vote.label("annotator") or vote.label("labeler") or f"voter {number}"
        if choice == "skip":
            vote.ignore(*vote.values)
            rows.append(LeftOut(_("the voter skipped it")))
            continue
        if choice not in CHOICES:
            raise BadRow(_("a vote must be for a, b, tie or skip"))
        acceptable = [vote.flag(key) for key in ("a_acceptable", "b_acceptable")]
        rows.append(
            ImportedRow(
                **common,
                labeler=voter,
                # Rows of the same pair are judgments of one task.
                task=common["id"] or "votes",
                judge="human",
                margin=_strength(vote),
                comment=vote.text("comment", longest=20_000) if "comment" in vote else "",
                timestamp=_timestamp(vote, "timestamp"),
                seconds=vote.number("seconds", low=0),
                ranked=True,
                responses=tuple(
                    ImportedResponse(text=text, rank=rank, acceptable=good is not False, **name)
                    for text, rank, good, name in zip(texts, CHOICES[choice], acceptable, names, strict=True)
                ),
            )
        )
    return rows


def _strength(vote: Fields) -> int | None:
    """How much better, in Hone's levels: "better" is the third of four, "slightly better" the second."""
    word = vote.label("strength").lower().replace("-", "_").replace(" ", "_")
    if word and word not in STRENGTHS:
        vote.leave("strength", _("not a word that Hone knows for it"))
    return STRENGTHS.get(word)


def _written(row: Fields, key: str) -> ImportedRow:
    """A single response: with a score or a label a rating of it, otherwise an ideal response."""
    prompt = prompt_of(row) if row.values.get("prompt") not in (None, "") else None
    messages, written = response_of(row, key, prompt)
    common = _common(row, messages)
    if any(row.values.get(name) not in (None, "", {}, []) for name in RATING_KEYS):
        response = ImportedResponse(
            text=written,
            ratings=_given_ratings(row),
            flags=_flags(row, _("a flag")),
            acceptable=row.flag("acceptable") is not False,
            note=row.text("critique", longest=20_000) if "critique" in row else "",
            **author_of(row),
        )
        if not _is_rating(response):
            raise LeftOut(_("its rating is no number"))
        return ImportedRow(**common, **judged_of(row), rated=True, responses=(response,))
    if not written.strip():
        raise BadRow(_('"%(key)s" is empty') % {"key": key})
    author = author_of(row)
    finish = _finish_reason(row)
    return ImportedRow(
        **common,
        demonstration=written,
        author=author.get("model", ""),
        author_kind=author.get("author_kind", "unknown"),
        finish_reason="" if finish == "unknown" else finish,
    )


def _given_ratings(row: Fields) -> dict[str, float]:
    """The value of the response of a row without a list: a score, or a label that is true or false."""
    ratings = _ratings(row, "ratings")
    for key in ("score", "rating"):
        if key in row and (value := row.number(key)) is not None:
            ratings[key] = value
    if "label" in row:
        label = row.values["label"]
        if (
            isinstance(label, bool)
            or label in (0, 1)
            or (isinstance(label, str) and label.lower() in ("true", "false"))
        ):
            row.ignore("label")
            ratings["label"] = 1.0 if label in (True, 1) or str(label).lower() == "true" else 0.0
        else:
            row.leave("label", _("neither true nor false"))
    return ratings


def author_of(row: Fields) -> WrittenBy:
    """The author of a text, as far as the row names one: {"model": the name, "author_kind"}.

    `origin` is human or the name of a model. A name alone under `author` is a person's only where it is a pseudonym of
    Hone's exports; otherwise nobody is claimed.
    """
    kind = row.choice("author_kind", Author.Kind, aliases={"human": Author.Kind.PERSON})
    if origin := row.label("origin"):
        if origin.lower() in ("human", "person"):
            return {"model": row.label("author") or row.label("labeler"), "author_kind": "person"}
        return {"model": origin, "author_kind": "model"}
    if model := row.label("model") or row.label("generator"):
        return {"model": model, "author_kind": "model"}
    name = row.label("author")
    if not name and "judge" not in row and (labeler := row.label("labeler")):
        return {"model": labeler, "author_kind": "person"}
    if kind == Author.Kind.PERSON or PSEUDONYM.fullmatch(name):
        return {"model": name, "author_kind": "person"}
    if name.lower() in ("human", "person"):
        return {"model": "", "author_kind": "person"}
    return {"model": name, "author_kind": kind or "unknown"}


def _ranking(row: Fields) -> ImportedRow:
    """Responses of a prompt: ranked ones are a judgment, a single one with null for its rank a rating."""
    messages = prompt_of(row)
    items = row.raw("responses")
    if not isinstance(items, list) or not items:
        raise BadRow(_('"responses" must be a list of responses'))
    if len(items) > MOST_RESPONSES:
        raise BadRow(_("more than %(most_responses)s responses") % {"most_responses": MOST_RESPONSES})
    if not all(isinstance(item, dict | str) for item in items):
        raise BadRow(_("each response must be an object with a text"))
    fields = [row.within("responses", {"text": item} if isinstance(item, str) else item) for item in items]
    ranked = any("rank" in item.values for item in fields)
    gold = _is_gold(row)
    responses = tuple(_response(item, number, ranked=ranked, gold=gold) for number, item in enumerate(fields, start=1))
    common = _common(row, messages)
    if gold:
        if len({response.rank for response in responses if response.rank is not None}) < 2:
            raise BadRow(_needs_order())
        return ImportedRow(**common, responses=responses, gold=True)
    if not ranked:
        return ImportedRow(**common, responses=responses)
    rated = len(responses) == 1 and _is_rating(responses[0])
    if len(responses) < 2 and not rated:
        raise BadRow(_("a ranking needs at least two responses"))
    return ImportedRow(
        **common,
        **judged_of(row),
        margin=margin_of(row, len(responses)),
        responses=responses,
        ranked=not rated,
        rated=rated,
    )


def _is_rating(response: ImportedResponse) -> bool:
    """Whether a judgment of one response says something: without an order it is its ratings, flags or a note."""
    is_judged = response.ratings or response.flags or response.note or not response.acceptable
    return response.rank is None and bool(is_judged)


def _response(item: Fields, number: int, *, ranked: bool, gold: bool = False) -> ImportedResponse:
    if ranked and "rank" not in item.values:
        raise BadRow(
            _("response %(number)s has no rank where others have one (null means not ranked)") % {"number": number}
        )
    if gold or not ranked:
        # Without a judgment there is no place for what was said of it: the report names it.
        return ImportedResponse(
            text=item.text("text", name=f"text of response {number}"),
            rank=_rank(item.raw("rank"), number) if ranked else None,
            finish_reason=_finish_reason(item),
            **author_of(item),
        )
    return ImportedResponse(
        text=item.text("text", name=f"text of response {number}"),
        rank=_rank(item.raw("rank"), number),
        score=item.number("score"),
        acceptable=item.flag("acceptable") is not False,
        ratings=_ratings(item, "ratings"),
        flags=_flags(item, f"a flag of response {number}"),
        note=item.text("note", longest=4_000) if "note" in item else "",
        finish_reason=_finish_reason(item),
        **author_of(item),
    )


def _flags(row: Fields, name: str) -> tuple[str, ...]:
    flags = row.raw("flags") or []
    if not isinstance(flags, list):
        raise BadRow(_("%(name)s must be a list") % {"name": row.named("flags")})
    return tuple(text_of(flag, name, longest=LONGEST_LABEL) for flag in flags)


def _rank(value: Any, number: int) -> int | None:
    if value is None:
        return None
    rank = number_of(value, _("the rank of response %(number)s") % {"number": number})
    if rank is None or rank != int(rank) or not 1 <= rank <= HIGHEST_RANK:
        raise BadRow(
            _("the rank of response %(number)s must be a whole number from 1 on, or null") % {"number": number}
        )
    return int(rank)


def _ratings(row: Fields, key: str) -> dict[str, float]:
    """Numbers by criterion; as a table of Parquet has them, a list of name and value. What is no number is named."""
    given = row.raw(key)
    if isinstance(given, list) and all(isinstance(item, dict) and set(item) == {"name", "value"} for item in given):
        names = [text_of(item["name"], "a rating's name", longest=LONGEST_LABEL) for item in given]
        if len(set(names)) < len(names):
            raise BadRow(_("%(name)s names one thing twice") % {"name": row.named(key)})
        given = {item["name"]: item["value"] for item in given}
    if given is None or given == "":
        return {}
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise BadRow(_("%(name)s must be numbers by name") % {"name": row.named(key)})
    ratings = row.within(key, given)
    numbers = {}
    for name in given:
        text_of(name, "a rating's name", longest=LONGEST_LABEL)
        if (value := ratings.number(name)) is not None:
            numbers[name] = value
    return numbers


def _finish_reason(row: Fields) -> str:
    # "stop" is what samplers call a response that ended with EOS.
    return row.choice("finish_reason", Response.FinishReason, aliases={"stop": "eos"}) or "unknown"


def _timestamp(row: Fields, key: str) -> str:
    """A moment as the file writes it, if it is one."""
    written = row.label(key, longest=40)
    if not written:
        return ""
    try:
        datetime.fromisoformat(written)
    except ValueError:
        row.leave(key, _("not a date and time"))
        return ""
    return written
