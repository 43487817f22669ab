"""Conversations that users let a project keep: prompts, once each, without personal data, within a cap."""

from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError

from annotate.data import user_conversations
from annotate.data.use_case_guess import guess
from annotate.models import GatewayCompletion, GatewaySettings, Prompt, Response
from annotate.models.data.prompt import split_of
from rlhf.gateway.client_connection import ClientGone
from rlhf.loop import versions
from tests.factories.cast import Cast, make_prompt
from tests.harness.openai_server import OpenAIServer
from tests.rlhf.gateway.conftest import HELLO, Program, leave


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_a_conversation_becomes_a_prompt_with_its_responses(cast: Cast, program: Program) -> None:
    reply = program.ask(
        [user("Write a poem about hens, please, and make it rhyme.")],
        n=2,
        store=True,
        user="ann",
        temperature=0.5,
        metadata={"page": "home"},
    ).json()
    assert reply["hone"] == {"stored": True, "reason": ""}
    completion = GatewayCompletion.objects.get()
    prompt = Prompt.objects.get()
    assert (completion.key, completion.prompt, completion.project) == (reply["id"], prompt, cast.project)
    assert (completion.token, completion.asked_by) == (program.token, cast.researcher)
    assert (completion.metadata, completion.model) == ({"page": "home"}, "local/served")
    assert (prompt.source, prompt.use_case, prompt.language) == ("gateway", "generation", "en")
    assert (prompt.split, prompt.author, prompt.opening) == (split_of(prompt.content_hash), None, None)
    first, second = Response.objects.order_by("pk")
    assert completion.responses == [first.pk, second.pk]
    assert first.text == "You said: Write a poem about hens, please, and make it rhyme. (0)"
    assert (first.author.kind, first.author.name, first.finish_reason) == ("model", "local/served", "eos")
    assert first.sampling == {"temperature": 0.5, "gateway": reply["id"], "number": 0}
    # Nobody can read who it was.
    assert "ann" not in completion.end_user
    assert len(completion.end_user) == 64


def test_a_stream_is_kept_when_it_has_ended(program: Program) -> None:
    events = program.stream(store=True)
    assert events[-2:] == [': hone {"stored": true, "reason": ""}', "data: [DONE]"]
    assert Response.objects.get().text == "You said: Hello there (0)"


def test_nothing_is_kept_unasked_nor_where_the_project_keeps_nothing(program: Program) -> None:
    assert "hone" not in program.ask().json()
    GatewaySettings.objects.update(stores=False)
    assert program.ask(store=True).json()["hone"] == {
        "stored": False,
        "reason": "This project keeps no conversations.",
    }
    assert not Prompt.objects.exists()
    assert not Response.objects.exists()


def test_each_prompt_is_there_once(cast: Cast, program: Program) -> None:
    known = make_prompt(cast.project, "Hello there")
    program.ask(store=True)
    program.ask(store=True)
    assert [completion.prompt for completion in GatewayCompletion.objects.all()] == [known, known]
    assert Prompt.objects.count() == 1


def test_personal_data_do_not_come_in(program: Program) -> None:
    program.ask([user("Mail ann@example.org")], store=True, metadata={"by": "ann@example.org"})
    assert Prompt.objects.get().question == "Mail [EMAIL]"
    assert Response.objects.get().text == "You said: Mail [EMAIL] (0)"
    assert GatewayCompletion.objects.get().metadata == {"by": "[EMAIL]"}
    # What the model was asked is what the user wrote.


def test_no_more_of_one_user_than_the_cap(program: Program) -> None:
    GatewaySettings.objects.update(prompts_per_user=2)

    def kept(**values: Any) -> bool:
        return bool(program.ask(store=True, **values).json()["hone"]["stored"])

    assert [kept(user="ann") for _ in range(3)] == [True, True, False]
    assert [kept(user="ben"), kept(safety_identifier="ann")] == [True, False]
    # Without a user it is the token's.
    assert [kept() for _ in range(3)] == [True, True, False]
    assert kept(user=f"token {program.token.pk}")
    assert "2 conversations of this user" in program.ask(store=True).json()["hone"]["reason"]


