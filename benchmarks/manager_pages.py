"""What a manager's pages take at a million tasks and judgments: `python -m benchmarks pages --tasks N`.

A database is filled by SQL with N comparisons of two responses, half of them complete with two judgments each by 50
labelers, and consensus, search index and counts beside them. Then each page is asked for in the process of the server,
without a network, once to load templates and then `--requests` times. Of each page the table has the median wall time,
processor time of the process and time within statements, all in ms, the statements, and the goal: 300 ms, 500 ms for
the measures of quality. The last line is one JSON object: {"sqlite": {page: {"ms": ..., "cpu_ms": ..., "sql_ms": ...,
"statements": ...}}, "postgresql": {...}}.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from tests.databases.postgresql import PostgresServer, find_program

LABELERS, DAYS, REQUESTS = 50, 84, 5
PROJECT = "bench"
GOAL_MS, QUALITY_GOAL_MS = 300, 500
COLUMNS = ("ms", "cpu_ms", "sql_ms", "statements", "first_byte_ms")
SQLITE_FILL = ("PRAGMA foreign_keys = OFF", "PRAGMA synchronous = OFF", "PRAGMA cache_size = -200000")
POSTGRESQL_FILL = ("SET session_replication_role = replica", "SET maintenance_work_mem = '256MB'")
Figures = dict[str, dict[str, float]]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks pages", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], help="one of them alone")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="of each page")
    parser.add_argument("--folder", help="keep the SQLite database here, and take it as it is if it is there")
    chosen = parser.parse_args(arguments)
    figures = {}
    with tempfile.TemporaryDirectory(prefix="hone-pages-") as temporary:
        folder = Path(chosen.folder or temporary)
        if chosen.database != "postgresql":
            figures["sqlite"] = _measured("sqlite", folder / "sqlite", {}, chosen)
        if chosen.database != "sqlite" and find_program("initdb") is not None:
            database = PostgresServer.start(Path(temporary) / "postgresql")
            try:
                figures["postgresql"] = _measured(
                    "postgresql", Path(temporary) / "data", {"DATABASE_URL": database.url}, chosen
                )
            finally:
                database.stop()
    print(json.dumps(figures))
    return 0


def _measured(name: str, data: Path, environment: dict[str, str], chosen: argparse.Namespace) -> Figures:
    """In a process of its own: settings are read once in a process."""
    is_new = not data.exists()
    data.mkdir(parents=True, exist_ok=True)
    own = {"DJANGO_SETTINGS_MODULE": "config.settings", "HONE_DATA": str(data), "HONE_LOG_LEVEL": "WARNING"}
    what = "fill" if is_new else "ask"
    command = [sys.executable, "-m", "benchmarks.manager_pages", what, str(chosen.tasks), str(chosen.requests)]
    done = subprocess.run(
        command, env={**os.environ, **own, **environment}, stdout=subprocess.PIPE, text=True, check=True
    )
    figures: Figures = json.loads(done.stdout.strip().split("\n")[-1])
    print(f"{name:<36}{'ms':>10}{'cpu ms':>10}{'sql ms':>10}{'statements':>12}{'goal':>7}")
    for page, measured in figures.items():
        ms, cpu, sql, statements = (measured[column] for column in COLUMNS[:4])
        goal = _goal(page)
        first = f", first byte after {measured['first_byte_ms']:.1f} ms" if "first_byte_ms" in measured else ""
        missed = " missed" if goal is not None and ms > goal else ""
        line = f"{page:<36}{ms:>10.1f}{cpu:>10.1f}{sql:>10.1f}{statements:>12.0f}{goal or '':>7}{missed}{first}"
        print(line, flush=True)
    return figures


def _goal(page: str) -> int | None:
    """In ms; None of what is no page: the job, and a file that is streamed."""
    if page.startswith(("(", "hours")):
        return None
    return QUALITY_GOAL_MS if page.startswith("quality") else GOAL_MS


def fill(tasks: int) -> None:
    """The project, its people, and its rows by SQL that both databases understand."""
    from django.core.management import call_command
    from django.db import connection, transaction
    from django.utils import timezone

    from annotate.models import Author, Membership, Project, User
    from annotate.people.projects import create_project

    call_command("migrate", verbosity=0)
    manager = User.objects.create(username="manager", is_superuser=True)
    project = create_project(by=manager, name="Bench", slug=PROJECT, responses_per_task=2, overlap=2)
    Project.objects.filter(pk=project.pk).update(weekly_judgments=tasks // 20)
    people = User.objects.bulk_create(User(username=f"labeler-{number:02}") for number in range(LABELERS))
    Membership.objects.bulk_create(Membership(user=user, project=project, role="labeler") for user in people)
    authors = [Author.objects.create(kind="model", name=f"policy-{number}") for number in range(4)]
    first = people[0].pk if people[0].pk else User.objects.get(username="labeler-00").pk
    values = {
        "project": project.pk, "tasks": tasks, "half": tasks // 2, "labeler": first, "labelers": LABELERS,
        "author": authors[0].pk, "now": timezone.now().isoformat(sep=" "),
    }  # fmt: skip
    is_sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        # Rows that fit together need no check, and no flush to the disk before all are there.
        for quick in SQLITE_FILL if is_sqlite else POSTGRESQL_FILL:
            cursor.execute(quick)
        for statement in _statements(is_sqlite):
            began = time.monotonic()
            with transaction.atomic():
                cursor.execute(statement.format_map(values))
            print(f"{time.monotonic() - began:6.1f} s  {statement.split('(')[0][:60]}", file=sys.stderr, flush=True)
        if is_sqlite:
            cursor.execute("ANALYZE")
        else:
            cursor.execute("VACUUM ANALYZE")


def fill_measures() -> None:
    """The sums by day, week and month of every grouping, each as full as a few dozen tasks make it."""
    from collections import Counter
    from datetime import timedelta

    from django.utils import timezone

    from annotate.models import MeasuresState, MeasureSums, Project, Task, User
    from annotate.quality.measures import contributions, facts
    from annotate.quality.measures.report import today

    project = Project.objects.get(slug=PROJECT)
    sample = list(
        Task.objects.filter(project=project, state="complete").order_by("pk").values_list("pk", flat=True)[:60]
    )
    read, _stale = facts.read(sample)
    typical: dict[str, Counter[str]] = {cut: Counter() for cut in MeasureSums.Cut.values}
    for task in read.values():
        for key, added in contributions.sums_of(contributions.contribution(task)):
            if key[1] == "day":
                typical[key[0]].update(added)
    labelers = list(User.objects.filter(username__startswith="labeler-").order_by("username"))
    days = [today() - timedelta(days=number) for number in range(DAYS)]
    starts = [("day", day) for day in days]
    starts += [("week", day) for day in days if not day.weekday()]
    starts += [("month", day) for day in sorted({day.replace(day=1) for day in days})]
    segments = [(use, tongue) for use in ("other", "chat", "open_qa", "rewriting") for tongue in ("en", "zh", "fr")]
    MeasuresState.objects.update_or_create(
        project=project, defaults={"generation": 1, "recompute_after": None, "folded_at": timezone.now()}
    )
    groups: dict[str, list[tuple[Any, str, str]]] = {
        "project": [(None, "", "")],
        "labeler": [(person, "", "") for person in labelers],
        "segment": [(None, *segment) for segment in segments],
        "both": [(person, *segment) for person in labelers for segment in segments],
    }
    rows = (
        MeasureSums(
            project=project,
            generation=1,
            kind="compare",
            cut=cut,
            grain=grain,
            start=start,
            labeler=person,
            use_case=use_case,
            language=language,
            judgments=typical[cut]["judgments"],
            milliseconds=typical[cut]["milliseconds"],
            sums=dict(typical[cut]),
        )
        for cut, names in groups.items()
        for grain, start in starts
        for person, use_case, language in names
    )
    MeasureSums.objects.all().delete()
    while batch := list(islice(rows, 500)):
        MeasureSums.objects.bulk_create(batch)


def _statements(is_sqlite: bool) -> list[str]:
    """The rows n = 1 .. tasks. Judgments go back over DAYS days, the later ones near today."""
    numbers = "WITH RECURSIVE seq(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM seq WHERE n < {%s}) "
    when = (
        f"datetime('{{now}}', '-' || ((n * 7919) % ({DAYS} * 86400)) || ' seconds')"
        if is_sqlite
        else f"timestamptz '{{now}}' - ((n::bigint * 7919) % ({DAYS} * 86400)) * interval '1 second'"
    )
    false, empty = ("0", "'{{}}'") if is_sqlite else ("false", "'{{}}'::jsonb")
    json_of = "%s" if is_sqlite else "(%s)::jsonb"
    cast = "" if is_sqlite else "::text"
    asked = f"How do I boil ' || n{cast} || ' eggs, and 天气 today ' || (n % 1009){cast} || '?"
    messages = json_of % f'\'[{{{{"role": "user", "content": "{asked}"}}}}]\''
    language = "CASE WHEN n % 100000 = 7 THEN 'sw' WHEN n % 20 = 0 THEN 'fr' WHEN n % 5 = 0 THEN 'zh' ELSE 'en' END"
    use_case = (
        "CASE n % 10 WHEN 0 THEN 'generation' WHEN 1 THEN 'open_qa' WHEN 2 THEN 'chat' WHEN 3 THEN 'rewriting' "
        "WHEN 4 THEN 'summarisation' ELSE 'other' END"
    )
    tiers = json_of % f"'[[' || (2 * t){cast} || '],[' || (2 * t + 1){cast} || ']]'"
    both = json_of % f"'[' || (2 * t){cast} || ',' || (2 * t + 1){cast} || ']'"
    judged = numbers % "tasks"
    # Judgment n is of task (n + 1) / 2 by labeler n % labelers: two different ones a task.
    judged_row = "SELECT n, (n + 1) / 2 AS t, {labeler} + n % {labelers} AS who FROM seq"
    statements = [
        numbers
        % "tasks"
        + "INSERT INTO annotate_prompt (id, project_id, messages, kind, use_case, language, source, external_id, "
        f"sensitive, split, content_hash, created_at) SELECT n, {{project}}, {messages}, 'plain', {use_case}, "
        f"{language}, '', '', {false}, 'train', 'hash-' || n{cast}, {when} FROM seq",
        numbers
        % "tasks"
        + "INSERT INTO annotate_response (id, prompt_id, text, author_id, sampling, finish_reason, created_at) "
        f"SELECT 2 * n + k.k, n, 'In water, for ' || n{cast} || ' minutes.', {{author}} + (n + k.k) % 4, {empty}, "
        f"'eos', {when} FROM seq CROSS JOIN (SELECT 0 AS k UNION ALL SELECT 1) AS k",
        numbers
        % "tasks"
        + "INSERT INTO annotate_task (id, project_id, kind, prompt_id, judgments_wanted, judgments_given, slots_free, "
        "priority, random_key, task_instructions, state, created_at TASKMORE) SELECT n, {project}, 'compare', n, 2, "
        "CASE WHEN n <= {half} THEN 2 ELSE 0 END, CASE WHEN n <= {half} THEN 0 ELSE 2 END, "
        "CASE WHEN n % 50021 = 3 THEN 5 ELSE 0 END, "
        f"(CAST(n AS bigint) * 2654435761) % 281474976710656, {empty}, "
        "CASE WHEN n <= {half} THEN 'complete' WHEN n % 40009 = 5 THEN 'withdrawn' ELSE 'open' END, "
        f"{when} TASKVALUES FROM seq",
        numbers
        % "tasks"
        + "INSERT INTO annotate_taskresponse (task_id, response_id, number) SELECT n, 2 * n + k.k, k.k FROM seq "
        "CROSS JOIN (SELECT 0 AS k UNION ALL SELECT 1) AS k",
        judged + "INSERT INTO annotate_assignment (id, task_id, labeler_id, project_id, state, lease_until, seed, "
        "presentation, draft_version, draft_page, skip_reason, created_at, opened_at, ended_at ASSIGNMENTMORE) "
        f"SELECT n, t, who, {{project}}, 'submitted', {when}, 0, {both}, 0, '', '', {when}, {when}, {when} "
        f"ASSIGNMENTVALUES FROM ({judged_row}) AS rows",
        judged
        + "INSERT INTO annotate_judgment (id, assignment_id, task_id, labeler_id, project_id, surplus, created_at "
        f"JUDGMENTMORE) SELECT n, n, t, who, {{project}}, {false}, {when} JUDGMENTVALUES FROM ({judged_row}) AS rows",
        judged + "INSERT INTO annotate_judgmentrevision (id, judgment_id, number, client_id, tiers, all_unacceptable, "
        "ratings, flags, notes, content, comment, seconds, source, withdrawn, created_at) "
        "SELECT n, n, 1, UUID, "
        f"{tiers}, {false}, {empty}, {empty}, {empty}, {empty}, '', 20 + n % 60, 'human', {false}, {when} "
        f"FROM ({judged_row}) AS rows",
        "UPDATE annotate_judgment SET latest_id = id",
        numbers
        % "half"
        + "INSERT INTO annotate_taskconsensus (task_id, project_id, method, tiers, confidence, labels, judgments, "
        "computed_at CONSENSUSMORE) SELECT n, {project}, 'crowd_bt', "
        f"{json_of % (chr(39) + '[]' + chr(39))}, (n % 1000) / 1000.0, {empty}, 2, {when} CONSENSUSVALUES FROM seq",
        "DELETE FROM annotate_prompttoindex",
        numbers % "tasks"
        + f"INSERT INTO annotate_promptwords ({'rowid' if is_sqlite else 'prompt_id'}, words) SELECT n, "
        + _words(is_sqlite)
        + " FROM seq",
    ]
    uuid = "substr('00000000000000000000000000000000' || n, -32)" if is_sqlite else "gen_random_uuid()"
    return [_filled(statement.replace("UUID", uuid), is_sqlite) for statement in statements]


def _filled(statement: str, is_sqlite: bool) -> str:
    """With the columns that other records have besides: whatever must not be empty gets its default."""
    from annotate.models import Assignment, Judgment, Task, TaskConsensus

    for model in (Task, Assignment, Judgment, TaskConsensus):
        mark = model.__name__.removeprefix("Task").upper() or "TASK"
        if f"{mark}MORE" not in statement:
            continue
        named = statement[statement.index("(", statement.index("INSERT INTO")) + 1 : statement.index(f"{mark}MORE")]
        there = {name.strip() for name in named.split(",")}
        more = [
            field
            for field in model._meta.concrete_fields
            if field.column not in there and not field.null and not field.primary_key and not field.generated
        ]
        columns = "".join(f", {field.column}" for field in more)
        values = "".join(f", {_literal(field, is_sqlite)}" for field in more)
        statement = statement.replace(f"{mark}MORE", columns).replace(f"{mark}VALUES", values)
    return statement


def _literal(field: Any, is_sqlite: bool) -> str:
    default = field.get_default()
    if isinstance(default, bool):
        return str(int(default)) if is_sqlite else str(default).lower()
    if isinstance(default, (dict, list)):
        written = json.dumps(default).replace("{", "{{").replace("}", "}}")
        return f"'{written}'" if is_sqlite else f"'{written}'::jsonb"
    return repr(default)


def _words(is_sqlite: bool) -> str:
    fixed = ("how", "do", "boil", "eggs", "and", "天气", "气", "today", "in", "water", "for", "minutes")
    if is_sqlite:
        return "'" + " ".join(fixed) + " ' || n || ' ' || (n % 1009)"
    listed = ", ".join(f"'{word}'" for word in fixed)
    return f"array_to_tsvector(ARRAY[{listed}, n::text, (n % 1009)::text])"


def ask(requests: int) -> Figures:
    """The medians of each page, and what the job's counting takes once."""
    from django.core.management import call_command
    from django.test import Client

    from annotate.models import User
    from annotate.quality import project_figures

    call_command("collectstatic", interactive=False, verbosity=0)
    figures = {"(job: count the project)": _asked(lambda: [project_figures.refresh_due()])}
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.get(username="manager"), backend="annotate.people.backends.PasswordBackend")
    for name, path in pages().items():
        asked = partial(_page, client, path)
        measured = [_asked(asked) for _ in range(requests + 1)][1:]
        figures[name] = {column: round(median(one[column] for one in measured), 1) for column in COLUMNS}
        if not name.startswith("hours"):
            del figures[name]["first_byte_ms"]
        shown = "  ".join(f"{value:8.1f}" for value in figures[name].values())
        print(f"{shown}  {name}", file=sys.stderr, flush=True)
    return figures


