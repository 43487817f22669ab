"""Tags, and the deletion of versions that nothing needs."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from annotate.errors import Refused
from annotate.models import AuditEvent
from rlhf import tasks
from rlhf.loop import versions
from rlhf.model_registry import removal, tags
from rlhf.models import HumanEvaluation, Iteration, ModelVersion, RunInput, TrainingRun
from rlhf.runs.storage import removed_folders
from tests.factories.cast import Cast
from tests.harness.markup import markup
from tests.rlhf.views.test_views import as_user, url

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_sent")]


def make(cast: Cast, kind: str, number: int, *parents: ModelVersion) -> ModelVersion:
    """A version with a model folder and an adapter beside it."""
    version = ModelVersion.objects.create(
        project=cast.project, kind=kind, number=number, folder=f"runs/{kind}{number}/run/model"
    )
    version.parents.set(parents)
    for name in ("model/model.safetensors", "adapter/adapter.safetensors", "metrics.jsonl"):
        path = settings.HONE_DATA / f"runs/{kind}{number}/run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 500)
    return version


def folder(version: ModelVersion) -> Path:
    return Path(settings.HONE_DATA / version.folder).parent


def test_what_nothing_needs_is_deleted_and_its_files_go_with_a_job(cast: Cast, base: ModelVersion) -> None:
    version = make(cast, "policy", 1, base)
    client = as_user("manager", cast)
    assert "1000\xa0bytes" in client.get(url(cast, "delete_model", version.pk)).content.decode()
    reply = client.post(url(cast, "delete_model", version.pk), follow=True)
    assert "Policy 1 was deleted; its files are being removed." in reply.content.decode()
    assert (folder(version) / "model").is_dir()
    assert removal.unfinished() == [version.pk]
    tasks.remove_model_files(version.pk)
    tasks.remove_model_files(version.pk)
    assert sorted(path.name for path in folder(version).iterdir()) == ["metrics.jsonl"]
    assert removal.unfinished() == []
    assert client.get(url(cast, "model", version.pk)).status_code == 404
    assert "Policy 1" not in markup(client.get(url(cast, "models"))).replace("deleted", "")
    events = AuditEvent.objects.filter(subject_type="modelversion", subject_id=str(version.pk))
    assert list(events.order_by("pk").values_list("verb", "actor")) == [
        ("model.deleted", cast.manager.pk), ("model.files_removed", None),
    ]  # fmt: skip
    # Nobody takes another version for it.
    run = TrainingRun.objects.create(project=cast.project, stage="ppo")
    again = versions.register(run, kind="policy", folder="runs/9/run/model", sha256="", metrics={})
    assert again.number == 2


def test_a_removal_that_was_interrupted_is_finished_by_the_scheduler(cast: Cast, base: ModelVersion) -> None:
    version = make(cast, "sft", 1, base)
    removal.delete(version, by=cast.manager)
    model = folder(version) / "model"
    model.rename(removed_folders.aside(model))
    tasks.reap_queue()
    assert sorted(path.name for path in folder(version).iterdir()) == ["metrics.jsonl"]


def test_each_thing_that_needs_a_version_is_named(cast: Cast, base: ModelVersion) -> None:
    sft = make(cast, "sft", 1, base)
    policy, reward = make(cast, "policy", 1, sft), make(cast, "reward", 1, sft)
    versions.promote(sft, by=cast.manager)
    versions.promote(policy, by=cast.manager)
    sft.refresh_from_db()
    run = TrainingRun.objects.create(project=cast.project, stage="ppo", status="queued")
    run.run_inputs.create(version=reward, role=RunInput.Role.REWARD)
    Iteration.objects.create(project=cast.project, number=1, reward_version=reward)
    evaluation = HumanEvaluation.objects.create(
        project=cast.project, number=3, state="active", share=0.1, responses_per_version=1
    )
    evaluation.evaluated.create(version=policy, place=0)
    assert removal.needed_by(policy) == [
        "It is in use. Promote another model first.", "Evaluations that go on compare it: 3.",
    ]  # fmt: skip
    assert removal.needed_by(sft) == [
        "Policy 1 would be rolled back to it.", "Models were made from it: Policy 1, Reward model 1.",
    ]  # fmt: skip
    assert removal.needed_by(reward) == [
        f"Runs that wait or run use it: {run.pk}.", "The round of the loop that goes on has made it.",
    ]  # fmt: skip
    assert removal.needed_by(base)[0].startswith("It is a base model")
    for version in (base, sft, policy, reward):
        with pytest.raises(Refused, match="can’t be deleted"):
            removal.delete(version, by=cast.manager)
        page = as_user("manager", cast).post(url(cast, "delete_model", version.pk))
        assert page.status_code == 409
    TrainingRun.objects.update(status="succeeded")
    Iteration.objects.update(state="succeeded")
    removal.delete(reward, by=cast.manager)
    assert versions.latest_reward(cast.project) is None
    # A child that was deleted needs nothing any more.
    assert removal.needed_by(sft)[-1] == "Models were made from it: Policy 1."


@pytest.mark.parametrize("place", ["../outside", "models/shared"])
def test_only_folders_of_runs_are_ever_removed(cast: Cast, base: ModelVersion, place: str) -> None:
    kept = (settings.HONE_DATA / place).resolve()
    kept.mkdir(parents=True, exist_ok=True)
    version = ModelVersion.objects.create(project=cast.project, kind="sft", number=7, folder=place)
    removal.delete(version, by=None)
    removal.remove_files(version.pk)
    assert kept.is_dir()


def test_versions_are_tagged_and_the_registry_is_filtered_by_a_tag(cast: Cast, base: ModelVersion) -> None:
    client = as_user("researcher", cast)
    make(cast, "sft", 1, base), make(cast, "sft", 2, base)
    first, second = ModelVersion.objects.filter(kind="sft").order_by("number")
    client.post(url(cast, "model_tags", first.pk), {"tags": " best  so far, 最好,best so far"})
    client.post(url(cast, "model_tags", second.pk), {"tags": "old"})
    first.refresh_from_db()
    assert first.tags == ["best so far", "最好"]
    assert tags.of_project(cast.project) == ["best so far", "old", "最好"]
    page = client.get(url(cast, "models"), {"tag": "最好"}).content.decode()
    table = page.partition("<tbody>")[2].partition("</tbody>")[0]
    assert "SFT model 1" in table
    assert "SFT model 2" not in table
    assert AuditEvent.objects.filter(verb="model.tagged").count() == 2
    client.post(url(cast, "model_tags", second.pk), {"tags": "old"})
    assert AuditEvent.objects.filter(verb="model.tagged").count() == 2
    for wrong, said in (("x" * 41, "visible characters"), (",".join(map(str, range(13))), "at most 12 tags")):
        assert said in client.post(url(cast, "model_tags", second.pk), {"tags": wrong}, follow=True).content.decode()
    client.post(url(cast, "model_tags", first.pk), {"tags": ""})
    assert tags.of_project(cast.project) == ["old"]


def test_a_deleted_version_is_offered_nowhere(cast: Cast, base: ModelVersion, monkeypatch: Any) -> None:
    version = make(cast, "policy", 1, base)
    removal.delete(version, by=None)
    assert versions.policies(cast.project).count() == 1
    with pytest.raises(Refused):
        versions.find(cast.project, "policy 1")
    run = TrainingRun.objects.create(project=cast.project, stage="ppo", status="succeeded", produced=version)
    assert "Policy 1" in markup(as_user("manager", cast).get(url(cast, "run", run.pk)))
