"""A labeler's tasks by the API: the page's own, by the page's names, and nothing that a page hides."""

import json
import uuid
from typing import Any

import pytest
from django.test import Client

from annotate.labeling.checks import gold
from annotate.labeling.model_self_identification import MASK
from annotate.models import Assignment, Author, Demonstration, Judgment, Prompt, Response, Task
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, keys_of, make_comparison, make_prompt, response_ids
from tests.harness.api_client import ApiClient

WORK = "/projects/kindness/work"


@pytest.fixture
def client(cast: Cast) -> ApiClient:
    return ApiClient(cast.labeler, "label", "write")


def next_task(client: ApiClient) -> dict[str, Any]:
    status, reply = client.call("post", f"{WORK}/next")
    assert (status, reply["reason"]) == (200, "")
    task: dict[str, Any] = reply["task"]
    return task


def ranked(task: dict[str, Any], **values: Any) -> dict[str, Any]:
    ranks = {response["key"]: rank for rank, response in enumerate(task["responses"], start=1)}
    return {"client_id": task["client_id"], "ranks": ranks, **values}


def test_a_comparison_from_claim_to_judgment(client: ApiClient, cast: Cast) -> None:
    comparison = make_comparison(cast.project)
    task = next_task(client)
    again = next_task(client)
    assert (task["id"], task["kind"]) == (again["id"], "compare")
    assert task["client_id"] != again["client_id"]
    assignment = Assignment.objects.get()
    assert [response["key"] for response in task["responses"]] == keys_of(assignment)
    assert {response["text"] for response in task["responses"]} == {
        "In water.",
        "Slowly.",
        "Ten minutes.",
        "Ask a hen.",
    }
    assert task["prompt"] == [{"role": "user", "content": "How do I boil an egg?"}]
    numbers = {str(number) for number in [*response_ids(comparison), comparison.pk + 10_000]}
    assert not numbers & set(json.dumps(task["responses"]).split('"'))
    first, second = task["responses"][:2]
    criterion = task["rubric"]["criteria"][0] if task["rubric"] and task["rubric"]["criteria"] else None
    body = ranked(task, comment="clear", seconds=12.5, notes={first["key"]: "good"}, next=True)
    if criterion:
        body |= {"ratings": {second["key"]: {criterion["name"]: criterion["max"]}}, "rubric": task["rubric"]["id"]}
    status, receipt = client.call("post", f"{WORK}/{task['id']}/submit", body)
    assert (status, receipt) == (
        200,
        {"repeated": False, "revised": False, "surplus": False, "next": {"task": None, "reason": ""}},
    )
    revision = Judgment.objects.get().latest
    assert revision.tiers == [[number] for number in assignment.presentation]
    assert (revision.comment, revision.seconds) == ("clear", 12.5)
    assert revision.notes == {str(assignment.presentation[0]): "good"}
    status, receipt = client.call("post", f"{WORK}/{task['id']}/submit", body | {"next": False})
    assert (receipt["repeated"], receipt["next"]) == (True, None)
    status, receipt = client.call(
        "post", f"{WORK}/{task['id']}/submit", body | {"client_id": str(uuid.uuid4()), "next": False}
    )
    assert receipt["revised"]
    assert Judgment.objects.get().latest.number == 2


def test_a_draft_is_the_pages_draft(client: ApiClient, cast: Cast) -> None:
    make_comparison(cast.project)
    task = next_task(client)
    key = task["responses"][0]["key"]
    draft = {"ranks": {key: 2}, "comment": "so far", "version": 1, "base": 0, "page": "mine"}
    path = f"{WORK}/{task['id']}"
    status, kept = client.call("put", f"{path}/draft", draft)
    assert (status, kept["kept"], kept["version"]) == (200, True, 1)
    _status, shown = client.call("get", path)
    assert shown["draft"] == {f"rank-{key}": ["2"], "comment": ["so far"]}
    browser = Client()
    browser.force_login(cast.labeler)
    assert browser.get(f"/p/kindness/work/{task['id']}/draft").json()["draft"] == shown["draft"]
    _status, other = client.call("put", f"{path}/draft", draft | {"page": "another", "comment": "no"})
    assert (other["kept"], other["conflict"], other["draft"]["comment"]) == (False, True, ["so far"])