def _page(client: Any, path: str) -> Iterator[bytes]:
    """What the server sends, part by part."""
    reply = client.get(path)
    assert reply.status_code == 200, (path, reply.status_code)
    yield from reply.streaming_content if reply.streaming else [reply.content]


def _asked(request: Callable[[], Iterable[object]]) -> dict[str, float]:
    """What one call takes until its last part came."""
    from django.db import connection

    statements, in_statements, first_byte = 0, 0.0, 0.0

    def timed(execute: Any, *arguments: Any) -> Any:
        nonlocal statements, in_statements
        began = time.perf_counter()
        try:
            return execute(*arguments)
        finally:
            statements, in_statements = statements + 1, in_statements + time.perf_counter() - began

    began, processor = time.perf_counter(), time.process_time()
    with connection.execute_wrapper(timed):
        for number, _part in enumerate(request()):
            if not number:
                first_byte = time.perf_counter() - began
    took = {
        "ms": time.perf_counter() - began,
        "cpu_ms": time.process_time() - processor,
        "sql_ms": in_statements,
        "first_byte_ms": first_byte,
    }
    return {**{name: round(1000 * seconds, 1) for name, seconds in took.items()}, "statements": statements}


def pages() -> dict[str, str]:
    from annotate.models import Task, User

    project = f"/p/{PROJECT}"
    tasks = f"{project}/tasks/"
    labeler = User.objects.get(username="labeler-00").pk
    middle = Task.objects.latest("pk").pk // 2
    return {
        "tasks": tasks,
        "tasks, in the middle": f"{tasks}?before={middle}",
        "tasks, open": f"{tasks}?state=open",
        "tasks, withdrawn (few)": f"{tasks}?state=withdrawn",
        "tasks, complete in French": f"{tasks}?state=complete&language=fr",
        "tasks, a rare language": f"{tasks}?language=sw",
        "tasks, none of this kind": f"{tasks}?kind=chat",
        "tasks, raised priority (rare)": f"{tasks}?priority=raised",
        "tasks, by author": f"{tasks}?author=policy-2&use_case=chat",
        "tasks, by labeler": f"{tasks}?labeler={labeler}",
        "tasks, low confidence": f"{tasks}?confidence=low",
        "tasks, low agreement": f"{tasks}?agreement=low",
        "tasks, word in all": f"{tasks}?q=boil",
        "tasks, word in all, Chinese": f"{tasks}?q=天气",
        "tasks, word in 1,000": f"{tasks}?q=733",
        "tasks, word in one": f"{tasks}?q=999983",
        "tasks, word in none": f"{tasks}?q=nonesuch",
        "tasks, word and filters": f"{tasks}?q=boil&language=fr&state=open&author=policy-1",
        "one task": f"{tasks}{middle // 2}/",
        "overview": f"{project}/",
        "overview, 91 days": f"{project}/?days=91",
        "quality": f"{project}/quality/",
        "quality, 91 days": f"{project}/quality/?days=91",
        "quality, everything": f"{project}/quality/?days=all",
        "quality, one use case": f"{project}/quality/?use_case=chat",
        "quality checks": f"{project}/checks/",
        "hours by day (CSV)": f"{project}/quality/hours.csv?days=all",
        "a labeler": f"{project}/people/{labeler}/",
        "people of my projects": "/people/",
        "home": "/",
        "people": f"{project}/people/",
        "prompts": f"{project}/prompts/",
        "judgments": f"{project}/review/",
        "judgments, by labeler": f"{project}/review/?labeler={labeler}",
        "review queue": f"{project}/review/queue/",
        "adjudicated": f"{project}/review/adjudicated/",
        "bulk changes": f"{project}/review/bulk/",
        "settings": f"{project}/settings/",
        "exports": f"{project}/exports/",
    }


if __name__ == "__main__":
    import django
    from django.db import connection

    django.setup()
    if sys.argv[1] == "fill":
        fill(int(sys.argv[2]))
        fill_measures()
        connection.close()
    print(json.dumps(ask(int(sys.argv[3]))))
