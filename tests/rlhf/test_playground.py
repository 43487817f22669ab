"""The playground: replies through a real live worker and from a server, preferences, limits, pages that are gone."""

import inspect
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotate.data import snapshots
from annotate.data.stored_messages import StoredMessage
from annotate.errors import Refused
from annotate.models import Assignment, Judgment, Membership, Prompt, Response, Task
from models_core.generation import served_stream
from rlhf import tasks
from rlhf.loop import prompts
from rlhf.models import (
    ModelVersion,
    PlaygroundChat,
    PlaygroundColumn,
    PlaygroundReply,
    PlaygroundTurn,
    TrainingRun,
)
from rlhf.playground import chats, live_replies
from rlhf.playground.chats import Chosen
from rlhf.runs import runs
from rlhf.runs.execution import supervisor
from rlhf.runs.live_responses import live, served_threads
from rlhf.runs.messages import MESSAGES
from rlhf.runs.queues import workers
from tests.conftest import StartWorker, wait_until
from tests.factories.cast import Cast
from tests.factories.head_to_head import make_policies
from tests.models_core.generation.test_served_model import KEY, fake  # noqa: F401 (a fixture)
from tests.models_core.generation.test_served_stream import chunk, events, silent
from tests.rlhf.conftest import SAMPLING

pytestmark = pytest.mark.django_db


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is there, which does nothing by itself."""
    monkeypatch.setattr(workers, "listening", lambda: {"default", "live"})
    monkeypatch.setattr(runs, "send", lambda task, *arguments, queue="default": None)


@pytest.fixture
def chat(cast: Cast) -> PlaygroundChat:
    columns = [Chosen(version=version, sampling={"max_new_tokens": 8}) for version in make_policies(cast.project, 2)]
    return chats.begin(project=cast.project, user=cast.researcher, columns=columns, is_blind=False)


def reply_all(turn: PlaygroundTurn, *texts: str) -> list[PlaygroundReply]:
    """What the live worker does with the turn's runs."""
    replies = list(turn.replies.select_related("run"))
    for reply, text in zip(replies, texts, strict=True):
        lease = runs.claim(run_id=reply.run_id, worker="w")
        assert lease is not None
        row = {"id": str(reply.pk), "responses": [{"text": text, "finish_reason": "stop", "score": 0.5}]}
        runs.succeed(lease, result=live_replies.store(reply.run, lease, row), register=lambda: None)
    return list(turn.replies.select_related("run"))


def url(chat: PlaygroundChat, name: str) -> str:
    return reverse(f"rlhf:playground_{name}", args=[chat.project.slug, chat.pk])


