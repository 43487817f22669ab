"""The page of the loop: where it stands and why it waits, its actions, and settings that cannot be."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotate.errors import Refused
from annotate.models import AuditEvent, Judgment
from rlhf.forms.loop_forms import LoopSettingsForm
from rlhf.loop import loop, versions
from rlhf.loop.rounds import forecast, loop_page, sampling_mix
from rlhf.models import Iteration, LoopSettings, ModelVersion
from rlhf.runs.queues import workers
from tests.factories.cast import Cast
from tests.rlhf.conftest import make_judgments

pytestmark = pytest.mark.usefixtures("nothing_sent")


def url(cast: Cast, name: str, *keys: object) -> str:
    return reverse(f"rlhf:{name}", args=[cast.project.slug, *keys])


@pytest.fixture
def manager(cast: Cast, base: ModelVersion) -> Client:
    client = Client()
    client.force_login(cast.manager)
    return client


def posted(cast: Cast, **changed: str) -> dict[str, Any]:
    """What a browser sends of the settings' form, with some fields changed."""
    form = LoopSettingsForm(instance=LoopSettings.of(cast.project))
    fields = [field for group in [form, form.mix, *form.stage_forms.values()] for field in group]
    data = {field.html_name: field.value() for field in fields}
    return {name: value for name, value in data.items() if value is not None and value is not False} | changed


def test_the_page_says_how_many_judgments_are_missing_and_when_they_come(manager: Client, cast: Cast) -> None:
    make_judgments(cast, 4)
    Judgment.objects.update(created_at=timezone.now() - timedelta(hours=2))
    LoopSettings.objects.create(project=cast.project, enabled=True, judgments_per_round=10)
    page = loop_page.of(cast.project)
    assert (page.num_new, page.wanted, page.missing) == (4, 10, 6)
    assert page.sentence == (
        "The next round waits for 6 more judgments. At the current pace of 2 an hour it goes on in about 3 hours."
    )
    said = manager.get(url(cast, "loop")).content.decode()
    assert page.sentence in said
    assert 'class="loop-circle"' in said


def test_the_steps_say_what_is_done_what_runs_and_what_comes(manager: Client, cast: Cast) -> None:
    make_judgments(cast, 2)
    LoopSettings.objects.create(project=cast.project, promotion="hand", gates={"kl": 8.0, "win_rate": 0.5})
    iteration = loop.start(project=cast.project, rounds=3, by=cast.manager)
    Iteration.objects.filter(pk=iteration.pk).update(step="ppo", skipped=["reward"], numbers={"judgments": 2})
    page = loop_page.of(cast.project)
    assert [(row.step, row.state) for row in page.steps] == [
        ("snapshot", "done"), ("reward", "skipped"), ("ppo", "now"), ("evaluate", "next"), ("promote", "next"),
        ("sample", "next"),
    ]  # fmt: skip
    assert page.steps[0].detail == "2 judgments"
    assert page.next == "Compare the policies by people"
    assert page.gates_to_come == [
        "KL divergence of the policy: at most 8",
        "Win rate by people, lower bound: at least 0.5",
    ]
    assert [arrow.name for arrow in page.arrows if arrow.state == "now"] == ["ppo"]
    # The round has its judgments; what comes in is for the next one.
    assert (page.num_new, page.wanted) == (0, 200)


def test_rounds_lead_to_their_models_and_runs(manager: Client, cast: Cast, base: ModelVersion, queued: Any) -> None:
    iteration = Iteration.objects.create(
        project=cast.project, number=1, state="succeeded", step="done", policy_version=base
    )
    run = queued(iteration=iteration)
    page = manager.get(url(cast, "loop")).content.decode()
    table = page[page.index("<table") :]
    assert url(cast, "model", base.pk) in table
    assert url(cast, "run", run.pk) in table


@pytest.mark.parametrize(
    ("queues", "said"),
    [(set(), "Its run waits for a worker."), ({"cpu"}, "Its run waits in the queue cpu: place 2 of 2.")],
)
def test_it_says_where_a_run_waits(
    manager: Client, cast: Cast, queued: Any, monkeypatch: pytest.MonkeyPatch, queues: set[str], said: str
) -> None:
    make_judgments(cast, 2)
    queued()
    iteration = loop.start(project=cast.project, rounds=1, by=cast.manager)
    Iteration.objects.filter(pk=iteration.pk).update(step="reward")
    queued(iteration=iteration)
    monkeypatch.setattr(workers, "listening", lambda: queues)
    assert loop_page.of(cast.project).sentence == f"Training the reward model. {said}"


