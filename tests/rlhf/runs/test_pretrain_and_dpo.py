"""Pretraining and DPO, started as a manager starts them, with their real child processes."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from annotate.errors import Refused
from annotate.models import Demonstration, Prompt
from rlhf.loop import versions
from rlhf.models import ModelVersion, Stage, TrainingRun
from rlhf.runs import launch
from rlhf.runs.execution import supervisor
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.stages import pretrain
from rlhf.runs.stages.registry import LAUNCHABLE, STAGE_SPECS
from tests.factories.cast import Cast
from tests.rlhf.conftest import TINY, assert_labeled, make_judgments
from tests.rlhf.runs.test_stages import snapshot_of
from tests.rlhf.views.test_views import as_user, form_data, url

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("embedded_broker"),
    pytest.mark.any_database,
]
SMALL = {
    "precision": "fp32", "max_length": 64, "vocab_size": 300, "layers": 1, "width": 32, "heads": 2, "epochs": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def corpora() -> Path:
    folder = Path(settings.HONE_DATA) / "corpora"
    folder.mkdir(exist_ok=True)
    return folder


def executed(run: TrainingRun) -> TrainingRun:
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error) == (TrainingRun.Status.SUCCEEDED, "")
    assert_labeled(run)
    return run


def test_every_stage_has_an_entry() -> None:
    assert set(STAGE_SPECS) == set(Stage.values)
    others = {"score", "judge", "import", "gguf", "push", "measure", "benchmark"}
    assert set(STAGE_SPECS) - set(LAUNCHABLE) == others


def test_pretraining_on_the_texts_of_a_project(cast: Cast, base: ModelVersion, tmp_path: Path) -> None:
    snapshot_of(cast, tmp_path, count=30)
    Demonstration.objects.filter(prompt__split="train").first().delete()  # type: ignore[union-attr]
    run = executed(launch.start(project=cast.project, stage="pretrain", by=cast.manager, config=SMALL))
    train = Prompt.objects.filter(project=cast.project, split="train")
    texts = [json.loads(line)["text"] for line in (RunFiles(run).inputs / "corpus.jsonl").open()]
    with_demonstration = train.filter(demonstrations__isnull=False)
    assert len(texts) == train.count() < 30
    assert sum(text.endswith("ab") for text in texts) == with_demonstration.count() == train.count() - 1
    assert [note["code"] for note in run.result["notes"]] == ["trained_on_project_texts"]
    version = ModelVersion.objects.get(run=run)
    assert (version.kind, str(version), list(version.parents.all())) == ("pretrained", "pretrained 1", [])
    assert version.metrics["bits_per_byte"] > 0
    assert version.author is not None
    versions.promote(version, by=cast.manager)
    assert versions.active_policy(cast.project) == version


def test_pretraining_goes_on_with_a_model_on_a_corpus_file(cast: Cast, base: ModelVersion, corpora: Path) -> None:
    (corpora / "sea.txt").write_text("\n\n".join(f"The sea is {n} miles wide. " * 12 for n in range(12)))
    out = StringIO()
    arguments = [f"--set={name}={value}" for name, value in (TINY | {"epochs": 1}).items()]
    call_command(
        "train", cast.project.slug, "pretrain", "--corpus", "sea.txt", "--model", "base-1", *arguments, stdout=out,
        stderr=StringIO(),
    )  # fmt: skip
    run = executed(TrainingRun.objects.get(pk=json.loads(out.getvalue())["run"]))
    assert run.options == {"corpus": "sea.txt"}
    version = ModelVersion.objects.get(run=run)
    assert (version.kind, list(version.parents.all())) == ("pretrained", [base])
    assert run.result["notes"] == []


def test_nothing_but_a_corpus_file_becomes_a_corpus(cast: Cast, base: ModelVersion, corpora: Path) -> None:
    (corpora / "notes.md").write_text("x")
    (corpora / "link.txt").unlink(missing_ok=True)
    (corpora / "link.txt").symlink_to(Path(settings.HONE_DATA) / "secret_key")
    (Path(settings.HONE_DATA) / "outside.txt").write_text("x")
    for name in ("../outside.txt", "notes.md", "link.txt", "none.txt", ".", "/etc/hostname", "a\0.txt"):
        with pytest.raises(Refused, match=r"There is no \.txt or \.jsonl file") as refused:
            launch.start(project=cast.project, stage="pretrain", by=cast.manager, config=SMALL, corpus=name)
        assert refused.value.status == 400
    with pytest.raises(CommandError, match="A corpus is for pretraining"):
        call_command("train", cast.project.slug, "sft", "--corpus", "link.txt")
    assert not TrainingRun.objects.exists()
    assert "notes.md" not in pretrain.corpora()


def test_dpo_trains_a_policy_on_the_rankings(cast: Cast, base: ModelVersion) -> None:
    make_judgments(cast, 8)
    config = {**TINY, "epochs": 1, "batch_size": 2}
    run = executed(launch.start(project=cast.project, stage="dpo", by=cast.manager, config=config))
    assert run.snapshot is not None
    assert (run.snapshot.kind, run.snapshot.state) == ("rankings", "ready")
    version = ModelVersion.objects.get(run=run)
    assert (version.kind, list(version.parents.all()), version.active) == ("policy", [base], False)
    assert version.metrics["rankings"] > 0
    assert versions.reference(version) == base
    second = launch.start(
        project=cast.project, stage="dpo", by=cast.manager, config=config,
        inputs={"model": version, "reference": base}, snapshot=run.snapshot,
    )  # fmt: skip
    assert set(executed(second).run_inputs.values_list("role", "version")) == {
        ("model", version.pk), ("reference", base.pk),
    }  # fmt: skip


def test_both_start_from_a_page(cast: Cast, base: ModelVersion, corpora: Path) -> None:
    (corpora / "land.txt").write_text("Land. " * 100)
    manager = as_user("manager", cast)
    training = manager.get(url(cast, "training")).content.decode()
    assert "Pretrain on plain text" in training
    assert "Train policy (DPO)" in training
    address = url(cast, "new_run", "pretrain")
    assert manager.post(address, form_data(cast, "pretrain", corpus="nowhere.txt")).status_code == 400
    assert manager.post(address, form_data(cast, "pretrain", corpus="land.txt")).status_code == 302
    data = form_data(cast, "dpo", reference=str(base.pk))
    assert manager.post(url(cast, "new_run", "dpo"), data).status_code == 302
    assert [(run.stage, run.options) for run in TrainingRun.objects.order_by("pk")] == [
        ("pretrain", {"corpus": "land.txt"}), ("dpo", {}),
    ]  # fmt: skip
    assert as_user("labeler", cast).get(url(cast, "new_run", "dpo")).status_code == 403
