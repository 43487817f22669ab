"""A model version's page: where it comes from, its card, and its files with their hashes as a zip file."""

import hashlib
import io
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from django.conf import settings

from annotate.models import Snapshot
from rlhf.loop import versions
from rlhf.models import ModelVersion, TrainingRun
from rlhf.reports import lineage, model_archive, model_card
from tests.factories.cast import Cast
from tests.rlhf.views.test_views import as_user, url

pytestmark = pytest.mark.django_db


@pytest.fixture
def policy(cast: Cast) -> ModelVersion:
    """base -> sft 1 -> reward 1 -> policy 1, the reward model of a snapshot of 40 rows; and another policy of sft 1."""
    made: dict[str, ModelVersion] = {"base": versions.base(cast.project)}
    for kind, parents in (("sft", ["base"]), ("reward", ["sft"]), ("policy", ["sft", "reward"])):
        folder = f"runs/{kind}/run/model"
        made[kind] = ModelVersion.objects.create(
            project=cast.project, kind=kind, number=1, folder=folder, sha256="ab" * 32, metrics={"accuracy": 0.625}
        )
        made[kind].parents.set([made[parent] for parent in parents])
    other = ModelVersion.objects.create(project=cast.project, kind="policy", number=2, folder="runs/other/run/model")
    other.parents.set([made["sft"]])
    snapshot = Snapshot.objects.create(project=cast.project, kind="rankings", rows=40)
    TrainingRun.objects.create(
        project=cast.project, stage="reward", status="succeeded", snapshot=snapshot, produced=made["reward"],
        config={"epochs": 2, "note": "a|b"},
    )  # fmt: skip
    for name, content in (("model/model.safetensors", b"\0" * 3_000_000), ("adapter/adapter.json", b"{}")):
        path = settings.HONE_DATA / "runs/policy/run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return made["policy"]


def test_each_model_stands_after_all_that_it_was_made_of(cast: Cast, policy: ModelVersion) -> None:
    found = lineage.of_version(policy)
    nodes = {node.title: node for node in found.nodes}
    snapshot = next(node for node in found.nodes if node.kind == "data")
    assert {title: (node.x - lineage.MARGIN) // lineage.COLUMN for title, node in nodes.items()} == {
        "Base model 1": 0, "SFT model 1": 1, snapshot.title: 1, "Reward model 1": 2, "Policy 1": 3,
    }  # fmt: skip
    assert nodes["Policy 1"].sources == ("Reward model 1", "SFT model 1")
    assert nodes["Reward model 1"].sources == ("SFT model 1", snapshot.title)
    assert (nodes["Policy 1"].is_main, nodes["SFT model 1"].is_main) == (True, False)
    assert (snapshot.detail, nodes["Policy 1"].detail) == ("40 rows", "accuracy 0.625")
    assert len(found.arrows) == 5
    places = [(node.x, node.y) for node in found.nodes]
    assert len(set(places)) == len(places)
    assert all(x + lineage.WIDTH <= found.width and y + lineage.HEIGHT <= found.height for x, y in places)
    whole = {node.title for node in lineage.of_project(cast.project).nodes}
    assert whole == {*nodes, "Policy 2"}


def test_what_was_made_of_a_model_is_shown_and_old_models_are_counted(
    cast: Cast, policy: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    reward = ModelVersion.objects.get(kind="reward")
    titles = {node.title for node in lineage.of_version(reward).nodes if node.kind != "data"}
    assert titles == {"Base model 1", "SFT model 1", "Reward model 1", "Policy 1"}
    monkeypatch.setattr(lineage, "MOST_VERSIONS", 2)
    found = lineage.of_project(cast.project)
    assert ([node.title for node in found.nodes], found.left_out) == (["Policy 1", "Policy 2"], 3)


def test_the_card_says_what_it_is_how_it_was_made_and_what_to_mind(cast: Cast, policy: ModelVersion) -> None:
    reward = ModelVersion.objects.get(kind="reward")
    card = model_card.card_of(reward)
    assert dict(card.about)["SHA-256 of its files"] == "ab" * 32
    assert dict(card.data)["Rows"] == "40"
    assert dict(card.recipe) == {"epochs": "2", "note": "a|b"}
    assert card.measures == [("accuracy", "0.625")]
    assert card.limits[0] == "It was trained on 40 rows, too few to generalise."
    reply = as_user("researcher", cast).get(url(cast, "model_card", reward.pk))
    text = reply.content.decode()
    assert reply["Content-Disposition"] == 'attachment; filename="kindness-reward-1-card.md"'
    assert text.startswith("# Reward model 1\n\n## Model\n\n| Name | Value |\n| --- | --- |\n")
    assert "| note | a\\|b |\n" in text
    assert "- It was trained on 40 rows, too few to generalise.\n" in text


def test_the_zip_has_every_file_and_the_hashes_are_theirs(cast: Cast, policy: ModelVersion) -> None:
    client = as_user("manager", cast)
    packed = b"".join(client.get(url(cast, "model_archive", policy.pk)).streaming_content)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["MODEL_CARD.md", "model/model.safetensors", "adapter/adapter.json"]
        contents = {name: archive.read(name) for name in archive.namelist()[1:]}
    lines = b"".join(client.get(url(cast, "model_hashes", policy.pk)).streaming_content).decode().splitlines()
    assert lines == [f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in contents.items()]
    page = client.get(url(cast, "model", policy.pk)).content.decode()
    assert "model/model.safetensors" in page
    assert url(cast, "model", versions.base(cast.project).pk) in page


def test_a_large_model_is_sent_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.truncate(200 * model_archive.BLOCK)
    tracemalloc.start()
    sent = sum(len(block) for block in model_archive.archive([("model/x", path)], card=""))
    _now, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sent > 200 * model_archive.BLOCK
    assert most < 8 * model_archive.BLOCK


def test_a_link_out_of_the_store_is_not_sent(policy: ModelVersion, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    link = settings.HONE_DATA / policy.folder / "link"
    link.symlink_to(secret)
    assert [name for name, _path in model_archive.files_of(policy)] == [
        "model/model.safetensors", "adapter/adapter.json",
    ]  # fmt: skip
    link.unlink()


def test_files_that_are_elsewhere_are_a_sentence(cast: Cast, policy: ModelVersion) -> None:
    client = as_user("manager", cast)
    base = versions.base(cast.project)
    for name in ("model_archive", "model_hashes"):
        assert client.get(url(cast, name, base.pk)).status_code == 404
    assert "A base model has no files of its own here." in client.get(url(cast, "model", base.pk)).content.decode()
    gone = ModelVersion.objects.get(number=2)
    said = client.get(url(cast, "model", gone.pk)).content.decode()
    assert "The files of this model are not on this machine." in said
