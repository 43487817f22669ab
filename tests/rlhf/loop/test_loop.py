"""Round the loop with real workers and a real, tiny model."""

import json
from io import StringIO

import pytest
from django.core.management import call_command

from annotate.models import Response, Task
from rlhf.loop import versions
from rlhf.models import Iteration, LoopSettings, ModelVersion, TrainingRun
from tests.cast import Cast
from tests.conftest import StartWorker
from tests.rlhf.conftest import SAMPLING, TINY, assert_labeled, make_judgments

PPO = {**TINY, "episodes": 8, "batch_size": 4, "minibatches": 1, "max_new_tokens": 4, "min_entropy": 0, "min_length": 0}


def make_policy(cast: Cast, **values: object) -> LoopSettings:
    return LoopSettings.objects.create(
        project=cast.project, prompts_per_round=3, sampling=SAMPLING, reward_config=TINY, ppo_config=PPO, **values
    )


@pytest.mark.django_db(transaction=True)
def test_two_rounds_from_judgments_to_new_tasks_of_the_new_policy(
    celery_worker_process: StartWorker, cast: Cast, base: ModelVersion
) -> None:
    make_judgments(cast, 14)
    make_policy(cast)
    celery_worker_process("default", "cpu")
    out, err = StringIO(), StringIO()
    call_command("loop", cast.project.slug, "--rounds", "2", "--wait", stdout=out, stderr=err)

    report = json.loads(out.getvalue().splitlines()[-1])
    assert [(each["round"], each["state"], each["policy"], each["judgments"]) for each in report["rounds"]] == [
        (1, "succeeded", "policy 1", 14),
        (2, "succeeded", "policy 2", 14),
    ]
    assert all(0 <= each["reward_accuracy"] <= 1 and each["kl"] is not None for each in report["rounds"])
    first, second = Iteration.objects.order_by("number")
    ppo = second.runs.get(stage="ppo")
    said = err.getvalue()
    for line in ("Round 1: training the reward model", f"PPO (run {ppo.pk}): succeeded", "Round 2: succeeded"):
        assert line in said

    inputs = {item.role: item.version for item in ppo.run_inputs.all()}
    assert inputs == {"model": first.policy_version, "reference": base, "reward": second.reward_version}
    trainings = [each.runs.get(stage="reward").run_inputs.all() for each in (first, second)]
    assert [{item.role: item.version for item in training} for training in trainings] == [
        {"model": base},
        {"model": base, "previous": first.reward_version},
    ]
    assert versions.active_policy(cast.project) == second.policy_version
    assert versions.active_reward(cast.project) == second.reward_version
    responses = Response.objects.filter(author=second.policy_version.author)
    assert responses.count() == 3 * cast.project.responses_per_task
    assert Task.objects.filter(responses__in=responses, state=Task.State.OPEN).exists()
    assert not TrainingRun.objects.exclude(status="succeeded").exists()
    for run in TrainingRun.objects.all():
        assert_labeled(run)