def test_skip_and_cancel_say_what_is_lost_and_are_sent_once(manager: Client, cast: Cast) -> None:
    make_judgments(cast, 2)
    iteration = loop.start(project=cast.project, rounds=1, by=cast.manager)
    said = manager.get(url(cast, "skip_step", 1), follow=True).content.decode()
    assert "There is nothing to cancel or skip" in said
    Iteration.objects.filter(pk=iteration.pk).update(step="ppo")
    assert (
        "Its training so far is lost. The round brings no policy"
        in manager.get(url(cast, "skip_step", 1)).content.decode()
    )
    assert "The round ends here" in manager.get(url(cast, "cancel_round", 1)).content.decode()
    said = manager.post(url(cast, "skip_step", 1), {"step": "reward"}, follow=True).content.decode()
    assert "The round has moved on: training the policy." in said
    manager.post(url(cast, "skip_step", 1), {"step": "ppo"})
    iteration.refresh_from_db()
    assert (iteration.step, iteration.skipped) == ("sample", ["ppo"])
    manager.post(url(cast, "pause_loop"))
    assert "The loop is paused: no step begins" in manager.get(url(cast, "loop")).content.decode()
    manager.post(url(cast, "resume_loop"))
    manager.post(url(cast, "cancel_round", 1))
    verbs = AuditEvent.objects.filter(verb__startswith="loop.").order_by("pk").values_list("verb", flat=True)
    assert list(verbs) == ["loop.started", "loop.step_skipped", "loop.paused", "loop.resumed", "loop.cancelled"]
    said = manager.post(url(cast, "promote_round", 1), follow=True).content.decode()
    assert "doesn’t wait for a promotion" in said


def test_shares_are_checked_as_one_types(manager: Client, cast: Cast) -> None:
    def check(**fields: str) -> str:
        return manager.get(url(cast, "loop_mix"), fields).content.decode()

    row = {"version": "policy", "prompts": "random"}
    two = {f"mix-{n}-{name}": value for n in (0, 1) for name, value in row.items()}
    assert "Add 0.1 to make it 1." in check(**two, **{"mix-0-share": "0.5", "mix-1-share": "0.4"})
    assert "Take 0.25 away" in check(**two, **{"mix-0-share": "0.5", "mix-1-share": "0.75"})
    assert "Prompts of each part: 43, 21." in check(**two, **{"mix-0-share": "0.67", "mix-1-share": "0.33"})
    assert "Without parts the policy in use responds" in check()
    assert "the share is a number above 0" in check(**two, **{"mix-0-share": "-1"})
    assert "the temperature is a number from 0 to 100" in check(
        **two, **{"mix-0-share": "1", "mix-0-temperature": "101"}
    )
    assert "choose a version and prompts" in check(**{"mix-0-share": "1"})
    assert "the share is a number" in check(**two, **{"mix-0-temperature": "0.5"})


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"mix-0-share": "0.5", "mix-0-version": "policy", "mix-0-prompts": "newest"},
            "The shares sum to 0.5.",
        ),
        ({"gate_win_rate": "1.5"}, "Ensure this value is less than or equal to 1"),
        ({"gate_win_rate": "0.5", "evaluation_share": "0.95"}, "so the share can be at most 0.90."),
        ({"evaluation_prompts": "5001"}, "Ensure this value is less than or equal to 5000."),
        ({"rolling_minutes": "0"}, "Ensure this value is greater than or equal to 1."),
        ({"rolling_keep": "1"}, "Ensure this value is greater than or equal to 2."),
        ({"promotion": "luck"}, "Select a valid choice. luck is not one of the available choices."),
        ({"sft_config-set_epochs": "0"}, "Ensure this value is greater than"),
        ({"ppo_config-set_rollouts_ahead": "1"}, "HONE_ROLLOUT_SERVER names none."),
    ],
)
def test_settings_that_cannot_be_are_refused_with_a_sentence(
    manager: Client, cast: Cast, changed: dict[str, str], sentence: str
) -> None:
    cast.project.__class__.objects.filter(pk=cast.project.pk).update(gold_rate=0.1)
    cast.project.refresh_from_db()
    reply = manager.post(url(cast, "loop_settings"), posted(cast, **changed))
    assert reply.status_code == 400
    assert sentence in reply.content.decode()
    assert not LoopSettings.objects.exists()