@pytest.mark.usefixtures("listening")
class TestPreferences:
    def test_a_preference_is_a_judgment_of_the_person_with_prompt_and_responses(self, cast, chat):
        turn = chats.ask(chat, "How do I boil an egg?")
        reply_all(turn, "In water.", "Ask a hen.")
        judgment = chats.prefer(turn, "1", by=cast.researcher)
        prompt, task = judgment.task.prompt, judgment.task
        assert (prompt.messages, prompt.source) == (
            [{"role": "user", "content": "How do I boil an egg?"}],
            "playground",
        )
        assert prompt.author.user == judgment.labeler == cast.researcher
        by_text = {response.text: response for response in task.responses.all()}
        assert judgment.latest.tiers == [[by_text["Ask a hen."].pk], [by_text["In water."].pk]]
        versions = [column.version for column in chat.columns.order_by("place")]
        assert [by_text[text].author for text in ("In water.", "Ask a hen.")] == [one.author for one in versions]
        assert (task.state, task.judgments_given, task.slots_free) == ("complete", 1, 0)
        assert Judgment.objects.filter(Judgment.COUNTED).count() == 1
        with pytest.raises(Refused, match="judged this turn already"):
            chats.prefer(turn, "0", by=cast.researcher)

    @pytest.mark.parametrize(("choice", "unacceptable"), [("tie", False), ("bad", True)])
    def test_a_tie_and_all_bad(self, cast, chat, choice, unacceptable):
        turn = chats.ask(chat, "How?")
        reply_all(turn, "So.", "Thus.")
        latest = chats.prefer(turn, choice, by=cast.researcher).latest
        assert latest.all_unacceptable == unacceptable
        assert [len(tier) for tier in latest.tiers] == ([] if unacceptable else [2])

    def test_the_chat_goes_on_from_the_preferred_reply_on_one_side_of_the_split(self, cast, chat):
        first = chats.ask(chat, "How?")
        reply_all(first, "So.", "Thus.")
        chats.prefer(first, "1", by=cast.researcher)
        second = chats.ask(chat, "And then?")
        assert second.messages == [
            {"role": "user", "content": "How?"},
            {"role": "assistant", "content": "Thus."},
            {"role": "user", "content": "And then?"},
        ]
        reply_all(second, "Eat.", "Sleep.")
        prompt = chats.prefer(second, "0", by=cast.researcher).task.prompt
        opening = Prompt.objects.get(messages=first.messages)
        assert (prompt.opening, prompt.split) == (opening, opening.split)
        # Without a preference it goes on from the first one.
        third = chats.ask(chat, "Why?")
        reply_all(third, "Because.", "No.")
        assert chats.ask(chat, "Really?").messages[-2] == {"role": "assistant", "content": "Because."}

    def test_it_comes_into_snapshots_with_its_source(self, cast, chat):
        turn = chats.ask(chat, "How?")
        reply_all(turn, "So.", "Thus.")
        chats.prefer(turn, "0", by=cast.researcher)
        snapshot = snapshots.freeze(project=cast.project, kind="rankings")
        assert snapshot.rows == 1
        assert [row["id"] for row in prompts.with_ids(cast.project, Prompt.objects.values_list("pk", flat=True))] != []

    def test_what_cannot_be_judged(self, cast, chat):
        turn = chats.ask(chat, "How?")
        with pytest.raises(Refused, match="all versions have replied"):
            chats.prefer(turn, "0", by=cast.researcher)
        reply_all(turn, "Same.", "Same. ")
        with pytest.raises(Refused, match="the same, so there is nothing to compare"):
            chats.prefer(turn, "0", by=cast.researcher)
        other = chats.ask(chat, "Why?")
        reply_all(other, "So.", "Thus.")
        with pytest.raises(Refused, match="Choose the better reply"):
            chats.prefer(other, "7", by=cast.researcher)
        assert not Task.objects.exists()
        assert not Response.objects.exists()

    def test_a_held_task_of_the_same_person_stays_in_their_hands(self, cast, chat):
        turn = chats.ask(chat, "How?")
        reply_all(turn, "So.", "Thus.")
        chats.prefer(turn, "0", by=cast.researcher)
        assert list(Assignment.objects.values_list("state", flat=True)) == ["submitted"]


@pytest.mark.usefixtures("listening")
class TestLimits:
    def test_of_a_person_and_a_chat(self, cast, chat, monkeypatch):
        turn = chats.ask(chat, "How?")
        with pytest.raises(Refused, match="Wait until the replies are there"):
            chats.ask(chat, "And?")
        reply_all(turn, "So.", "Thus.")
        monkeypatch.setattr(chats, "TURNS_AN_HOUR", 1)
        with pytest.raises(Refused, match="1 messages within an hour"):
            chats.ask(chat, "And?")
        PlaygroundTurn.objects.update(created_at=timezone.now() - timedelta(hours=2))
        monkeypatch.setattr(chats, "MOST_TURNS", 1)
        with pytest.raises(Refused, match="at most 1 turns"):
            chats.ask(chat, "And?")
        assert TrainingRun.objects.count() == 2

    def test_of_columns_and_tokens(self, cast):
        (version,) = make_policies(cast.project, 1)
        begin = {"project": cast.project, "user": cast.manager, "is_blind": False}
        for columns, sentence in (
            ([Chosen(version=version)], "Choose 2 to 4 models."),
            ([Chosen(version=version)] * 5, "Choose 2 to 4 models."),
            ([Chosen(version=version, sampling={"max_new_tokens": 5_000})] * 2, "at most 1024 tokens"),
            (
                [Chosen(version=ModelVersion(kind="reward", number=1)), Chosen(version=version)],
                "Reward model 1 is a reward model",
            ),
        ):
            with pytest.raises(Refused, match=sentence):
                chats.begin(columns=columns, **begin)
        assert not PlaygroundChat.objects.exists()

    def test_the_same_version_twice_with_other_settings_is_fine(self, cast):
        (version,) = make_policies(cast.project, 1)
        columns = [Chosen(version=version, sampling={"temperature": heat}) for heat in (0.0, 1.0)]
        chat = chats.begin(project=cast.project, user=cast.manager, columns=columns, is_blind=True)
        assert {column.sampling["temperature"] for column in chat.columns.all()} == {0.0, 1.0}


