"""Steps of a round, without workers: what each waits for, pause and skip, and a loop that is killed anywhere."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings as hone
from django.db import connection, transaction
from django.utils import timezone

from annotate.errors import Refused
from annotate.models import AuditEvent, Demonstration, Prompt, Response, Snapshot
from annotate.people.notices import Reader
from rlhf.human_evaluation import evaluations
from rlhf.loop import loop, versions
from rlhf.loop.rounds import new_data
from rlhf.models import HumanEvaluation, Iteration, LoopSettings, ModelVersion, Promotion, TrainingRun
from rlhf.runs import notices, runs
from rlhf.runs.stages.registry import STAGE_SPECS
from tests.factories.cast import Cast
from tests.rlhf.conftest import make_judgments

pytestmark = pytest.mark.usefixtures("nothing_sent")

RESULTS: dict[str, dict[str, Any]] = {
    "reward": {"accuracy": 0.7},
    "ppo": {"kl": 3.0, "score": 0.5, "reward": 0.4, "length": 20.0},
    "sample": {"responses": 6, "tasks": 2},
}


def end(run: TrainingRun, **result: Any) -> None:
    """End a run well, as a worker would."""
    lease = runs.claim(run_id=run.pk, worker="somewhere/1/2")
    assert lease is not None
    kind, folder = STAGE_SPECS[run.stage].kind, f"runs/{run.pk}/run/model"
    (hone.HONE_DATA / folder).mkdir(parents=True, exist_ok=True)

    def register() -> ModelVersion | None:
        return versions.register(run, kind=kind, folder=folder, sha256="", metrics=result) if kind else None

    runs.succeed(lease, result=RESULTS.get(run.stage, {}) | result, register=register)


def do_the_work(cast: Cast, *, win_low: float = 0.55) -> None:
    """What others do for a round: snapshots are built, runs end, people compare, a manager promotes."""
    project = cast.project
    Snapshot.objects.filter(state="pending").update(state="ready", sha256="0" * 64, rows=4)
    for run in project.training_runs.filter(status="queued").order_by("pk"):
        end(run)
    pair = {"rate": win_low + 0.1, "anytime_low": win_low, "tested": 20, "verdict": "first"}
    HumanEvaluation.objects.filter(state__in=HumanEvaluation.OPEN).update(
        state="done", finished_at=timezone.now(), figures={"pairs": [pair], "complete": 20, "prompts": 20}
    )


def advanced(iteration: Iteration) -> Iteration:
    loop.advance(iteration.pk)
    iteration.refresh_from_db()
    return iteration


@pytest.fixture
def started(cast: Cast, base: ModelVersion) -> Iteration:
    make_judgments(cast, 2)
    return loop.start(project=cast.project, rounds=1, by=cast.manager)


def save_settings(cast: Cast, **values: Any) -> LoopSettings:
    settings, _ = LoopSettings.objects.update_or_create(project=cast.project, defaults=values)
    return settings


def to_step(iteration: Iteration, cast: Cast, step: str) -> Iteration:
    for _ in range(12):
        if iteration.step == step:
            return iteration
        do_the_work(cast)
        advanced(iteration)
    raise AssertionError(f"{iteration} is at {iteration.step} and {iteration.state}: {iteration.reason}")


def test_a_round_that_follows_waits_for_judgments_that_are_new_to_it(cast: Cast, base: ModelVersion) -> None:
    save_settings(cast, judgments_per_round=3)
    make_judgments(cast, 2)
    first = loop.start(project=cast.project, rounds=2, by=cast.manager)
    make_judgments(cast, 1, first=2)  # while the first round goes on, and new to the second
    to_step(first, cast, "done")
    second = cast.project.iterations.get(number=2)
    assert (second.step, second.state, second.judgments_wanted, second.rounds_left) == ("wait", "active", 3, 0)
    make_judgments(cast, 1, first=3)
    assert (new_data.new_judgments(cast.project), advanced(second).step) == (2, "wait")
    make_judgments(cast, 1, first=4)
    assert advanced(second).step == "snapshot"
    assert (new_data.new_judgments(cast.project), second.snapshot_id) == (0, Snapshot.objects.latest("pk").pk)


def test_the_gates_are_stored_with_value_bound_and_verdict(started: Iteration, cast: Cast) -> None:
    save_settings(cast, gates={"reward_accuracy": 0.6, "newest_accuracy": 0.65, "kl": 10, "length": 15})
    to_step(started, cast, "ppo")
    do_the_work(cast)
    advanced(started)
    assert started.gates == [
        {"name": "reward_accuracy", "value": 0.7, "bound": 0.6, "verdict": "passed"},
        {"name": "newest_accuracy", "value": 0.7, "bound": 0.65, "verdict": "passed"},
        {"name": "kl", "value": 3.0, "bound": 10.0, "verdict": "passed"},
        {"name": "length", "value": 20.0, "bound": 15.0, "verdict": "failed"},
    ]
    assert (started.state, started.reason) == (
        "stopped",
        "The policy’s mean response length of 20 is above the gate of 15.",
    )
    assert versions.active_policy(cast.project).kind == "base"


def test_a_gate_whose_number_is_missing_stops_the_round(started: Iteration, cast: Cast) -> None:
    save_settings(cast, gates={"newest_accuracy": 0.5})
    to_step(started, cast, "reward")
    end(started.runs.get(), accuracy=None)
    advanced(started)
    assert (started.state, started.gates) == (
        "stopped",
        [{"name": "newest_accuracy", "value": None, "bound": 0.5, "verdict": "no_number"}],
    )
    assert started.reason == "The gate Accuracy on the newest judgments needs a metric that the run did not report."


@pytest.fixture
def evaluated(started: Iteration, cast: Cast) -> Iteration:
    """A round whose policy is compared with the one in use."""
    Prompt.objects.filter(project=cast.project).update(split="test")
    save_settings(cast, gates={"win_rate": 0.5}, evaluation_prompts=20, sampling={"max_new_tokens": 4})
    return to_step(started, cast, "evaluate")


def test_people_compare_the_policy_with_the_one_in_use_before_it_replaces_it(
    evaluated: Iteration, cast: Cast, base: ModelVersion
) -> None:
    advanced(evaluated)
    evaluation = evaluated.evaluation
    assert evaluation is not None
    policy = evaluated.policy_version
    assert [one.version for one in evaluation.evaluated.order_by("place")] == [policy, base]
    assert (evaluation.state, evaluation.share, evaluation.sampling) == ("sampling", 0.2, {"max_new_tokens": 4})
    assert advanced(evaluated).step == "evaluate"
    do_the_work(cast, win_low=0.55)
    assert advanced(evaluated).step == "sample"
    assert evaluated.gates == [{"name": "win_rate", "value": 0.55, "bound": 0.5, "verdict": "passed"}]
    assert versions.active_policy(cast.project) == policy


def test_a_policy_that_people_do_not_prefer_is_not_put_into_use(
    evaluated: Iteration, cast: Cast, base: ModelVersion
) -> None:
    advanced(evaluated)
    do_the_work(cast, win_low=0.47)
    advanced(evaluated)
    assert (evaluated.state, versions.active_policy(cast.project)) == ("stopped", base)
    assert evaluated.reason == "The lower bound of 0.47 of the policy’s win rate by people is below the gate of 0.5."


def test_the_evaluation_waits_for_another_one_and_ends_the_round_where_it_is_cancelled(
    evaluated: Iteration, cast: Cast, base: ModelVersion
) -> None:
    plan = evaluations.Plan(versions=[evaluated.policy_version, base], prompt_count=1)
    other = evaluations.start(plan, project=cast.project, by=cast.manager)
    assert advanced(evaluated).evaluation is None
    evaluations.cancel(other, by=cast.manager)
    assert advanced(evaluated).evaluation is not None
    evaluations.cancel(evaluated.evaluation, by=cast.manager)
    advanced(evaluated)
    assert (evaluated.state, evaluated.reason) == (
        "cancelled",
        "Evaluation 2, which the gate of the win rate waited for, was cancelled.",
    )


def test_a_promotion_by_hand_is_waited_for(started: Iteration, cast: Cast, base: ModelVersion) -> None:
    save_settings(cast, promotion="hand")
    to_step(started, cast, "promote")
    assert (advanced(started).step, versions.active_policy(cast.project)) == ("promote", base)
    assert [notice.text for notice in notices.of_gates(Reader.of(cast.manager))] == [
        "Round 1 waits: promote its policy, or go on without it."
    ]
    loop.promote(iteration=started, by=cast.manager)
    started.refresh_from_db()
    assert (started.step, versions.active_policy(cast.project)) == ("sample", started.policy_version)
    assert Promotion.objects.get(version=started.policy_version).by == cast.manager
    with pytest.raises(Refused, match="doesn’t wait for a promotion"):
        loop.promote(iteration=started, by=cast.manager)


def test_the_mix_divides_the_prompts_of_a_round(started: Iteration, cast: Cast, base: ModelVersion) -> None:
    part = {"prompts": "least_compared", "temperature": None}
    mix = [
        {**part, "version": "policy", "share": 0.5},
        {**part, "version": "reference", "share": 0.25, "temperature": 0.5, "prompts": "random"},
        {**part, "version": "previous", "share": 0.25, "prompts": "newest"},
    ]
    save_settings(cast, sampling_mix=mix, prompts_per_round=10, sampling={"temperature": 0.9})
    to_step(started, cast, "sample")
    policy = started.policy_version
    found = [
        (run.inputs.get(), run.options["prompts"], run.options.get("order"), run.config["temperature"])
        for run in started.runs.filter(stage="sample").order_by("pk")
    ]
    # 2.5 and 2.5 of the prompts: the first of the two has the larger half.
    assert found == [(policy, 5, None, 0.9), (base, 3, "random", 0.5), (base, 2, "newest", 0.9)]
    do_the_work(cast)
    advanced(started)
    assert (started.state, started.numbers["responses"], started.numbers["tasks"]) == ("succeeded", 18, 6)


def test_demonstrations_bring_an_sft_step_and_the_policy_begins_from_it(
    cast: Cast, base: ModelVersion, started: Iteration
) -> None:
    save_settings(cast, sft_demonstrations=2, sft_config={"epochs": 2})
    prompts = list(Prompt.objects.filter(project=cast.project))
    Prompt.objects.filter(project=cast.project).update(split="train")
    for prompt in prompts:
        response = Response.objects.create(prompt=prompt, text="Three.", author=base.author)
        Demonstration.objects.create(prompt=prompt, response=response)
    to_step(started, cast, "sft")
    run = started.runs.get()
    assert (run.stage, run.config, run.snapshot.kind) == ("sft", {"seed": 1, "epochs": 2}, "demonstrations")
    to_step(started, cast, "sample")
    sft = started.sft_version
    assert sft is not None
    assert sft.kind == "sft"
    of = {run.stage: {item.role: item.version for item in run.run_inputs.all()} for run in started.runs.all()}
    assert (of["sft"], of["reward"]) == ({"model": base}, {"model": sft})
    assert of["ppo"] == {"model": sft, "reference": sft, "reward": started.reward_version}
    assert new_data.new_demonstrations(cast.project) == 0
    # The next SFT begins from the base model again, on all demonstrations.
    assert versions.before_sft(versions.reference(versions.active_policy(cast.project))) == base


def test_a_paused_loop_begins_no_step(started: Iteration, cast: Cast) -> None:
    loop.pause(project=cast.project, by=cast.manager)
    loop.pause(project=cast.project, by=cast.manager)
    do_the_work(cast)
    assert advanced(started).step == "snapshot"
    with pytest.raises(Refused, match="The loop is paused"):
        loop.start(project=cast.project, rounds=1, by=cast.manager)
    save_settings(cast, enabled=True, judgments_per_round=1)
    assert loop.start_due() == []
    loop.resume(project=cast.project, by=cast.manager)
    loop.resume(project=cast.project, by=cast.manager)
    assert advanced(started).step == "reward"
    verbs = AuditEvent.objects.filter(verb__in=["loop.paused", "loop.resumed"]).values_list("verb", "actor")
    assert list(verbs.order_by("pk")) == [("loop.paused", cast.manager.pk), ("loop.resumed", cast.manager.pk)]


def test_a_step_that_is_skipped_is_cancelled_and_the_round_goes_on(
    started: Iteration, cast: Cast, base: ModelVersion
) -> None:
    with pytest.raises(Refused, match="can’t be skipped"):
        loop.skip(iteration=started, step="snapshot", by=cast.manager)
    to_step(started, cast, "reward")
    with pytest.raises(Refused, match="no reward model in use"):
        loop.skip(iteration=started, step="reward", by=cast.manager)
    assert started.runs.get().status == "queued"  # nothing of it is done
    to_step(started, cast, "ppo")
    with pytest.raises(Refused, match="The round has moved on: training the policy"):
        loop.skip(iteration=started, step="reward", by=cast.manager)
    loop.skip(iteration=started, step="ppo", by=cast.manager)
    started.refresh_from_db()
    assert (started.step, started.skipped, started.policy_version) == ("sample", ["ppo"], None)
    assert [(run.stage, run.status) for run in started.runs.order_by("pk")] == [
        ("reward", "succeeded"), ("ppo", "cancelled"), ("sample", "queued"),
    ]  # fmt: skip
    assert started.runs.get(stage="sample").inputs.get() == base
    loop.skip(iteration=started, step="sample", by=cast.manager)
    started.refresh_from_db()
    assert (started.state, started.skipped) == ("succeeded", ["ppo", "sample"])
    with pytest.raises(Refused, match="has ended already"):
        loop.skip(iteration=started, step="sample", by=cast.manager)
    skipped = AuditEvent.objects.filter(verb="loop.step_skipped").order_by("pk")
    assert [event.detail["step"] for event in skipped] == ["ppo", "sample"]


def test_a_skipped_evaluation_and_promotion_leave_the_policy_in_use(
    evaluated: Iteration, cast: Cast, base: ModelVersion
) -> None:
    save_settings(cast, promotion="hand")
    advanced(evaluated)
    loop.skip(iteration=evaluated, step="evaluate", by=cast.manager)
    evaluated.refresh_from_db()
    assert (evaluated.step, evaluated.evaluation.state, evaluated.gates) == ("promote", "cancelled", [])
    loop.skip(iteration=evaluated, step="promote", by=cast.manager)
    evaluated.refresh_from_db()
    assert (evaluated.step, versions.active_policy(cast.project)) == ("sample", base)


class Killed(BaseException):
    """The process is gone."""


@contextmanager
def killed_at(number: int) -> Iterator[list[str]]:
    """Die at the write of this number; what was written, by its table, in order."""
    written: list[str] = []

    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(("INSERT", "UPDATE", "DELETE")):
            written.append(sql.split('"')[1])
            if len(written) == number:
                raise Killed
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wrapper):
        yield written


def end_state(cast: Cast) -> dict[str, Any]:
    """All that a loop leaves, without keys and times."""
    project = cast.project
    return {
        "rounds": [
            (each.number, each.step, each.state, each.numbers, each.gates, str(each.policy_version))
            for each in project.iterations.order_by("number")
        ],
        "runs": [
            (run.stage, run.status, run.config, sorted(str(item).split(" of run")[0] for item in run.run_inputs.all()))
            for run in project.training_runs.order_by("pk")
        ],
        "promotions": [(str(one.version), str(one.replaced)) for one in Promotion.objects.order_by("pk")],
        "snapshots": list(project.snapshots.order_by("pk").values_list("kind", "state")),
        "evaluations": [(each.number, each.state) for each in project.human_evaluations.order_by("pk")],
        "audit": sorted(AuditEvent.objects.filter(project=project).values_list("verb", flat=True)),
    }


def rounds_to_their_end(cast: Cast, *, is_killed: bool) -> tuple[dict[str, Any], set[str], int]:
    """A round and the beginning of the next. Each move dies at its first write, the next try at its second, and so on,
    until it has no further write; what was written, and how many died."""
    iteration = loop.start(project=cast.project, rounds=2, by=cast.manager)
    written: set[str] = set()
    deaths = 0
    for _ in range(30):
        for kill_at in itertools.count(1) if is_killed else (0,):
            try:
                with killed_at(kill_at) as found:
                    loop.advance(iteration.pk)
                break
            except Killed:
                deaths += 1
        written |= set(found)
        do_the_work(cast)
        iteration = cast.project.iterations.order_by("-number").first() or iteration
        if iteration.number == 2 and iteration.step == "reward":
            return end_state(cast), written, deaths
        if iteration.step == "promote":
            versions.promote(iteration.policy_version, by=cast.manager)
        if iteration.step == "wait" and new_data.new_judgments(cast.project) < 1:
            make_judgments(cast, 1, first=50)
    raise AssertionError(f"It stays at {iteration.step}, {iteration.state}: {iteration.reason}")


def test_a_loop_that_is_killed_at_any_write_comes_to_the_same_end(cast: Cast, base: ModelVersion) -> None:
    """Every write of every step, by the database: what the process had in hand is gone."""
    settings = {"judgments_per_round": 1, "promotion": "hand", "sft_demonstrations": 1, "evaluation_prompts": 5}
    save_settings(cast, gates={"win_rate": 0.5, "kl": 10}, **settings)
    make_judgments(cast, 3)
    test, *train = Prompt.objects.filter(project=cast.project)
    Prompt.objects.filter(pk=test.pk).update(split="test")
    Prompt.objects.filter(pk__in=[prompt.pk for prompt in train]).update(split="train")
    response = Response.objects.create(prompt=train[0], text="Three.", author=base.author)
    Demonstration.objects.create(prompt=train[0], response=response)
    point = transaction.savepoint()
    expected, _, deaths = rounds_to_their_end(cast, is_killed=False)
    transaction.savepoint_rollback(point)
    assert deaths == 0
    assert [each[:3] for each in expected["rounds"]] == [(1, "done", "succeeded"), (2, "reward", "active")]
    assert [run[0] for run in expected["runs"]] == ["sft", "reward", "ppo", "sample", "sample", "sample", "reward"]
    found, written, deaths = rounds_to_their_end(cast, is_killed=True)
    assert {"rlhf_iteration", "rlhf_trainingrun", "rlhf_humanevaluation", "annotate_snapshot"} <= written
    assert deaths > 40
    assert found == expected
