"""Which ended runs can be resumed, what a resumed run has left of its end, and smaller steps after a lack of memory."""

from typing import Any

import pytest

from annotate.data.stored_messages import StoredMessage
from annotate.errors import Refused
from annotate.models import AuditEvent
from rlhf.models import Iteration, ModelVersion, TrainingRun
from rlhf.runs import failures, launch, runs
from rlhf.runs.execution import memory_retries
from rlhf.runs.execution.run_files import RunFiles
from tests.factories.cast import Cast
from tests.rlhf.views.test_views import as_user, url

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_sent")]
OUT_OF_MEMORY = {"code": "out_of_memory", "message": "CUDA out of memory."}


def failed(run: TrainingRun) -> TrainingRun:
    lease = runs.claim(run_id=run.pk, worker="w/1/2")
    assert lease is not None
    runs.fail(lease, StoredMessage("disk_full"))
    run.refresh_from_db()
    return run


def test_a_failed_run_is_queued_again_by_its_button(cast: Cast, base: ModelVersion) -> None:
    run = failed(launch.start(project=cast.project, stage="reward", by=None, config={}))
    client = as_user("manager", cast)
    assert "from the beginning: there is no checkpoint" in client.get(url(cast, "run", run.pk)).content.decode()
    (RunFiles(run).run / "checkpoints" / "step-00000040").mkdir(parents=True)
    (RunFiles(run).run / "checkpoints" / "step-00000020").mkdir()
    (RunFiles(run).run / "checkpoints" / ".partial-step-00000060").mkdir()
    assert "from the checkpoint of step 40" in client.get(url(cast, "run", run.pk)).content.decode()
    assert client.get(url(cast, "resume_run", run.pk)).status_code == 405
    client.post(url(cast, "resume_run", run.pk))
    run.refresh_from_db()
    assert (run.status, run.attempt, run.error, run.failure, run.finished_at) == ("queued", 0, "", {}, None)
    assert AuditEvent.objects.filter(verb="run.resumed", actor=cast.manager).count() == 1
    again = client.post(url(cast, "resume_run", run.pk), follow=True).content.decode()
    assert "This run has not ended." in again


def test_what_nobody_waits_for_is_not_resumed(queued: Any, cast: Cast, base: ModelVersion) -> None:
    round_of_project = Iteration.objects.create(project=cast.project, number=1, state="failed")
    for values, reason in [
        ({"iteration": round_of_project}, "Its round has ended without it"),
        ({"options": {"samples": 2, "requests": [1]}}, "Nobody waits for these responses any more"),
    ]:
        run = failed(queued(**values))
        with pytest.raises(Refused, match=reason):
            runs.resume(run=run, by=None)
        page = as_user("manager", cast).get(url(cast, "run", run.pk)).content.decode()
        assert url(cast, "resume_run", run.pk) not in page


def test_a_resumed_run_counts_among_those_that_a_project_may_have(
    queued: Any, cast: Cast, base: ModelVersion, settings: Any
) -> None:
    run = failed(queued())
    queued()
    settings.HONE_RUNS_A_PROJECT = 1
    with pytest.raises(Refused, match="1 runs of this project wait or run already"):
        runs.resume(run=run, by=None)


@pytest.mark.parametrize(
    ("stage", "config", "changes"),
    [
        ("sft", {}, {"max_tokens_per_forward": (2048, 1024)}),
        ("ppo", {"max_tokens_per_forward": 129}, {"max_tokens_per_forward": (129, 64)}),
        ("reward", {"max_tokens_per_forward": 127}, {}),
        ("evaluate", {}, {"max_tokens_per_forward": (8192, 4096), "batch_size": (64, 32)}),
        ("sample", {"batch_size": 1}, {}),
    ],
)
def test_steps_become_half_as_large_while_that_saves_memory(
    stage: str, config: dict[str, Any], changes: dict[str, Any]
) -> None:
    assert memory_retries.smaller_steps(TrainingRun(stage=stage, config=config)) == changes


def test_out_of_memory_is_tried_again_in_smaller_steps_and_the_page_says_so(cast: Cast, base: ModelVersion) -> None:
    run = launch.start(project=cast.project, stage="reward", by=None, config={"batch_size": 8})
    for attempt in (1, 2):
        lease = runs.claim(run_id=run.pk, worker="w/1/2")
        assert lease is not None
        failures.end(lease, returncode=1, failure=OUT_OF_MEMORY, memory_ran_out=False)
        run.refresh_from_db()
        assert (run.status, run.attempt) == ("queued", attempt)
    assert run.config == {"batch_size": 8, "max_tokens_per_forward": 512}
    page = as_user("manager", cast).get(url(cast, "run", run.pk)).content.decode()
    assert "Attempt 1 ran out of memory. The next one computes 1024 tokens in a forward pass in place of 2048" in page
    assert "Attempt 2 ran out of memory. The next one computes 512 tokens" in page
    lease = runs.claim(run_id=run.pk, worker="w/1/2")
    assert lease is not None
    failures.end(lease, returncode=1, failure=OUT_OF_MEMORY, memory_ran_out=False)
    run.refresh_from_db()
    assert (run.status, run.failure) == ("failed", failures.OUT_OF_MEMORY.as_json())


def test_a_run_that_is_cancelled_when_its_memory_runs_out_is_not_tried_again(cast: Cast, base: ModelVersion) -> None:
    run = launch.start(project=cast.project, stage="reward", by=None, config={})
    lease = runs.claim(run_id=run.pk, worker="w/1/2")
    assert lease is not None
    runs.request_cancel(run=run, by=None)
    failures.end(lease, returncode=-9, failure={}, memory_ran_out=True)
    run.refresh_from_db()
    assert run.status == "cancelled"
