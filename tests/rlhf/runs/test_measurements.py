"""Measurements before a run: a real child measures, and later runs of the shape are estimated and refused by it."""

import json
import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from annotate.data.stored_messages import StoredMessage
from annotate.errors import Refused
from annotate.models import Snapshot
from rlhf.models import ModelVersion, TrainingRun, WorkerHeartbeat
from rlhf.runs import launch, runs
from rlhf.runs.execution import supervisor
from rlhf.runs.execution.run_files import RunFiles
from rlhf.runs.planning import durations, measurements
from tests.factories.cast import Cast
from tests.rlhf.conftest import TINY, assert_labeled, make_judgments
from tests.rlhf.views.test_views import as_user, form_data, url

GIB = 2**30
SHAPE: dict[str, Any] = {**TINY, "batch_size": 2}
ESTIMATE = {"HX-Request": "true", "HX-Target": "estimate"}


def measuring(cast: Cast, **config: Any) -> TrainingRun:
    return launch.start(
        project=cast.project, stage="reward", by=cast.manager, config={**SHAPE, **config}, measures=True
    )


def found(base: ModelVersion, **config: Any) -> measurements.Measurement | None:
    return measurements.latest(stage="reward", config={**SHAPE, **config}, queue="cpu", models=[base])


def ended(run: TrainingRun, **result: Any) -> None:
    """The measurement ends, with this result or as failed."""
    lease = runs.claim(run_id=run.pk, worker="w")
    assert lease is not None
    if result:
        runs.succeed(lease, result={"measured_seconds": 30, "measured_steps": 4, **result}, register=lambda: None)
    else:
        runs.fail(lease, StoredMessage("out_of_memory"))


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("embedded_broker")
def test_a_real_measurement_is_kept_for_its_shape_and_leaves_no_model(cast: Cast, base: ModelVersion) -> None:
    make_judgments(cast, 8)
    run = measuring(cast)
    supervisor.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error) == ("succeeded", "")
    assert_labeled(run)
    kept = found(base)
    assert kept is not None
    assert (kept.run, kept.limit, run.result["measured_steps"]) == (run, 30.0, 4)
    assert kept.seconds_per_step is not None
    assert kept.seconds_per_step > 0
    assert kept.peak_memory > 10 * 2**20
    assert run.produced is None
    assert sorted(path.name for path in RunFiles(run).path.iterdir() if path.is_dir()) == ["system"]
    # The learning rate is no part of the shape; the batch is.
    assert found(base, learning_rate=0.1) == kept
    assert found(base, batch_size=4) is None
    # It was no run of the stage itself.
    given: dict[str, Any] = {"stage": "reward", "config": SHAPE, "queue": "cpu", "models": [base]}
    assert durations.expected(rows=8, **given) is None


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing_sent")
class TestLaunching:
    @pytest.fixture(autouse=True)
    def judgments(self, cast: Cast, base: ModelVersion) -> None:
        make_judgments(cast, 2)

    def page(self, cast: Cast, **data: Any) -> str:
        form = form_data(cast, "reward", set_precision="fp32", **data)
        sent = as_user("manager", cast).post(url(cast, "new_run", "reward"), form, headers=ESTIMATE)
        return " ".join(sent.content.decode().split())

    def test_the_form_measures_waits_and_says_where_its_figures_are_from(self, cast: Cast, base: ModelVersion) -> None:
        assert "Memory, at least, computed" in self.page(cast)
        page = self.page(cast, measure="1")
        run = TrainingRun.objects.get()
        assert (run.stage, run.options["stage"], run.options["config"]) == ("measure", "reward", {"precision": "fp32"})
        assert 'hx-trigger="every 1s"' in page
        assert "The measurement waits for a worker." in page
        assert "Measure first" not in page
        assert "is being measured already" in self.page(cast, measure="1")
        assert TrainingRun.objects.count() == 1
        ended(run, seconds_per_step=0.25, peak_memory=3 * GIB)
        page = self.page(cast)
        assert "about 1 s, measured: 0.25 s a step" in page
        assert "Memory, measured</dt> <dd> 3.0 GB" in page
        assert "Measure again" in page
        # Another shape was not measured.
        assert "neither run on this queue nor been measured" in self.page(cast, set_batch_size="3")
        # A run of the shape that came later says more than the measurement.
        later = launch.start(project=cast.project, stage="reward", by=None, config={"precision": "fp32"})
        TrainingRun.objects.filter(pk=later.pk).update(status="succeeded", result={"seconds_per_step": 4.0})
        assert re.search("([0-9]+ s) to \\1, by 1 earlier run of this shape", self.page(cast))

    def test_the_time_of_a_run_whose_data_are_known(self, cast: Cast, base: ModelVersion) -> None:
        snapshot = Snapshot.objects.create(
            project=cast.project, kind="rankings", format="hone", state="ready", rows=160, sha256="0" * 64
        )
        data = {"snapshot": str(snapshot.pk), "set_batch_size": "16", "set_epochs": "1"}
        self.page(cast, measure="1", **data)
        ended(TrainingRun.objects.get(), seconds_per_step=6.0, peak_memory=GIB)
        assert "about 1 min 0 s, measured: 6 s a step" in self.page(cast, **data)
        self.page(cast, measure="1", **data)
        ended(TrainingRun.objects.latest("pk"), seconds_per_step=None, peak_memory=GIB)
        assert "more than 5 min 0 s: no step was finished in 30 s when it was measured" in self.page(cast, **data)

    def test_a_failed_measurement_says_why(self, cast: Cast) -> None:
        self.page(cast, measure="1")
        ended(TrainingRun.objects.get())
        page = self.page(cast)
        assert "The last measurement failed: Out of memory. Reduce batch_size" in page
        assert "Measure first" in page

    def test_what_was_measured_not_to_fit_is_refused_with_what_to_change(self, cast: Cast, base: ModelVersion) -> None:
        ended(measuring(cast), seconds_per_step=1.0, peak_memory=9 * GIB)
        capacity = {"cores": 2, "memory": 8 * GIB, "disk_free": 80 * GIB}
        WorkerHeartbeat.objects.create(name="w", queues=["cpu"], capacity=capacity, seen_at=timezone.now())
        with pytest.raises(Refused, match=r"need 9\.0\sGB of memory.*has 8\.0\sGB\. Reduce max_tokens_per_forward"):
            launch.start(project=cast.project, stage="reward", by=None, config=SHAPE)
        assert launch.start(project=cast.project, stage="reward", by=None, config=TINY).status == "queued"
        # A GPU's memory is not the machine's.
        ended(measuring(cast), seconds_per_step=1.0, peak_memory=9 * GIB, device="Some GPU")
        assert launch.start(project=cast.project, stage="reward", by=None, config=SHAPE).status == "queued"

    def test_what_cannot_be_measured(self, cast: Cast) -> None:
        assert measurements.why_not("evaluate", {}) == "Only trainings are measured."
        with pytest.raises(Refused, match="computes in one process"):
            measuring(cast, processes=2)
        with pytest.raises(Refused, match="batch_size must be"):
            measuring(cast, batch_size=0)
        assert "Measure first" not in self.page(cast, set_processes="2")
        with pytest.raises(CommandError, match="leave --seeds out"):
            call_command("train", cast.project.slug, "reward", "--measure", "--seeds", "2")
        assert not TrainingRun.objects.exists()

    def test_one_that_is_refused_leaves_no_snapshot(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(**given: Any) -> None:
            assert Snapshot.objects.exists()
            raise Refused("No.")

        monkeypatch.setattr(runs, "enqueue", refuse)
        with pytest.raises(Refused, match="No"):
            measuring(cast)
        assert not Snapshot.objects.exists()

    def test_the_command_queues_one(self, cast: Cast) -> None:
        output = StringIO()
        call_command("train", cast.project.slug, "reward", "--measure", "--set", "batch_size=2", stdout=output)
        run = TrainingRun.objects.get(pk=json.loads(output.getvalue())["run"])
        assert (run.stage, run.options) == ("measure", {"stage": "reward", "config": {"batch_size": 2}})
        page = as_user("manager", cast).get(url(cast, "run", run.pk)).content.decode()
        assert "Measurement" in page
