"""A data folder from before HONE_ARTEFACTS was set: the command tries the storage and publishes what only it has."""

import uuid
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from annotate.artefacts import folders
from annotate.data import snapshots
from rlhf.models import ModelVersion, TrainingRun
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.storage import run_artefacts
from tests.factories.cast import Cast
from tests.harness.s3_server import SharedBucket, s3_client, shared_bucket
from tests.rlhf.conftest import make_judgments

__all__ = ["s3_client", "shared_bucket"]
pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


def said(*arguments: str) -> list[str]:
    out = StringIO()
    call_command("publish_artefacts", *arguments, stdout=out)
    return out.getvalue().splitlines()


def write(folder: Path, **texts: str) -> None:
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / f"{name}.json").write_text(text)


@pytest.fixture
def earlier(cast: Cast, shared_bucket: SharedBucket) -> dict[str, str]:
    """{what: folder} of a snapshot, a model, an ended run, one that waits and one at work, made without the storage."""
    location, shared_bucket.settings.HONE_ARTEFACTS = shared_bucket.settings.HONE_ARTEFACTS, ""
    a = shared_bucket.at("a")
    make_judgments(cast, 2)
    snapshot = snapshots.freeze(project=cast.project, kind="rankings", format="hone")
    made = {"snapshot": snapshot.folder}
    lease = {"lease_token": uuid.uuid4(), "lease_until": timezone.now()}
    for name, values in (("ended", {"status": "failed"}), ("waiting", {}), ("at work", {"status": "running", **lease})):
        run = TrainingRun.objects.create(project=cast.project, stage="sft", **values)
        files = RunFiles(run)
        write(files.path, log="it began")
        write(files.run / "checkpoints" / "step-2", state="weights")
        made[name] = files.relative
    write(a / "models" / "one" / "model", config="{}")
    version = ModelVersion(project=cast.project, kind="policy", number=1, folder="models/one/model")
    version.save()
    made["model"] = version.folder
    shared_bucket.settings.HONE_ARTEFACTS = location
    return made


def test_what_the_storage_lacks_is_published_once(earlier: dict[str, str], shared_bucket: SharedBucket) -> None:
    runs = [earlier["ended"], earlier["waiting"]]
    wanted = [earlier["snapshot"], earlier["model"]]
    wanted += [name for run in runs for name in (f"{run}/run/checkpoints", run)]
    tried, *folders_said, end = said("--dry-run")
    assert tried == f"{shared_bucket.settings.HONE_ARTEFACTS} can be written, read, listed and deleted."
    assert [line.partition(":")[0] for line in folders_said] == wanted
    assert end.startswith("6 folders would be published, ")
    assert shared_bucket.names() == []

    assert said()[-1].startswith("6 folders published, ")
    assert said()[1:] == ["0 folders published, 0 bytes."]
    b = shared_bucket.at("b")
    for name in wanted:
        folders.ensure(name, without=run_artefacts.OWN if name in runs else ())
    assert (b / earlier["ended"] / "run/checkpoints/step-2/state.json").read_text() == "weights"
    assert (b / earlier["ended"] / "log.json").read_text() == "it began"
    assert (b / earlier["model"] / "config.json").read_text() == "{}"
    assert (b / earlier["waiting"] / "run/checkpoints/step-2/state.json").read_text() == "weights"
    assert folders.published(earlier["at work"]) is None
    ended = RunFiles(TrainingRun.objects.get(status="failed"))
    assert {folders.published(name).owner for name in runs[:1]} == {ended.owner}  # type: ignore[union-attr]


def test_a_storage_that_cannot_be_used_is_said(shared_bucket: SharedBucket) -> None:
    assert said("--check") == [f"{shared_bucket.settings.HONE_ARTEFACTS} can be written, read, listed and deleted."]
    assert shared_bucket.names() == []
    shared_bucket.settings.HONE_ARTEFACTS = "s3://no-such-bucket/team"
    with pytest.raises(CommandError, match="no-such-bucket"):
        said("--check")
    shared_bucket.settings.HONE_ARTEFACTS = ""
    with pytest.raises(CommandError, match="HONE_ARTEFACTS names no storage"):
        said()
