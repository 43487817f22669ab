"""The index of prompts by the words in them, in their responses, and in what labelers noted beside their judgments.

Triggers note the prompt of every text that is written or removed (PromptToIndex); a job reads those prompts and writes
their words, so that neither an import nor a submit waits for it. The index is no table of Django's: an FTS5 table on
SQLite, a tsvector with a GIN index on PostgreSQL, both made by the migration 0027.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from django.db import connection
from django.db.models import Max, Min, QuerySet

from annotate.data.pacing import Pace
from annotate.data.text_search import search_words
from annotate.data.text_search.search_words import Term
from annotate.models import Judgment, Prompt, PromptToIndex, Response

TABLE = "annotate_promptwords"
SECONDS = 20.0
"""Of work in one run of the job; the next one goes on."""
BATCH = 200
READ_AT_ONCE = 2_000
COMMON = 1_000
"""Prompts with a word from which on it is common."""
WIDEST = 50_000
"""Prompts between the first and the last of a window, up to which all that have a word are read at once on SQLite."""
TRIGGERS = {
    f"annotate_{table}_{event.lower()}_to_index": (
        f"CREATE TRIGGER IF NOT EXISTS annotate_{table}_{event.lower()}_to_index AFTER {event} ON annotate_{table} "
        f"BEGIN INSERT INTO annotate_prompttoindex (prompt_number) VALUES ({row}.{column}); END"
    )
    for table, column in (("prompt", "id"), ("response", "prompt_id"))
    for event, row in (("INSERT", "NEW"), ("DELETE", "OLD"))
}
TRIGGERS["annotate_judgmentrevision_insert_to_index"] = (
    "CREATE TRIGGER IF NOT EXISTS annotate_judgmentrevision_insert_to_index AFTER INSERT ON annotate_judgmentrevision "
    "WHEN NEW.comment <> '' OR NEW.notes <> '{}' "
    "BEGIN INSERT INTO annotate_prompttoindex (prompt_number) SELECT task.prompt_id FROM annotate_judgment judgment "
    "JOIN annotate_task task ON task.id = judgment.task_id "
    "WHERE judgment.id = NEW.judgment_id AND task.prompt_id IS NOT NULL; END"
)
"""SQLite's; a migration that alters these tables makes them anew without their triggers."""


def ensure_triggers(**_kwargs: object) -> None:
    """After every migration: put back the triggers that SQLite lost with a table that was made anew."""
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' OR name = %s", [TABLE])
        there = {name for (name,) in cursor.fetchall()}
        if TABLE not in there:
            return
        for name, statement in TRIGGERS.items():
            if name not in there:
                cursor.execute(statement)


def index_due(*, seconds: float = SECONDS) -> int:
    """The job: index what was written since, for so long; how many prompts were indexed."""
    end, indexed, pace = time.monotonic() + seconds, 0, Pace(largest=BATCH)
    for batch in pace.batches(_waiting()):
        numbers = sorted({number for _, number in batch})
        found = _words_of(numbers)
        with pace.transaction():
            _write(numbers, found)
            PromptToIndex.objects.filter(pk__in=[key for key, _ in batch]).delete()
        indexed += len(found)
        if time.monotonic() > end:
            break
    return indexed


def is_behind() -> bool:
    """Whether texts wait to be indexed."""
    return PromptToIndex.objects.exists()


def resolved(terms: Iterable[Term]) -> list[Term]:
    """The terms as this database finds them quickly.

    SQLite reads all that begins with a word before it has the first, so a word that many prompts have is wanted as it
    is, and is the beginning of others only where it is rare.
    """
    if connection.vendor != "sqlite":
        return list(terms)
    return [
        replace(term, prefix=False) if term.prefix and _is_common(replace(term, prefix=False)) else term
        for term in terms
    ]


def _is_common(term: Term) -> bool:
    return len(prompts_with([term], most=COMMON)) == COMMON