def test_a_chat_is_on_the_side_of_its_first_turn(cast: Cast, program: Program) -> None:
    system = {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "kind."}]}
    program.ask([system, user("How?"), assistant("So."), user("Why?")], store=True)
    opening, chat = Prompt.objects.order_by("pk")
    assert opening.messages == [{"role": "system", "content": "Be kind."}, user("How?")]
    assert chat.messages == [*opening.messages, assistant("So."), user("Why?")]
    assert (chat.opening, chat.split, chat.use_case) == (opening, opening.split, "chat")
    # A later turn hangs on the same one.
    program.ask([system, user("How?"), assistant("So."), user("Why?"), assistant("Ah."), user("Who?")], store=True)
    assert Prompt.objects.order_by("pk").last().opening == opening


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "not plain text"),
        ([user("How?"), {"role": "assistant", "tool_calls": [{}]}, {"role": "tool", "content": "4"}], "not plain text"),
        ([user("How?"), assistant("So.")], "last turn"),
        ([user(" ")], "is empty"),
        ([user("x" * 400_001)], "too long"),
    ],
)
def test_what_is_no_prompt_is_answered_and_not_kept(
    program: Program, messages: Any, reason: str, upstream: Any
) -> None:
    upstream.scene = lambda handler, body: handler.send(
        200, {"choices": [{"index": 0, "message": {"content": "Yes."}, "finish_reason": "stop"}]}
    )
    reply = program.ask(messages, store=True)
    assert reply.status_code == 200
    assert not reply.json()["hone"]["stored"]
    assert reason in reply.json()["hone"]["reason"]
    assert not Prompt.objects.exists()


def test_responses_that_are_none_of_a_policy_are_not_kept(program: Program, upstream: OpenAIServer) -> None:
    calls = {"tool_calls": [{"id": "1"}]}
    messages: list[tuple[dict[str, Any], str | None]] = [
        ({"content": "Same."}, "stop"),
        ({"content": "Same. "}, "length"),
        ({"content": "Half"}, None),
        ({"content": None, **calls}, "tool_calls"),
        ({"content": "nul\0 and \ud800"}, "stop"),
    ]
    choices = [
        {"index": number, "message": message, "finish_reason": reason}
        for number, (message, reason) in enumerate(messages)
    ]
    upstream.scene = lambda handler, body: handler.send(200, {"choices": choices})
    assert program.ask(store=True, n=5).status_code == 200
    same, odd = Response.objects.order_by("pk")
    assert (same.text, odd.text) == ("Same.", "nul and ?")
    assert GatewayCompletion.objects.get().responses == [same.pk, same.pk, None, None, odd.pk]


def test_of_a_program_that_leaves_early_the_prompt_is_kept(program: Program, upstream: OpenAIServer) -> None:
    upstream.gate.clear()
    reply = program.ask(stream=True, store=True)
    leave(reply)
    assert GatewayCompletion.objects.get().responses == [None]
    assert not Response.objects.exists()


@pytest.mark.parametrize("stream", [False, True])
def test_of_a_program_that_leaves_before_the_first_word_the_prompt_is_kept(
    program: Program, upstream: OpenAIServer, stream: bool
) -> None:
    with mock.patch("rlhf.gateway.client_connection.ClientConnection.wait", side_effect=ClientGone):
        program.ask(stream=stream, store=True)
        program.ask(stream=stream)
    assert GatewayCompletion.objects.get().responses == [None]
    assert not Response.objects.exists()


def test_a_server_that_has_a_version_here_writes_as_that_version(cast: Cast, program: Program) -> None:
    version = versions.base(cast.project, name="some-base")
    assert version.author is not None
    GatewaySettings.objects.update(served_model=version.author.name)
    program.ask(store=True)
    assert Response.objects.get().author == version.author


def test_a_database_that_fails_costs_nobody_their_reply(program: Program) -> None:
    with mock.patch.object(user_conversations, "keep", side_effect=OperationalError("database is locked")):
        reply = program.ask(store=True).json()
        events = program.stream(store=True)
    assert reply["choices"][0]["message"]["content"] == "You said: Hello there (0)"
    assert reply["hone"] == {"stored": False, "reason": "The database is not available at the moment."}
    assert events[-1] == "data: [DONE]"


@pytest.mark.parametrize(
    ("text", "use_case"),
    [
        ("Summarize this: " + "word " * 300, "summarisation"),
        ("word " * 300 + "\n\ntl;dr", "summarisation"),
        ("Translate to French: the hen", "rewriting"),
        ("Classify these reviews", "classification"),
        ("Extract the dates from: 1 May", "extraction"),
        ("Give me 5 names for a hen", "brainstorming"),
        ("Write a story", "generation"),
        ("Who was Ada?", "open_qa"),
        ("word " * 300 + "Who was Ada?", "closed_qa"),
        ("总结这段话", "summarisation"),
        ("为什么天是蓝的", "open_qa"),
        ("hens", "other"),
    ],
)
def test_the_use_case_is_guessed(text: str, use_case: str) -> None:
    assert guess([user(text)]) == use_case
    assert guess([*HELLO, assistant("Hi."), user(text)]) == "chat"
