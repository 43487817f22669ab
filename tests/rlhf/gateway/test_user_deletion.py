"""What the gateway kept of a user of the model, deleted by a manager: on the page, by the API, at the command line."""

import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from annotate.data import user_conversations
from annotate.data.text_search import search_index
from annotate.data.text_search.search_words import terms
from annotate.labeling import queue
from annotate.models import (
    Assignment,
    AuditEvent,
    Demonstration,
    GatewayCompletion,
    Judgment,
    JudgmentRevision,
    Prompt,
    Response,
    Task,
)
from annotate.people.deletion import gateway_users
from tests.factories.cast import Cast
from tests.harness.api_client import ApiClient
from tests.rlhf.gateway.conftest import Program
from tests.rlhf.gateway.test_kept_conversations import assistant, user

ANN = "ann@example.org/7"
ROWS = (Prompt, Response, Task, Assignment, Judgment, JudgmentRevision, Demonstration, GatewayCompletion)


@pytest.fixture
def said(cast: Cast, program: Program) -> dict[str, str]:
    """Conversations: Ann's alone with feedback of every kind, her chat, what Ben asked too, one that was labeled."""
    keys = {}
    for name, messages, n in (
        ("own", [user("Who stole my zebra?")], 3),
        ("chat", [user("Hi, I am Ann."), assistant("Hello."), user("And now?")], 1),
        ("shared", [user("How?")], 1),
        ("labeled", [user("Why?")], 2),
    ):
        keys[name] = program.ask(messages, n=n, store=True, user=ANN, metadata={"page": "a"}).json()["id"]
    keys["bens"] = program.ask([user("How?")], store=True, user="ben").json()["id"]
    for feedback in (
        {"rating": "up", "comment": "As for my zebra."},
        {"chosen": 1},
        {"choice": 1, "edit": "Hens hum."},
    ):
        assert program.send("/v1/feedback", {"id": keys["own"], **feedback}).status_code == 200
    labeled = GatewayCompletion.objects.get(key=keys["labeled"])
    responses = list(Response.objects.filter(pk__in=labeled.responses))
    queue.add_comparison(project=cast.project, prompt=labeled.prompt, responses=responses)
    return keys


def counts() -> dict[str, int]:
    return {model.__name__: model.objects.count() for model in ROWS}


def test_a_users_conversations_go_with_all_that_only_they_have(cast: Cast, said: dict[str, str]) -> None:
    before = counts()
    there = gateway_users.preview(project=cast.project, user=ANN, by=cast.manager)
    assert (there.conversations, there.feedback, there.prompts, there.kept_prompts) == (4, 3, 2, 2)
    assert counts() == before
    search_index.index_due()
    assert search_index.prompts_with(terms("zebra"), most=9)
    done = gateway_users.delete(project=cast.project, user=ANN, by=cast.manager)
    assert (done.conversations, done.feedback, done.prompts, done.kept_prompts, done.left) == (4, 3, 2, 2, 0)
    assert [kept.key for kept in GatewayCompletion.objects.all()] == [said["bens"]]
    # Of the chat its opening went too; "How?" is Ben's as well, and people rank the responses to "Why?".
    assert [prompt.question for prompt in Prompt.objects.all()] == ["How?", "Why?"]
    assert set(Response.objects.values_list("prompt__messages__0__content", flat=True)) == {"How?", "Why?"}
    assert [(task.kind, task.prompt.question) for task in Task.objects.all()] == [("compare", "Why?")]
    for model in (Judgment, JudgmentRevision, Assignment, Demonstration):
        assert not model.objects.exists()
    search_index.index_due()
    assert search_index.prompts_with(terms("zebra"), most=9) == []
    (event,) = AuditEvent.objects.filter(verb="gateway.user_deleted")
    assert event.actor == cast.manager
    assert event.detail == {"conversations": 4, "feedback": 3, "prompts": 2, "kept_prompts": 2}
    gateway_users.delete(project=cast.project, user=ANN, by=None)
    assert AuditEvent.objects.filter(verb="gateway.user_deleted").count() == 1


def test_all_turns_of_a_chat_are_counted_among_the_prompts_that_went(cast: Cast, program: Program) -> None:
    turns = [user("Hi."), assistant("Hello."), user("Eggs?"), assistant("Boil them."), user("Thanks.")]
    for length in (1, 3, 5):
        program.ask(turns[:length], store=True, user=ANN)
    there = gateway_users.preview(project=cast.project, user=ANN, by=None)
    assert (there.prompts, there.kept_prompts) == (3, 0)
    first = gateway_users.delete(project=cast.project, user=ANN, by=None, most=1)
    second = gateway_users.delete(project=cast.project, user=ANN, by=None)
    assert (first.prompts + second.prompts, first.kept_prompts + second.kept_prompts) == (3, 0)
    assert not Prompt.objects.exists()
    # Of a chat that somebody else goes on with, the opening stays.
    program.ask(turns[:1], store=True, user=ANN)
    program.ask(turns[:3], store=True, user="ben")
    for act in (gateway_users.preview, gateway_users.delete):
        found = act(project=cast.project, user=ANN, by=None)
        assert (found.conversations, found.prompts, found.kept_prompts) == (1, 0, 1)