@pytest.mark.both_databases
def test_a_draft_does_not_tell_in_which_order_responses_were_written(client: ApiClient, cast: Cast) -> None:
    """PostgreSQL sorts the fields of a stored draft, by the ids of responses."""
    make_comparison(cast.project, "Which?", tuple(f"Text {number}." for number in range(6)))
    task = next_task(client)
    path, ranks = f"{WORK}/{task['id']}", {each["key"]: 1 for each in task["responses"]}
    names = sorted(f"rank-{key}" for key in ranks)
    client.call("put", f"{path}/draft", {"ranks": ranks, "page": "mine", "version": 1})
    conflict = client.call("put", f"{path}/draft", {"page": "other", "version": 1, "base": 0})[1]
    assert (conflict["conflict"], list(conflict["draft"])) == (True, names)
    assert list(client.call("get", path)[1]["draft"]) == names
    client.call("post", f"{path}/submit", {"client_id": task["client_id"], "ranks": ranks})
    assert list(client.call("post", f"{path}/undo")[1]["draft"]) == names


def test_a_draft_hides_the_names_that_the_project_hides(client: ApiClient, cast: Cast) -> None:
    edit_project(project=cast.project, by=cast.manager, mask_model_names=True)
    make_comparison(cast.project, "Who?", ("I am ChatGPT, hello.", "Plain."))
    task = next_task(client)
    path, keys = f"{WORK}/{task['id']}", {each["text"]: each["key"] for each in task["responses"]}
    shown = f"I am {MASK}, hello."
    improved = {"response": keys[shown], "text": f"{shown} Better."}
    assert client.call("post", f"{path}/submit", ranked(task, improved=improved))[0] == 200
    back = client.call("post", f"{path}/undo")[1]
    assert back["draft"]["improved_text"] == [f"I am {MASK}, hello. Better."]
    assignment = Assignment.objects.get()
    assert assignment.draft is not None
    assert assignment.draft["improved_text"] == ["I am ChatGPT, hello. Better."]
    assert client.call("get", path)[1]["draft"] == back["draft"]
    late = {"version": 1, "base": 0, "page": "other"}
    assert client.call("put", f"{path}/draft", late)[1]["draft"] == back["draft"]
    page = Client()
    page.force_login(cast.labeler)
    url = f"/p/kindness/work/{task['id']}/draft"
    assert page.get(url).json()["draft"] == back["draft"]
    late = {"draft_version": "1", "draft_base": "0", "draft_page": "other"}
    assert page.post(url, late).json()["draft"] == back["draft"]
    again = client.call("post", f"{path}/submit", ranked(back, improved=improved))
    assert (again[0], Response.objects.filter(text="I am ChatGPT, hello. Better.").exists()) == (200, True)


def test_refusals_keep_the_task(client: ApiClient, cast: Cast) -> None:
    make_comparison(cast.project)
    task = next_task(client)
    path, keys = f"{WORK}/{task['id']}", [response["key"] for response in task["responses"]]
    number = Assignment.objects.get().presentation[0]
    for wrong, status in (
        ({"ranks": {keys[0]: 1}}, 400),
        ({"ranks": {str(number): 1, keys[1]: 2}}, 400),
        ({"ranks": {keys[0]: 10**30, keys[1]: 1}}, 400),
        ({"ratings": {keys[0]: {"no such": 1}}}, 400),
        ({"fields": {"rank-": "1"}}, 400),
        ({"seconds": -1.0}, 400),
        ({"rubric": 2**63 - 1}, 400),
        ({"rubric": 2**63}, 422),
        ({"client_id": "x"}, 422),
        ({"tiers": []}, 422),
    ):
        found, reply = client.call("post", f"{path}/submit", ranked(task) | wrong)
        assert found == status, f"{wrong}: {reply}"
    assert Assignment.objects.get().state == Assignment.State.CURRENT
    assert client.call("post", f"{path}/submit", ranked(task))[0] == 200