def test_no_round_begins_whose_server_for_rollouts_was_taken_away(manager: Client, cast: Cast, settings: Any) -> None:
    settings.HONE_ROLLOUT_SERVER = "http://gpu1:8000/v1"
    changed = {"ppo_config-set_rollouts_ahead": "1"}
    assert manager.post(url(cast, "loop_settings"), posted(cast, **changed)).status_code == 302
    assert LoopSettings.objects.get().ppo_config == {"rollouts_ahead": 1}
    make_judgments(cast, 2)
    settings.HONE_ROLLOUT_SERVER = ""
    with pytest.raises(Refused, match="HONE_ROLLOUT_SERVER names none"):
        loop.start(project=cast.project, rounds=1, by=cast.manager)
    assert not Iteration.objects.exists()


def test_settings_are_saved_whole(manager: Client, cast: Cast) -> None:
    mix = {"mix-0-version": "policy", "mix-0-prompts": "newest", "mix-0-share": "0.75"}
    mix |= {"mix-1-version": "reference", "mix-1-prompts": "random", "mix-1-share": "0.25", "mix-1-temperature": "0"}
    gates = {"gate_length": "200", "gate_win_rate": "0.5", "gate_newest_accuracy": "0.6"}
    reply = manager.post(url(cast, "loop_settings"), posted(cast, **mix, **gates, rolling="on", promotion="hand"))
    assert reply.status_code == 302
    saved = LoopSettings.objects.get()
    assert saved.gates == {"length": 200.0, "win_rate": 0.5, "newest_accuracy": 0.6}
    assert (saved.rolling, saved.promotion, saved.rolling_start) == (True, "hand", "warm")
    assert saved.sampling_mix == [
        {"version": "policy", "temperature": None, "prompts": "newest", "share": 0.75},
        {"version": "reference", "temperature": 0.0, "prompts": "random", "share": 0.25},
    ]


def test_prompts_are_divided_by_largest_remainders() -> None:
    def counts(prompts: int, *shares: float) -> list[int]:
        return sampling_mix.allocated([sampling_mix.Part(share=share) for share in shares], prompts=prompts)

    assert counts(64, 0.75, 0.25) == [48, 16]
    assert counts(10, 1 / 3, 1 / 3, 1 / 3) == [4, 3, 3]
    assert counts(1, 0.4, 0.6) == [0, 1]
    assert counts(100, 0.29, 0.71) == [29, 71]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""), (20, "in less than a minute"), (61, "in about 1 minute"), (50 * 60, "in about 50 minutes"),
        (2 * 3600, "in about 2 hours"), (4 * 86400, "in about 4 days"),
    ],
)  # fmt: skip
def test_when_is_said_in_round_numbers(seconds: float | None, words: str) -> None:
    assert forecast.in_words(seconds) == words


def test_a_policy_that_waits_is_put_into_use_from_the_page(manager: Client, cast: Cast, base: ModelVersion) -> None:
    policy = ModelVersion.objects.create(project=cast.project, kind="policy", number=1, author=None, folder="runs/x")
    policy.author = base.author.__class__.objects.create(kind="model", name="p1")
    policy.save()
    Iteration.objects.create(project=cast.project, number=1, step="promote", policy_version=policy)
    said = manager.get(url(cast, "loop")).content.decode()
    assert "The new policy waits for you" in said
    assert "Put Policy 1 into use" in said
    manager.post(url(cast, "promote_round", 1))
    assert versions.active_policy(cast.project) == policy
    assert Iteration.objects.get().step == "sample"


def test_every_round_is_on_a_page(manager: Client, cast: Cast) -> None:
    Iteration.objects.bulk_create(
        Iteration(project=cast.project, number=number, step="sample", state="succeeded") for number in range(1, 33)
    )

    def rounds(query: str, **headers: str) -> list[int]:
        page = manager.get(url(cast, "loop") + query, headers=headers).content.decode()
        assert f"{url(cast, 'loop')}?page=" in page
        return [int(number) for number in re.findall(r"<tr>\s*<td>(\d+)</td>", page)]

    assert rounds("") == list(range(32, 2, -1))
    assert rounds("?page=2") == rounds("?page=2", **{"HX-Target": "rounds"}) == [2, 1]
