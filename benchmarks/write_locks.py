"""How long each of a manager's changes holds SQLite's write lock: `python -m benchmarks locks --tasks N`.

On the database of `python -m benchmarks pages`: N comparisons, half of them with two judgments. Each change runs to its
end, as a request and the job that follows it do; beside it a process writes a row as often as it can, as a labeler's
submit does. Of each change the table has the transactions, the longest one by the clock and by the processor time of
its thread, and how long the other process waited. The goal is 200 ms for a wait. The last line is one JSON object:
{change: {"transactions", "longest_ms", "longest_cpu_ms", "waits", "wait_p95_ms", "wait_max_ms"}}.

Processor time says what a machine without other work would take; a wait on a busy machine says little.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

from benchmarks import manager_pages

GOAL_MS = 200
WRITES = ("BEGIN", "INSERT", "UPDATE", "DELETE", "REPLACE")
PAUSE_SECONDS = 0.005
"""Between two writes of the other process: others wait for the lock too."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks locks", description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--folder", help="keep the database here; what is there already is taken")
    parser.add_argument("--change", action="append", choices=list(CHANGES), help="this one alone; may be given again")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hone-locks-") as temporary:
        data = Path(chosen.folder or temporary) / "sqlite"
        what = "ask" if data.exists() else "fill"
        data.mkdir(parents=True, exist_ok=True)
        own = {"DJANGO_SETTINGS_MODULE": "config.settings", "HONE_DATA": str(data), "HONE_LOG_LEVEL": "ERROR"}
        environment = {**os.environ, **own}
        environment.pop("DATABASE_URL", None)
        command = [sys.executable, "-m", "benchmarks.write_locks", what, str(chosen.tasks)]
        done = subprocess.run(
            [*command, *(chosen.change or CHANGES)], env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    figures: dict[str, dict[str, float]] = json.loads(done.stdout.strip().split("\n")[-1])
    print(f"{'':<34}{'transactions':>14}{'longest':>10}{'its cpu':>10}{'waits':>8}{'p95':>8}{'longest wait':>14}")
    for name, measured in figures.items():
        line = f"{name:<34}{measured['transactions']:>14}{measured['longest_ms']:>10}{measured['longest_cpu_ms']:>10}"
        line += f"{measured['waits']:>8}{measured['wait_p95_ms']:>8}{measured['wait_max_ms']:>14}"
        print(line + (" missed" if measured["wait_max_ms"] > GOAL_MS else ""), flush=True)
    print(json.dumps(figures))
    return 0


# ---- in a process of its own -------------------------------------------------------------------------------------


@dataclass
class Held:
    """(by the clock, of the thread's processor time, its first statement) of each time that the lock was held."""

    times: list[tuple[float, float, str]] = field(default_factory=list)


@contextmanager
def holds() -> Iterator[Held]:
    """What this thread's connection does with the write lock."""
    from unittest import mock

    from django.db import connection

    held, begun = Held(), dict[str, Any]()

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        was_in = connection.connection is not None and connection.connection.in_transaction
        start = (time.perf_counter(), time.thread_time())
        result = execute(sql, params, many, context)
        if not was_in and sql.lstrip().upper().startswith(WRITES):
            if connection.connection.in_transaction:
                # The lock is there when BEGIN comes back.
                begun["at"] = (time.perf_counter(), time.thread_time())
            else:
                held.times.append((time.perf_counter() - start[0], time.thread_time() - start[1], sql[:80]))
        elif was_in and begun.get("first") is None:
            begun["first"] = sql[:80]
        return result

    def ended(end: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            try:
                return end()
            finally:
                if at := begun.pop("at", None):
                    taken = (time.perf_counter() - at[0], time.thread_time() - at[1])
                    held.times.append((*taken, begun.pop("first", None) or ""))

        return run

    own: Any = connection
    commit, rollback = own._commit, own._rollback
    with (
        connection.execute_wrapper(note),
        mock.patch.object(connection, "_commit", ended(commit)),
        mock.patch.object(connection, "_rollback", ended(rollback)),
    ):
        yield held


@contextmanager
def writer() -> Iterator[list[float]]:
    """Seconds that the writes of another process took; known when the context is left."""
    waits: list[float] = []
    command = [sys.executable, "-m", "benchmarks.write_locks", "write"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield waits
    finally:
        said, _errors = process.communicate("end\n")
        waits += json.loads(said)


def _write() -> None:
    """A write after the other, in line for the lock as every process of the product is, until somebody says end."""
    import select

    from django.db import connection

    from config.models import RateBucket

    waits = []
    connection.ensure_connection()
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
        began = time.perf_counter()
        RateBucket.objects.update_or_create(key="locks", defaults={"drained_at": began})
        waits.append(time.perf_counter() - began)
    print(json.dumps(waits))


def _measured(change: Callable[[], object]) -> dict[str, float]:
    with writer() as waits, holds() as held:
        change()
    if not held.times:
        raise SystemExit(f"{change} wrote nothing")
    longest = max(held.times)
    print(f"  {len(held.times)} transactions, longest {longest}", file=sys.stderr, flush=True)
    return {
        "transactions": len(held.times),
        "longest_ms": round(1000 * longest[0], 1),
        "longest_cpu_ms": round(1000 * max(cpu for _clock, cpu, _sql in held.times), 1),
        "waits": len(waits),
        "wait_p95_ms": round(1000 * quantiles(waits, n=20, method="inclusive")[18], 1) if len(waits) > 1 else 0.0,
        "wait_max_ms": round(1000 * max(waits, default=0.0), 1),
    }


def _project() -> Any:
    from annotate.models import Project

    return Project.objects.get(slug=manager_pages.PROJECT)


def _manager() -> Any:
    from annotate.models import User

    return User.objects.get(username="manager")


def _labeler() -> Any:
    from annotate.models import User

    return User.objects.get(username="labeler-01")


def _snapshot(kind: str) -> Callable[[], object]:
    def freeze() -> object:
        from annotate.data import snapshots

        return snapshots.freeze(project=_project(), kind=kind, by=_manager(), filters={"comments": True})

    return freeze


def _leave_out() -> None:
    from datetime import timedelta

    from django.utils import timezone

    from annotate.quality.review import exclusions

    since = timezone.now() - timedelta(days=365)
    exclusion = exclusions.leave_out(
        project=_project(), labeler=_labeler(), since=since, reason="Haste.", by=_manager(), gives_out_again=True
    )
    exclusions.JOB.run(exclusion.pk)


def _count_again() -> None:
    from annotate.models import JudgmentExclusion
    from annotate.quality.review import exclusions

    exclusion = JudgmentExclusion.objects.filter(undone_at=None).latest("pk")
    exclusions.count_again(exclusion=exclusion, by=_manager())
    exclusions.JOB.run(exclusion.pk)


def _copy() -> None:
    from annotate.people.project_copies import copy_project

    copy_project(project=_project(), by=_manager(), name=f"Copy {time.time()}", exam=True, people=True)


def _reopen() -> None:
    from annotate.quality.review import reopening

    chosen = reopening.TaskFilter(use_case="chat")
    reopened = reopening.reopen(project=_project(), chosen=chosen, judgments=1, by=_manager())
    reopening.JOB.run(reopened.pk)


def _overlap() -> None:
    from annotate.labeling import queue
    from annotate.labeling.queue import overlap

    for wanted in (3, 2):
        change = overlap.plan_overlap_change(project=_project(), overlap=wanted)
        queue.begin_overlap_change(change)
        queue.run_overlap_change(change.pk)


def _change_tasks(values: dict[str, Any]) -> Callable[[], object]:
    def change() -> None:
        from annotate.labeling.queue import task_changes

        planned = task_changes.plan_task_change(project=_project(), by=_manager(), selection={}, values=values)
        task_changes.begin_task_change(planned)
        task_changes.run_task_change(planned.pk)

    return change


def _withdraw() -> None:
    from annotate.labeling.task_list import task_edits, task_filters
    from annotate.models import Task

    project = _project()
    filters = task_filters.TaskFilters.of(project, {})
    numbers = Task.objects.filter(project=project, state=Task.State.OPEN).values_list("pk", flat=True)[:1_000]
    for restore in (False, True):
        task_edits.withdraw(filters=filters, by=_manager(), ticked=list(numbers), restore=restore)


def _promote() -> None:
    from annotate.labeling.checks import gold
    from annotate.models import Task

    complete = Task.objects.filter(project=_project(), state=Task.State.COMPLETE).order_by("-pk")
    for task in complete[:20]:
        responses = list(task.task_responses.values_list("response_id", flat=True))
        gold.promote(task=task, by=_manager(), tiers=[[key] for key in responses])


def _recompute() -> None:
    from annotate.models import MeasuresState
    from annotate.quality import measures

    project = _project()
    measures.request_recompute(project)
    while MeasuresState.objects.filter(project=project, recompute_after__isnull=False).exists():
        measures.fold(project)


def _consensus() -> None:
    from annotate.models import Task
    from annotate.quality import consensus

    consensus.mark_stale(Task.objects.filter(project=_project(), state=Task.State.COMPLETE, pk__lte=2_000))
    while consensus.refresh(_project(), end=time.monotonic() + 30):
        pass


def _remove_labeler() -> None:
    from annotate.models import Membership
    from annotate.people import members

    members.remove_role(user=_labeler(), project=_project(), role=Membership.Role.LABELER, by=_manager())
    Membership.objects.create(user=_labeler(), project=_project(), role=Membership.Role.LABELER)


CHANGES: dict[str, Callable[[], object]] = {
    "snapshot of judgments": _snapshot("rankings"),
    "snapshot of prompts": _snapshot("prompts"),
    "leave out a labeler's judgments": _leave_out,
    "count them again": _count_again,
    "copy the project": _copy,
    "priority of all open tasks": _change_tasks({"priority": 5}),
    "overlap of all tasks, and back": _overlap,
    "reopen by a filter": _reopen,
    "withdraw and restore 1,000 tasks": _withdraw,
    "promote 20 tasks to gold": _promote,
    "remove a labeler": _remove_labeler,
    "consensus of 2,000 tasks": _consensus,
    "recompute the measures": _recompute,
}


if __name__ == "__main__":
    import django
    from django.db import connection

    django.setup()
    if sys.argv[1] == "write":
        _write()
    else:
        if sys.argv[1] == "fill":
            manager_pages.fill(int(sys.argv[2]))
            manager_pages.fill_measures()
            connection.close()
        print(json.dumps({name: _measured(CHANGES[name]) for name in sys.argv[3:]}))
