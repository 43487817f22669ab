"""What has to hold after the faults, counted in the database and in the files."""

import time

from benchmarks.load import service

STILL_SECONDS = 300.0
"""What was begun has to end by itself once nothing breaks any more: so long without a change counts as stuck."""
END_SECONDS = 3600.0


def await_end() -> dict[str, int]:
    """Wait until every run, export and import has ended, or nothing goes on any more; how many have not ended."""
    until, changed, seen = time.monotonic() + END_SECONDS, time.monotonic(), ""
    while any((left := _unfinished()).values()) and time.monotonic() < until:
        if (now := _progress()) != seen:
            changed, seen = time.monotonic(), now
        if time.monotonic() - changed > STILL_SECONDS:
            break
        time.sleep(1.0)
    return left


def broken(acknowledged: list[str]) -> dict[str, int]:
    """Counts that are 0 where the promises hold."""
    from django.conf import settings
    from django.db.models import Count

    from annotate.data import snapshots
    from annotate.models import Judgment, Response, Snapshot, TaskResponse
    from annotate.people.audit import chain
    from models_core.contract.runs.run_folder import folder_sha256
    from rlhf.models import ModelVersion, Stage, TrainingRun

    runs = TrainingRun.objects.all()
    done = runs.filter(status=TrainingRun.Status.SUCCEEDED)
    trained = done.filter(stage__in=[Stage.SFT, Stage.REWARD])
    ready = Snapshot.objects.filter(state=Snapshot.State.READY)
    audit = chain.verify()
    sampled = runs.filter(stage=Stage.SAMPLE)
    reported = sum(run.result["responses"] for run in sampled & done)
    stored = Response.objects.filter(author__model_version__isnull=False).count()
    # A run that failed at last may have stored its responses before.
    is_exact = not sampled.exclude(pk__in=done).exists()
    versions = ModelVersion.objects.exclude(folder="")
    changed = [each for each in versions if folder_sha256(settings.HONE_DATA / each.folder) != each.sha256]
    twice = TaskResponse.objects.values("task", "response").annotate(times=Count("pk")).filter(times__gt=1)
    return {
        **service.differences(acknowledged),
        "trained runs without their model": trained.filter(produced=None).count(),
        "runs that ended and kept a lease": runs.exclude(lease_token=None).count(),
        "models whose files are not what was written": len(changed),
        "ready snapshots whose hashes do not hold": sum(1 for snapshot in ready if snapshots.verify(snapshot)),
        "responses twice in a task": twice.count(),
        "responses that runs report and are not there": max(0, reported - stored),
        "responses that no run reports": max(0, stored - reported) if is_exact else 0,
        "problems of the audit log's chain": len(audit.problems),
        "problems of the database's own check": _integrity(),
        "judgments without a revision": Judgment.objects.filter(revisions=None).count(),
    }


def counts() -> dict[str, int]:
    """What there is at the end, for the summary."""
    from django.db.models import Count

    from annotate.models import Judgment, Snapshot
    from rlhf.models import TrainingRun

    found = {"judgments": Judgment.objects.count()}
    for name, rows in (
        ("runs", TrainingRun.objects.values_list("status")),
        ("exports", Snapshot.objects.values_list("state")),
    ):
        for state, count in rows.annotate(count=Count("pk")).order_by():
            found[f"{name} {state}"] = count
    found["attempts of runs"] = sum(TrainingRun.objects.values_list("attempt", flat=True))
    return found


def failures() -> list[str]:
    """Why runs and exports failed, as their pages say it."""
    from annotate.models import Snapshot
    from rlhf.models import TrainingRun

    runs = TrainingRun.objects.filter(status=TrainingRun.Status.FAILED).order_by("pk")
    exports = Snapshot.objects.filter(state=Snapshot.State.FAILED).order_by("pk")
    said = [f"run {run.pk} ({run.stage}, attempt {run.attempt}): {run.error}" for run in runs]
    return said + [f"export {export.pk}: {export.error}" for export in exports]


def _unfinished() -> dict[str, int]:
    from annotate.models import DataImport, Snapshot
    from rlhf.models import TrainingRun

    return {
        "runs that have not ended": TrainingRun.objects.exclude(status__in=TrainingRun.ENDED).count(),
        "exports that have not ended": Snapshot.objects.filter(
            state__in=[Snapshot.State.PENDING, Snapshot.State.BUILDING]
        ).count(),
        "imports that have not ended": DataImport.objects.filter(state__in=DataImport.UNDER_WAY).count(),
    }


def _progress() -> str:
    """Changes whenever a run goes on."""
    from rlhf.models import TrainingRun

    under_way = TrainingRun.objects.exclude(status__in=TrainingRun.ENDED)
    return str(list(under_way.order_by("pk").values_list("pk", "status", "attempt", "progress", "activity")))


def _integrity() -> int:
    """SQLite's own check of every page; PostgreSQL has none that an ordinary user may ask for."""
    from django.db import connection

    if connection.vendor != "sqlite":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA integrity_check")
        return sum(1 for (line,) in cursor.fetchall() if line != "ok")
