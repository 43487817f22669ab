"""A chat by the API, turn by turn, with live responses and without; and undo."""

from typing import Any

import pytest

from annotate.labeling.chats import live_responses
from annotate.labeling.model_self_identification import MASK
from annotate.models import Assignment, Author, Demonstration, Judgment, Response, ResponseRequest, Task
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, make_comparison, make_prompt, make_responses
from tests.harness.api_client import ApiClient

pytestmark = pytest.mark.django_db
WORK = "/projects/kindness/work"


@pytest.fixture
def client(cast: Cast) -> ApiClient:
    return ApiClient(cast.labeler, "label", "write")


@pytest.fixture
def chat(client: ApiClient, cast: Cast) -> dict[str, Any]:
    edit_project(project=cast.project, by=cast.manager, task_kinds=["chat"], mask_model_names=True)
    Task.objects.create(project=cast.project, kind=Task.Kind.CHAT, prompt=make_prompt(cast.project), slots_free=1)
    task: dict[str, Any] = client.call("post", f"{WORK}/next")[1]["task"]
    return task


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there, and responds when `respond` is called."""
    there = live_responses.ResponseStatus(is_available=True, message="In a moment.", waited_seconds=2)
    monkeypatch.setattr(live_responses, "_status_sources", [lambda _project, _request: there])


def respond(*texts: str) -> None:
    request = ResponseRequest.objects.get(state=ResponseRequest.State.OPEN)
    request.responses.set(make_responses(request.prompt, *texts))
    ResponseRequest.objects.filter(pk=request.pk).update(state=ResponseRequest.State.FULFILLED)


def act(client: ApiClient, task: dict[str, Any], action: str, after: int, **values: Any) -> Any:
    status, reply = client.call("post", f"{WORK}/{task['id']}/chat", {"action": action, "after": after, **values})
    assert status == 200, reply
    return reply


def test_a_chat_with_live_responses(client: ApiClient, model: None, chat: dict[str, Any]) -> None:
    assert (chat["kind"], chat["chat"]["after"], chat["chat"]["available"]) == ("chat", 0, True)
    path = f"{WORK}/{chat['id']}"
    client.call("put", f"{path}/draft", {"comment": "odd", "fields": {"text": "half a"}})
    asked = act(client, chat, "ask", 0)
    assert (asked["waiting"], asked["candidates"], asked["message"], asked["waited_seconds"]) == (
        *(True, []),
        *("In a moment.", 2),
    )
    respond("As ChatGPT, I boil.", "Eight minutes.")
    offered = client.call("get", f"{path}/chat")[1]
    assert offered["waiting"] is False
    by_text = {each["text"]: each for each in offered["candidates"]}
    assert len(by_text) == 2
    assert not any("ChatGPT" in text for text in by_text)
    assert client.call("get", path)[1]["responses"] == offered["candidates"]
    key = by_text["Eight minutes."]["key"]
    for _ in range(2):  # sent again it counts once
        after = act(client, chat, "choose", 0, response=key)
    assert (after["after"], after["awaits_response"], after["turns"][0]["chosen"]) == (1, False, True)
    assert client.call("get", path)[1]["draft"] == {"comment": ["odd"]}
    said = act(client, chat, "say", 1, text="And soft?")
    assert (said["after"], said["waiting"]) == (2, True)  # the model was asked with it
    respond("Five.", "Six.")
    first = client.call("get", f"{path}/chat")[1]
    others = act(client, chat, "ask", 2, instead_of=first["request"])
    assert (others["request"] != first["request"], others["waiting"]) == (True, True)
    respond("Five!", "Six!")
    key = client.call("get", f"{path}/chat")[1]["candidates"][0]["key"]
    written = act(client, chat, "write", 2, text="Five minutes.", response=key)
    assert [turn["text"] for turn in written["turns"]] == ["Eight minutes.", "And soft?", "Five minutes."]
    status, receipt = client.call("post", f"{path}/submit", {"client_id": chat["client_id"], "comment": "odd"})
    assert (status, receipt["revised"]) == (200, False)
    assert Demonstration.objects.filter(withdrawn_at=None).count() == 2
    assert Response.objects.get(text="Five minutes.").edited_from is not None


def test_a_turn_sent_again(client: ApiClient, model: None, chat: dict[str, Any]) -> None:
    path = f"{WORK}/{chat['id']}"
    act(client, chat, "ask", 0)
    respond("I am ChatGPT, hello.", "Plain.")
    keys = {each["text"]: each["key"] for each in client.call("get", f"{path}/chat")[1]["candidates"]}
    written = {"text": f"I am {MASK}, hello. Yes.", "response": keys[f"I am {MASK}, hello."]}
    client.call("put", f"{path}/draft", {"comment": "early"})
    first = act(client, chat, "write", 0, **written)
    assert [turn["text"] for turn in first["turns"]] == [f"I am {MASK}, hello. Yes."]
    client.call("put", f"{path}/draft", {"comment": "late", "fields": {"text": "half"}})
    assert act(client, chat, "write", 0, **written)["turns"] == first["turns"]
    assert client.call("get", path)[1]["draft"] == {"comment": ["late"], "text": ["half"]}
    # Whichever hidden name one guesses, the answer is the same.
    for name in ("ChatGPT", "Claude"):
        assert act(client, chat, "write", 0, text=f"I am {name}, hello. Yes.")["after"] == 1
    other = {"action": "write", "after": 0, "text": "I am ChatGPT, hello. No."}
    assert client.call("post", f"{path}/chat", other)[0] == 409


def test_without_a_model_one_writes(client: ApiClient, chat: dict[str, Any]) -> None:
    assert chat["chat"]["available"] is False
    act(client, chat, "write", 0, text="Eight minutes.")
    assert act(client, chat, "say", 1, text="And soft?")["waiting"] is False
    assert act(client, chat, "take_back", 2)["after"] == 1
    assert act(client, chat, "take_back", 2)["after"] == 1


def test_refusals_of_a_chat(client: ApiClient, cast: Cast, chat: dict[str, Any]) -> None:
    path = f"{WORK}/{chat['id']}/chat"
    for body, status in (
        ({"action": "choose", "after": 0}, 400),
        ({"action": "choose", "after": 0, "response": "4711"}, 400),
        ({"action": "say", "after": 0, "text": "Hello?"}, 409),
        ({"action": "write", "after": 0, "text": "  "}, 400),
        ({"action": "write", "after": 5, "text": "Late."}, 409),
        ({"action": "dance", "after": 0}, 422),
        ({"action": "ask", "after": -1}, 422),
        ({"action": "ask"}, 422),
    ):
        assert client.call("post", path, body)[0] == status, body
    assert Assignment.objects.get().chat_turns.count() == 0
    edit_project(project=cast.project, by=cast.manager, task_kinds=["compare", "chat"])
    comparison = make_comparison(cast.project, "Which?")
    other = ApiClient(cast.second_labeler, "label", "write")
    Task.objects.exclude(pk=comparison.pk).update(state=Task.State.WITHDRAWN)
    task = other.call("post", f"{WORK}/next")[1]["task"]
    for method in ("get", "post"):
        body = {"action": "ask", "after": 0} if method == "post" else None
        status, reply = other.call(method, f"{WORK}/{task['id']}/chat", body)
        assert (status, reply["detail"]) == (400, "This task isn't a chat.")


def test_undo_gives_the_task_back_as_it_was(client: ApiClient, cast: Cast) -> None:
    make_comparison(cast.project)
    Author.objects.filter(name="a-model").update(name="SECRET-MODEL")
    task = client.call("post", f"{WORK}/next")[1]["task"]
    path = f"{WORK}/{task['id']}"
    client.call("post", f"{path}/skip", {"reason": "broken"})
    for _ in range(2):  # sent again it says the same
        status, reply = client.call("post", f"{path}/undo")
        assert (status, reply["id"]) == (200, task["id"])
    ranks = {each["key"]: rank for rank, each in enumerate(task["responses"], start=1)}
    client.call("post", f"{path}/submit", {"client_id": task["client_id"], "ranks": ranks, "comment": "hasty"})
    status, back = client.call("post", f"{path}/undo")
    assert (status, back["draft"]["comment"]) == (200, ["hasty"])
    assert {f"rank-{key}": [str(rank)] for key, rank in ranks.items()}.items() <= back["draft"].items()
    assert Judgment.objects.filter(latest__isnull=False).count() == 0
    anew = {"client_id": task["client_id"], "ranks": ranks, "comment": "better"}
    status, reply = client.call("post", f"{path}/submit", anew)
    said = "You took back what you send here again. Reload the task and submit it anew."
    assert (status, reply["detail"]) == (409, said)
    assert client.call("post", f"{path}/submit", anew | {"client_id": back["client_id"]})[0] == 200
    assert client.call("post", f"{path}/submit", anew)[1]["repeated"]  # another one counts by now
    client.call("post", f"{path}/undo")
    assert client.call("post", f"{WORK}/next")[1]["task"]["id"] == task["id"]
    client.call("post", f"{path}/skip", {"reason": "broken"})
    assert client.call("post", f"{path}/undo")[1]["id"] == task["id"]
    assert Assignment.objects.get().state == Assignment.State.CURRENT