def test_without_a_worker_nothing_is_asked_and_the_message_is_kept(cast, chat, monkeypatch):
    monkeypatch.setattr(workers, "listening", lambda: {"default"})
    client = Client()
    client.force_login(cast.researcher)
    reply = client.post(url(chat, "ask"), {"message": "How do I boil an egg?"})
    assert reply.status_code == 409
    page = reply.content.decode()
    assert "No version can reply: no worker is listening to the queue live." in page
    assert ">\nHow do I boil an egg?</textarea>" in page
    assert not TrainingRun.objects.exists()


@pytest.mark.usefixtures("listening")
def test_a_page_that_is_gone_has_its_waiting_runs_cancelled(cast, chat):
    turn = chats.ask(chat, "How?")
    tasks.reap_runs()
    assert {reply.run.status for reply in turn.replies.all()} == {"queued"}
    PlaygroundChat.objects.update(seen_at=timezone.now() - timedelta(seconds=20))
    tasks.reap_runs()
    assert {reply.run.status for reply in turn.replies.all()} == {"cancelled"}
    # A chat whose last turn has no reply can't go on from it.
    with pytest.raises(Refused, match="No version has replied"):
        chats.ask(chat, "And?")


@pytest.mark.usefixtures("listening")
class TestPage:
    def page(self, cast: Cast, chat: PlaygroundChat, user: str = "researcher", **headers: str) -> str:
        client = Client()
        client.force_login(getattr(cast, user))
        return client.get(url(chat, "chat"), headers=headers).content.decode()

    def test_polls_while_replies_come_and_then_asks_for_a_preference(self, cast, chat):
        turn = chats.ask(chat, "How?")
        live_replies.keep_text(turn.replies.first().run, "So fa")
        page = self.page(cast, chat)
        assert 'hx-trigger="every 400ms"' in page
        assert "So fa" in page
        assert "is best" not in page
        reply_all(turn, "So far.", "Thus.")
        page = self.page(cast, chat, **{"HX-Target": "turns"})
        assert "<h1" not in page
        assert "every 400ms" not in page
        assert "Reply 2 is best" in page

    def test_a_blind_chat_names_nobody_before_the_preference(self, cast):
        columns = [Chosen(version=version) for version in make_policies(cast.project, 2)]
        chat = chats.begin(project=cast.project, user=cast.manager, columns=columns, is_blind=True)
        turn = chats.ask(chat, "How?")
        reply_all(turn, "So.", "Thus.")
        page = self.page(cast, chat, "manager")
        assert "Policy 1" not in page
        assert "score" not in page
        chats.prefer(turn, "0", by=cast.manager)
        page = self.page(cast, chat, "manager")
        assert "Policy 1" in page
        assert "score 0.50" in page

    def test_scores_are_for_managers(self, cast, chat):
        turn = chats.ask(chat, "How?")
        reply_all(turn, "So.", "Thus.")
        assert "score" not in self.page(cast, chat)

    def test_a_chat_is_its_persons_own(self, cast, chat):
        client = Client()
        client.force_login(cast.manager)
        assert client.get(url(chat, "chat")).status_code == 403


