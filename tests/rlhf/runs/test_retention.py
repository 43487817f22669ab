"""Checkpoints of ended runs: counted, shown before they go, and removed without anything else."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from annotate.models import AuditEvent
from rlhf.models import TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.storage import removed_folders, retention
from tests.factories.cast import Cast
from tests.harness.markup import markup
from tests.rlhf.views.test_views import as_user, url

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_sent")]


@pytest.fixture
def runs_with_checkpoints(queued: Any) -> dict[str, TrainingRun]:
    """Of each status one, 40 days old, with 3,000 bytes of checkpoints and a model; "new" failed yesterday."""
    found = {}
    for name in ("succeeded", "failed", "cancelled", "queued", "new"):
        run = queued()
        files = RunFiles(run)
        for step, size in ((20, 1000), (40, 2000)):
            folder = files.checkpoints / f"step-{step:08d}"
            folder.mkdir(parents=True)
            (folder / "model.safetensors").write_bytes(b"x" * size)
        files.model.mkdir()
        (files.model / "model.safetensors").write_bytes(b"y" * 500)
        days = 1 if name == "new" else 40
        status = "failed" if name == "new" else name
        TrainingRun.objects.filter(pk=run.pk).update(
            status=status, folder=files.relative,
            finished_at=None if name == "queued" else timezone.now() - timedelta(days=days),
        )  # fmt: skip
        found[name] = TrainingRun.objects.get(pk=run.pk)
    return found


def has_checkpoints(run: TrainingRun) -> bool:
    assert (RunFiles(run).model / "model.safetensors").stat().st_size == 500
    return RunFiles(run).checkpoints.exists()


def test_old_checkpoints_of_ended_runs_go_and_nothing_else(
    cast: Cast, runs_with_checkpoints: dict[str, TrainingRun]
) -> None:
    found = retention.kept(cast.project, days=30)
    assert {item.run.pk for item in found} == {
        runs_with_checkpoints[name].pk for name in ("succeeded", "failed", "cancelled")
    }
    assert {(item.bytes, item.step) for item in found} == {(3000, 40)}
    assert retention.kept(cast.other_project) == []
    # One is resumed between the look and the removal: it keeps its own.
    TrainingRun.objects.filter(pk=runs_with_checkpoints["failed"].pk).update(status="queued")
    assert retention.remove(found, by=cast.manager) == 6000
    left = {name for name, run in runs_with_checkpoints.items() if has_checkpoints(run)}
    assert left == {"failed", "queued", "new"}
    assert AuditEvent.objects.filter(verb="run.checkpoints_removed", actor=cast.manager).count() == 2


def test_a_removal_that_was_interrupted_is_finished_by_the_next(
    cast: Cast, runs_with_checkpoints: dict[str, TrainingRun]
) -> None:
    files = RunFiles(runs_with_checkpoints["failed"])
    files.checkpoints.rename(removed_folders.aside(files.checkpoints))
    assert files.checkpoint_step() is None
    found = [item for item in retention.kept(cast.project, days=30) if item.run == runs_with_checkpoints["failed"]]
    assert retention.remove(found, by=None) == 3000
    assert not removed_folders.aside(files.checkpoints).exists()


def test_the_command_says_what_would_go_and_removes_it(
    cast: Cast, runs_with_checkpoints: dict[str, TrainingRun]
) -> None:
    def told(*arguments: str) -> list[str]:
        output = StringIO()
        call_command("prune_checkpoints", *arguments, stdout=output)
        return output.getvalue().splitlines()

    lines = told("--dry-run")
    assert lines[-1] == "8.8 KB would be freed; nothing was removed."
    assert f"run {runs_with_checkpoints['succeeded'].pk} of kindness (succeeded): 2.9 KB" in lines
    assert len(lines) == 4
    assert told(cast.project.slug, "--days", "0")[-1] == "11.7 KB freed."
    assert told() == ["0 bytes freed."]
    with pytest.raises(CommandError, match="--days takes a number from 0 to 3650, not -1"):
        told("--days", "-1")


def test_the_page_shows_what_would_go_before_it_removes_it(
    cast: Cast, runs_with_checkpoints: dict[str, TrainingRun]
) -> None:
    client = as_user("manager", cast)
    page = markup(client.get(url(cast, "checkpoints") + "?days=39"))
    assert page.count("would be removed</td>") == 3
    assert page.count(">stays</span>") == 1
    assert "Remove 8.8 KB" in page
    assert client.get(url(cast, "checkpoints") + "?days=x").status_code == 400
    assert as_user("labeler", cast).post(url(cast, "checkpoints"), {"days": 0}).status_code == 403
    assert all(has_checkpoints(run) for run in runs_with_checkpoints.values())
    said = client.post(url(cast, "checkpoints"), {"days": 39}, follow=True).content.decode()
    assert "8.8\xa0KB of checkpoints were removed." in said
    assert {name for name, run in runs_with_checkpoints.items() if has_checkpoints(run)} == {"queued", "new"}
