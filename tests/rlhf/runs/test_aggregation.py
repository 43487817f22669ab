"""Training on judgments weighted by reliability, or on one consensus per task."""

import pytest
from django.core.management import call_command

from annotate.data import snapshots
from annotate.errors import Refused
from annotate.models import Snapshot
from rlhf.loop import loop
from rlhf.models import LoopSettings, ModelVersion, Stage, TrainingRun
from rlhf.runs import launch
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.stages.registry import STAGE_SPECS
from tests.factories.cast import Cast
from tests.rlhf.conftest import make_judgments
from tests.rlhf.views.test_views import as_user, form_data, url

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_sent")]


@pytest.mark.parametrize("stage", ["reward", "dpo"])
def test_a_run_asks_for_a_snapshot_in_its_mode(cast: Cast, base: ModelVersion, stage: str) -> None:
    make_judgments(cast, 2)
    run = launch.start(project=cast.project, stage=stage, by=cast.manager, config={}, aggregation="weighted")
    assert run.snapshot is not None
    assert run.snapshot.aggregation == "weighted"
    plain = launch.start(project=cast.project, stage=stage, by=cast.manager, config={})
    assert plain.snapshot is not None
    assert plain.snapshot.aggregation == "raw"


def test_seeds_share_the_mode(cast: Cast, base: ModelVersion) -> None:
    make_judgments(cast, 2)
    given = {"project": cast.project, "by": cast.manager, "config": {}}
    runs = launch.start_seeds(seeds=2, aggregation="consensus", **given)
    assert [run.snapshot.aggregation for run in runs if run.snapshot] == ["consensus", "consensus"]


def test_what_does_not_fit_is_refused(cast: Cast, base: ModelVersion) -> None:
    make_judgments(cast, 2)
    given = {"project": cast.project, "by": cast.manager, "config": {}}
    with pytest.raises(Refused, match="Only training on judgments weights them"):
        launch.start(stage="sft", aggregation="weighted", **given)
    snapshot = snapshots.freeze(project=cast.project, kind="rankings", by=cast.manager)
    with pytest.raises(Refused, match="has another mode: Each judgment as it is"):
        launch.start(stage="reward", aggregation="weighted", snapshot=snapshot, **given)
    assert not TrainingRun.objects.exists()


def test_the_page_the_command_and_the_loop_choose_it(cast: Cast, base: ModelVersion) -> None:
    make_judgments(cast, 2)
    client = as_user("manager", cast)
    page = client.get(url(cast, "new_run", "reward")).content.decode()
    assert "One consensus per task" in page
    assert (
        client.post(url(cast, "new_run", "reward"), form_data(cast, "reward", aggregation="consensus")).status_code
        == 302
    )
    call_command("train", cast.project.slug, "reward", aggregation="weighted")
    LoopSettings.objects.create(project=cast.project, aggregation="consensus")
    loop.start(project=cast.project, rounds=1, by=cast.manager)
    chosen = Snapshot.objects.order_by("pk").values_list("aggregation", flat=True)
    assert list(chosen) == ["consensus", "weighted", "consensus"]


def test_the_weights_are_in_the_rows_that_training_reads(cast: Cast, base: ModelVersion) -> None:
    make_judgments(cast, 12)
    run = launch.start(project=cast.project, stage=Stage.REWARD, by=cast.manager, config={}, aggregation="consensus")
    files = RunFiles(run)
    files.make()
    data = STAGE_SPECS[Stage.REWARD].data(run, files, lambda: None).files["--data"]
    rows = data.read_text(encoding="utf-8").splitlines()
    assert rows
    assert all('"id": "consensus-' in row and '"weight": ' in row for row in rows)