@pytest.fixture
def served(fake: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: F811
    """A server of the site named local, whose key the worker has."""
    monkeypatch.setenv("STREAM_KEY", KEY)
    settings.HONE_AI_ENDPOINTS = {"local": (fake.address, "STREAM_KEY")}
    live.server_process.end()  # an earlier test's has not the key, which a process gets when it starts
    yield fake
    live.server_process.end()  # it has the key of this test


def served_chat(cast: Cast, *models: str, is_blind: bool = False) -> PlaygroundChat:
    columns = [
        Chosen(endpoint="local", served_model=model, sampling={"temperature": place / 2})
        for place, model in enumerate(models)
    ]
    return chats.begin(project=cast.project, user=cast.manager, columns=columns, is_blind=is_blind)


def executed(turn: PlaygroundTurn) -> list[PlaygroundReply]:
    """The replies after their runs, one after the other. The page goes on asking, however long the machine takes."""
    PlaygroundChat.objects.update(seen_at=timezone.now() + timedelta(hours=1))
    for reply in turn.replies.all():
        supervisor.execute(reply.run_id)
        served_threads.join(60)
    return list(turn.replies.select_related("run"))


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("listening")
def test_served_models_reply_are_judged_and_fail_in_sentences(cast: Cast, served: Any) -> None:
    chat = served_chat(cast, "mine", "")
    whole = [events(chunk("In"), chunk(f" {what}."), chunk(reason="stop")) for what in ("water", "oil")]
    served.scenes = [*whole]
    first = chats.ask(chat, "How do I boil an egg?")
    replies = executed(first)
    assert [(reply.run.status, reply.run.error, reply.text) for reply in replies] == [
        ("succeeded", "", "In water."),
        ("succeeded", "", "In oil."),
    ]
    assert [(body["model"], body["temperature"]) for body in served.bodies] == [("mine", 0.0), ("the-model", 0.5)]
    judgment = chats.prefer(first, "1", by=cast.manager)
    kept = {response.text: response for response in judgment.task.responses.all()}
    assert judgment.latest.tiers == [[kept["In oil."].pk], [kept["In water."].pk]]
    assert {text: str(response.author) for text, response in kept.items()} == {
        "In water.": "mine (local)",
        "In oil.": "the-model (local)",
    }
    assert {response.author.kind for response in kept.values()} == {"model"}
    assert (kept["In oil."].sampling["endpoint"], kept["In oil."].finish_reason) == ("local", "eos")
    assert KEY not in str([(run.config, run.options, run.result) for run in TrainingRun.objects.all()])

    # The next turn goes on from the preferred reply; what had come before a fault stays.
    served.scenes = [events(chunk("Cool"), chunk(" it")), (401, {"error": {"message": KEY}})]
    second = executed(chats.ask(chat, "And then?"))
    assert [message["content"] for message in served.bodies[-1]["messages"]][1] == "In oil."
    assert [(reply.run.status, reply.text) for reply in second] == [("failed", "Cool it"), ("failed", "")]
    page = TestPage().page(cast, chat, "manager")
    assert "Cool it" in page
    assert "The server local broke the connection off before its reply was complete." in page
    assert "The server local refuses the key (status 401), which the operator of this site sets." in page
    assert KEY not in page


@pytest.mark.any_database
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("listening")
def test_a_silent_server_holds_nobody_up_and_is_left_alone(
    cast: Cast, base: ModelVersion, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def states() -> list[str]:
        return [run.status for run in TrainingRun.objects.order_by("pk")]

    served.scenes = [silent, silent, events(chunk("So."), chunk(reason="stop"))]
    first = chats.ask(served_chat(cast, "mine", "other"), "How?")
    PlaygroundChat.objects.update(seen_at=timezone.now() + timedelta(hours=1))  # however long the machine takes
    for reply in first.replies.all():
        supervisor.execute(reply.run_id)
    wait_until(lambda: len(served.bodies) == 2, seconds=60, what="both requests")
    other = chats.begin(
        project=cast.project, user=cast.researcher, is_blind=False,
        columns=[Chosen(version=base, sampling=SAMPLING), Chosen(version=base, sampling=SAMPLING)],
    )  # fmt: skip
    second = chats.ask(other, "How?")
    PlaygroundChat.objects.update(seen_at=timezone.now() + timedelta(hours=1))
    for reply in second.replies.all():
        supervisor.execute(reply.run_id)
    assert states() == ["running", "running", "succeeded", "succeeded"]

    # One is left: the other one, and the process that asks, go on.
    process, policy = live.server_process.process_id, live.model_process.process_id
    silent_runs = list(TrainingRun.objects.order_by("pk")[:2])
    runs.request_cancel(run=silent_runs[0], by=cast.manager)
    wait_until(lambda: states()[0] == "cancelled", what="the end of the reply that is left")
    assert states()[1] == "running"
    # A worker that stops puts its runs back.
    monkeypatch.setattr(live, "worker_is_stopping", lambda: True)
    served_threads.join(60)
    assert states()[:2] == ["cancelled", "queued"]
    assert process is not None
    assert (live.server_process.process_id, live.model_process.process_id) == (process, policy)
    monkeypatch.setattr(live, "worker_is_stopping", lambda: False)
    supervisor.execute(silent_runs[1].pk)
    served_threads.join(60)
    assert states()[1] == "succeeded"
    live.model_process.end()


@pytest.mark.parametrize(("is_draining", "began"), [(True, 0), (False, 1)])
def test_a_draining_worker_begins_no_reply_and_a_failed_thread_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_draining: bool, began: int
) -> None:
    monkeypatch.setattr(workers, "is_draining", lambda: is_draining)
    calls: list[None] = []

    def fail() -> None:
        calls.append(None)
        raise RuntimeError("broken on purpose")

    served_threads.submit(fail)
    served_threads.join(60)
    assert len(calls) == began
    assert caplog.messages == ["A thread for replies of served models failed"] * began


@pytest.mark.usefixtures("listening")
class TestServedModels:
    def test_are_for_managers_alone_even_later(self, cast, settings):
        settings.HONE_AI_ENDPOINTS = {"local": ("http://127.0.0.1:9/v1", "")}
        columns = [Chosen(endpoint="local"), Chosen(endpoint="local")]
        with pytest.raises(Refused, match="Only managers chat with models on a server"):
            chats.begin(project=cast.project, user=cast.researcher, columns=columns, is_blind=False)
        chat = served_chat(cast, "a", "b")
        Membership.objects.filter(user=cast.manager).update(role="researcher")
        with pytest.raises(Refused, match="Only managers"):
            chats.ask(chat, "How?")
        settings.HONE_AI_ENDPOINTS = {}
        Membership.objects.filter(user=cast.manager).update(role="manager")
        with pytest.raises(Refused, match="no AI server named local"):
            chats.ask(chat, "How?")
        assert not PlaygroundTurn.objects.exists()
        assert not TrainingRun.objects.exists()

    @pytest.mark.parametrize(("person", "is_offered"), [("manager", True), ("researcher", False)])
    def test_the_form_offers_them_beside_versions(self, cast, settings, person, is_offered):
        settings.HONE_AI_ENDPOINTS = {"local": ("http://127.0.0.1:9/v1", "")}
        (version,) = make_policies(cast.project, 1)
        client = Client()
        client.force_login(getattr(cast, person))
        address = reverse("rlhf:playground", args=[cast.project.slug])
        assert ("endpoint:local" in client.get(address).content.decode()) == is_offered
        form = {
            **{f"{name}_{place}": value for name, value in (("temperature", "1"), ("max_new_tokens", "8"))
               for place in range(4)},
            "version_0": str(version.pk), "version_1": "endpoint:local", "served_model_1": "mine",
        }  # fmt: skip
        reply = client.post(address, form)
        assert reply.status_code == (302 if is_offered else 400)
        assert [(column.version, column.label) for column in PlaygroundColumn.objects.all()] == (
            [(version, "Policy 1"), (None, "mine (local)")] if is_offered else []
        )

    def test_a_blind_chat_does_not_name_the_server_in_a_fault(self, cast, settings):
        settings.HONE_AI_ENDPOINTS = {"local": ("http://127.0.0.1:9/v1", "")}
        chat = served_chat(cast, "a", "b", is_blind=True)
        turn = chats.ask(chat, "How?")
        for reply in turn.replies.all():
            lease = runs.claim(run_id=reply.run_id, worker="w")
            values = {"endpoint": "local", "status": 404, "reason": "There is no gpt."}
            runs.fail(lease, StoredMessage("served_refused", values))
        page = TestPage().page(cast, chat, "manager")
        assert page.count("The server … refuses the request (status 404): …") == 2
        assert "gpt" not in page

    def test_every_fault_has_a_sentence_for_its_values(self):
        source = inspect.getsource(served_stream)
        sentences = {code: sentence for code, sentence in MESSAGES.items() if code.startswith("served_")}
        assert set(re.findall(r'"(served_\w+)"', source)) == set(sentences)
        assert all("%(endpoint)s" in sentence for sentence in sentences.values())


@pytest.mark.django_db(transaction=True)
@pytest.mark.any_database
def test_replies_stream_through_the_live_worker_and_stop_when_the_page_is_gone(
    celery_worker_process: StartWorker, cast: Cast, base: ModelVersion
) -> None:
    celery_worker_process("default", "live")
    wait_until(lambda: "live" in workers.listening(), what="the worker's heartbeat")
    columns = [
        Chosen(version=base, sampling={**SAMPLING, "max_new_tokens": tokens, **more})
        for tokens, more in ((4, {}), (100, {"batch_invariant": True}))
    ]
    columns[1].sampling["max_length"] = 512  # type: ignore[index]
    chat = chats.begin(project=cast.project, user=cast.manager, columns=columns, is_blind=False)
    turn = chats.ask(chat, "How do I boil an egg?")

    def statuses() -> list[str]:
        PlaygroundChat.objects.update(seen_at=timezone.now())
        return [reply.run.status for reply in turn.replies.select_related("run")]

    wait_until(lambda: all(status in TrainingRun.ENDED for status in statuses()), seconds=120, what="two replies")
    assert statuses() == ["succeeded", "succeeded"]
    assert all(reply.text for reply in turn.replies.all())
    # The page goes: what waits or runs ends without it.
    gone: Any = chats.ask(chat, "And then?")
    PlaygroundChat.objects.update(seen_at=timezone.now() - timedelta(minutes=1))
    wait_until(
        lambda: all(reply.run.status in TrainingRun.ENDED for reply in gone.replies.select_related("run")),
        seconds=60,
        what="the runs of a page that is gone to end",
    )
    assert {reply.run.status for reply in gone.replies.select_related("run")} == {"cancelled"}