def test_a_demonstration_by_its_fields(client: ApiClient, cast: Cast) -> None:
    edit_project(project=cast.project, by=cast.manager, task_kinds=["demonstrate"])
    Task.objects.create(project=cast.project, kind="demonstrate", prompt=make_prompt(cast.project), slots_free=1)
    task = next_task(client)
    body = {"client_id": task["client_id"], "fields": {"text": "Boil it for ten minutes."}}
    assert client.call("post", f"{WORK}/{task['id']}/submit", body)[0] == 200
    assert Demonstration.objects.get().response.text == "Boil it for ten minutes."


def test_a_skip_gives_it_to_others(client: ApiClient, cast: Cast) -> None:
    comparison = make_comparison(cast.project)
    task = next_task(client)
    path = f"{WORK}/{task['id']}"
    assert client.call("post", f"{path}/skip", {"note": "n" * 401})[0] == 422
    assert client.call("post", f"{path}/skip", {"reason": "upsetting", "note": "dark"}) == (204, None)
    assert Assignment.objects.get().skip_reason == "upsetting: dark"
    assert Prompt.objects.get(pk=comparison.prompt_id).sensitive
    other = ApiClient(cast.second_labeler, "label", "write")
    assert next_task(other)["sensitive"] is True
    assert other.call("post", f"{path}/skip", {})[0] == 403
    # All that the schema lets in is kept.
    longest = {"reason": "r" * 98, "note": "n" * 400}
    assert other.call("post", f"{WORK}/{next_task(other)['id']}/skip", longest) == (204, None)
    assert Assignment.objects.get(labeler=cast.second_labeler).skip_reason == f"{'r' * 98}: {'n' * 400}"


def test_a_hidden_check_and_an_author_can_not_be_told(client: ApiClient, cast: Cast) -> None:
    """A gold task's reply has the fields of an ordinary one's, and the names of its models are nowhere."""
    ordinary = make_comparison(cast.project, "An ordinary one?")
    hidden = make_comparison(cast.project, "A hidden one?")
    author = Author.objects.get(name="a-model")
    author.name = "SECRET-MODEL"
    author.save()
    numbers = response_ids(hidden)
    gold.promote(task=hidden, tiers=[[number] for number in numbers], by=cast.manager)
    edit_project(project=cast.project, by=cast.manager, gold_rate=1.0)
    shown = []
    for _ in range(2):
        task = next_task(client)
        shown.append(task)
        assert client.call("post", f"{WORK}/{task['id']}/submit", ranked(task))[0] == 200
    assert {task["prompt"][0]["content"] for task in shown} == {"An ordinary one?", "A hidden one?"}
    assert shown[0].keys() == shown[1].keys()
    for task in shown:
        said = json.dumps(task)
        assert "gold" not in said
        assert "SECRET" not in said
        assert "state" not in said
    assert ordinary.pk != hidden.pk


def test_why_there_is_nothing(client: ApiClient, cast: Cast) -> None:
    assert client.call("post", f"{WORK}/next") == (200, {"task": None, "reason": ""})
    edit_project(project=cast.project, by=cast.manager, exam_threshold=0.5)
    exam = make_comparison(cast.project)
    Task.objects.filter(pk=exam.pk).update(state=Task.State.EXAM)
    _status, reply = client.call("post", f"{WORK}/next")
    assert reply["task"] is None
    assert "exam" in reply["reason"]
    assert Response.objects.count() == 4