def prompts_with(terms: Iterable[Term], *, most: int) -> list[int]:
    """At most so many prompts, of any project, that have all the terms; on SQLite the newest."""
    condition, values = _matches(list(terms))
    key = "rowid" if connection.vendor == "sqlite" else "prompt_id"
    with connection.cursor() as cursor:
        order = "ORDER BY rowid DESC " if connection.vendor == "sqlite" else ""
        cursor.execute(f"SELECT {key} FROM {TABLE} WHERE {condition} {order}LIMIT %s", [*values, most])
        return [number for (number,) in cursor.fetchall()]


def having(
    rows: QuerySet[Any], terms: Iterable[Term], *, window: QuerySet[Any] | None = None, prompt: str = "prompt"
) -> QuerySet[Any]:
    """The rows whose task's prompt has all the terms in it, its responses and comments: tasks, or joined with them.

    window: the part of them that is looked at. prompt: where the prompt is, as lookups of the rows say it.
    """
    condition, values = _matches(list(terms))
    if connection.vendor == "sqlite" and window is not None:
        lowest, highest = window.aggregate(lowest=Min(prompt), highest=Max(prompt)).values()
        if lowest is not None and highest - lowest <= WIDEST:
            # To look whether one prompt has a common word takes SQLite up to a millisecond, as long as to read all that
            # have it between two near ones. The sign keeps it from beginning with these, whose order is another.
            found = f"SELECT rowid FROM {TABLE} WHERE {condition} AND rowid BETWEEN %s AND %s"
            return rows.extra(where=[f"+annotate_task.prompt_id IN ({found})"], params=[*values, lowest, highest])
    key = "rowid" if connection.vendor == "sqlite" else "prompt_id"
    where = f"EXISTS (SELECT 1 FROM {TABLE} WHERE {TABLE}.{key} = annotate_task.prompt_id AND {condition})"
    return rows.extra(where=[where], params=values)


def _matches(terms: list[Term]) -> tuple[str, list[Any]]:
    if connection.vendor == "sqlite":
        return f"{TABLE} MATCH %s", [search_words.for_sqlite(terms)]
    return f"{TABLE}.words @@ %s::tsquery", [search_words.for_postgresql(terms)]


def _waiting() -> Iterator[tuple[int, int]]:
    """(row, prompt) of what waits, the oldest first. What is read was written: rows that come meanwhile stay."""
    last = 0
    while rows := list(
        PromptToIndex.objects.filter(pk__gt=last).order_by("pk").values_list("pk", "prompt_number")[:READ_AT_ONCE]
    ):
        yield from rows
        last = rows[-1][0]


def _words_of(numbers: list[int]) -> dict[int, list[str]]:
    """{prompt: its words}; prompts that are gone are left out. Rows of unfinished imports are indexed as well."""
    texts: dict[int, list[str]] = defaultdict(list)
    for number, messages in Prompt.with_unfinished.filter(pk__in=numbers).values_list("pk", "messages"):
        # The last turn first: it is what is asked, and long chats are cut.
        texts[number] += [message["content"] for message in reversed(messages)]
    responses = Response.with_unfinished.filter(prompt__in=list(texts)).order_by("pk")
    for number, text in responses.values_list("prompt", "text"):
        texts[number].append(text)
    noted = Judgment.with_unfinished.filter(task__prompt__in=list(texts), latest__isnull=False).order_by("pk")
    noted = noted.exclude(latest__comment="", latest__notes={})
    for number, comment, notes in noted.values_list("task__prompt", "latest__comment", "latest__notes"):
        texts[number] += [comment, *notes.values()]
    return {number: search_words.words(found) for number, found in texts.items()}


def _write(numbers: list[int], found: dict[int, list[str]]) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.executemany(f"DELETE FROM {TABLE} WHERE rowid = %s", [[number] for number in numbers])
            rows = [(number, " ".join(words)) for number, words in found.items()]
            cursor.executemany(f"INSERT INTO {TABLE} (rowid, words) VALUES (%s, %s)", rows)
            return
        cursor.execute(f"DELETE FROM {TABLE} WHERE prompt_id = ANY(%s)", [numbers])
        cursor.executemany(
            f"INSERT INTO {TABLE} (prompt_id, words) VALUES (%s, array_to_tsvector(%s))"
            f" ON CONFLICT (prompt_id) DO UPDATE SET words = excluded.words",
            list(found.items()),
        )
