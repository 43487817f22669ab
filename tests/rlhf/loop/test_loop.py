"""Round the loop with real workers and a real, tiny model."""

import json
from io import StringIO

import pytest
from django.core.management import call_command

from annotate.models import Response, Task
from rlhf.loop import loop, versions
from rlhf.models import Iteration, LoopSettings, ModelVersion, TrainingRun
from rlhf.runs import waiting
from tests.conftest import StartWorker
from tests.factories.cast import Cast
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
    make_policy(cast, judgments_per_round=2)
    celery_worker_process("default", "cpu")
    out, lines = StringIO(), list[str]()
    call_command("loop", cast.project.slug, "--rounds", "2", stdout=out)
    assert json.loads(out.getvalue().splitlines()[-1])["rounds"][0]["round"] == 1
    waiting.for_rounds(Iteration.objects.get(), rounds=1, write=lines.append)
    second = Iteration.objects.get(number=2)
    assert (second.step, second.judgments_wanted) == ("wait", 2)
    make_judgments(cast, 2, first=14)
    loop.advance(second.pk)
    waiting.for_rounds(second, rounds=1, write=lines.append)
    numbers = [each.numbers for each in Iteration.objects.order_by("number")]
    # The labeler has judged what the first policy was sampled for too.
    assert [each["judgments"] for each in numbers] == [14, 16 + numbers[0]["tasks"]]
    assert all(0 <= each["reward_accuracy"] <= 1 and each["kl"] is not None for each in numbers)
    first, second = Iteration.objects.order_by("number")
    ppo = second.runs.get(stage="ppo")
    said = "\n".join(lines)
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