def test_an_edit_that_labelers_rank_keeps_no_other_edit(cast: Cast, said: dict[str, str], program: Program) -> None:
    edit = {"choice": 1, "edit": "Hens why."}
    assert program.send("/v1/feedback", {"id": said["labeled"], **edit}).status_code == 200
    ranked = Response.objects.get(text="Hens hum.")
    queue.add_comparison(project=cast.project, prompt=ranked.prompt, responses=list(ranked.prompt.responses.all()))
    gateway_users.delete(project=cast.project, user=ANN, by=cast.manager)
    assert Response.objects.filter(text="Hens hum.").exists()
    assert not Response.objects.filter(text="Hens why.").exists()


def test_it_goes_on_where_it_stopped_and_leaves_other_projects_alone(cast: Cast, said: dict[str, str]) -> None:
    elsewhere = gateway_users.delete(project=cast.other_project, user=ANN, by=None)
    assert (elsewhere.conversations, GatewayCompletion.objects.count()) == (0, 5)
    first = gateway_users.delete(project=cast.project, user=ANN, by=cast.manager, most=1)
    assert (first.conversations, first.left) == (1, 3)
    assert gateway_users.delete(project=cast.project, user=ANN, by=cast.manager).left == 0
    assert GatewayCompletion.objects.count() == 1


def test_a_broken_step_leaves_its_conversations_whole(
    cast: Cast, said: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = counts()
    monkeypatch.setattr(gateway_users, "_delete_prompt", lambda number: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        gateway_users.delete(project=cast.project, user=ANN, by=cast.manager)
    assert counts() == before


def test_the_page_shows_what_there_is_before_it_deletes(cast: Cast, said: dict[str, str], client: Client) -> None:
    client.force_login(cast.manager)
    address = reverse("rlhf:delete_gateway_user", args=[cast.project.slug])
    assert address in client.get(reverse("rlhf:gateway", args=[cast.project.slug])).content.decode()
    opened = client.get(address).content.decode()
    tab = reverse("rlhf:models", args=[cast.project.slug])
    assert re.search(rf'<a href="{tab}"[^>]*aria-current="page"', opened)
    assert "Nothing is kept of a user of this name." in client.post(address, {"user": "nobody"}).content.decode()
    shown = client.post(address, {"user": ANN})
    assert shown.context["found"].conversations == 4
    # What was shown of one user deletes nothing of another.
    client.post(address, {"user": ANN, "delete": "ben"})
    assert client.post(address, {"user": ""}).status_code == 400
    assert GatewayCompletion.objects.count() == 5
    page = client.post(address, {"user": ANN, "delete": ANN}, follow=True).content.decode()
    assert "4 conversations, 3 feedback and 2 prompts were deleted." in page
    assert GatewayCompletion.objects.count() == 1
    client.force_login(cast.researcher)
    assert client.post(address, {"user": "ben", "delete": "ben"}).status_code == 403


def test_programs_ask_for_it_by_the_api(cast: Cast, said: dict[str, str]) -> None:
    manager, path = ApiClient(cast.manager), "/projects/kindness/gateway/deletions"
    there = {"conversations": 4, "feedback": 3, "prompts": 2, "kept_prompts": 2, "left": 0}
    assert manager.call("post", path, {"user": ANN, "dry_run": True}) == (200, there)
    assert manager.call("post", path, {"user": ANN}) == (200, there)
    assert manager.call("post", path, {"user": ANN}) == (200, dict.fromkeys(there, 0))
    assert manager.call("post", path, {"user": ""})[0] == 422
    assert manager.call("post", path, {"user": "a", "all": True})[0] == 422
    assert GatewayCompletion.objects.count() == 1


def test_the_command_says_first_what_it_would_delete(cast: Cast, said: dict[str, str]) -> None:
    def run(*arguments: Any, **values: Any) -> str:
        call_command("delete_gateway_user", *arguments, **values, stdout=(out := StringIO()))
        return out.getvalue()

    said_first = run("kindness", ANN)
    assert "Would be deleted: 4 conversations, 3 feedback." in said_first
    assert "Nothing was deleted." in said_first
    with pytest.raises(CommandError, match="--confirm says 'ben'"):
        run("kindness", ANN, confirm="ben")
    with pytest.raises(CommandError, match="There is no project"):
        run("nothing", ANN)
    assert GatewayCompletion.objects.count() == 5
    assert "Deleted: 4 conversations, 3 feedback." in run("kindness", ANN, confirm=ANN)
    assert GatewayCompletion.objects.count() == 1


def test_a_program_keeps_again_after_that(cast: Cast, said: dict[str, str], program: Program) -> None:
    gateway_users.delete(project=cast.project, user=ANN, by=None)
    assert program.send("/v1/feedback", {"id": said["own"], "rating": "up"}).status_code == 404
    assert program.ask([user("Who stole my zebra?")], store=True, user=ANN).json()["hone"]["stored"]
    assert GatewayCompletion.objects.filter(end_user=user_conversations.end_user_named(cast.project, ANN)).count() == 1
