"""Adjudication and the exam by the API: what the pages do, by the pages' functions."""

import json
import uuid
from typing import Any

import pytest

from annotate.labeling import exam
from annotate.models import Author, ExamAttempt, Judgment, Task, TaskConsensus
from annotate.people.projects import edit_project
from annotate.quality import consensus
from tests.annotate.quality.test_consensus import judged
from tests.factories.cast import Cast, make_comparison, response_ids
from tests.harness.api_client import ApiClient

pytestmark = pytest.mark.django_db
REVIEW = "/projects/kindness/adjudications"
EXAM = "/projects/kindness/exam"


@pytest.fixture
def reviewer(cast: Cast) -> ApiClient:
    return ApiClient(cast.reviewer, "review", "write")


@pytest.fixture
def waiting(cast: Cast) -> list[Task]:
    """Two tasks whose labelers disagree, the second one more."""
    cast.project.overlap, cast.project.review_below = 2, 0.5
    cast.project.save()
    made = []
    for number, other in enumerate(("C > A > B", "C > B > A")):
        task = make_comparison(cast.project, f"Question {number}?", ("One.", "Two.", "Three."))
        judged(task, cast.labeler, "A > B > C")
        judged(task, cast.second_labeler, other)
        Task.objects.filter(pk=task.pk).update(slots_free=0)
        made.append(task)
    consensus.refresh_due()
    return made


def next_of(client: ApiClient) -> Any:
    status, reply = client.call("post", f"{REVIEW}/next")
    assert status == 200
    return reply["task"]


def ranked(task: dict[str, Any], **values: Any) -> dict[str, Any]:
    ranks = {each["key"]: rank for rank, each in enumerate(task["responses"], start=1)}
    return {"client_id": task["client_id"], "ranks": ranks, **values}


def test_a_decision_from_the_queue_to_the_list(cast: Cast, reviewer: ApiClient, waiting: list[Task]) -> None:
    status, listed = reviewer.call("get", f"{REVIEW}/waiting?limit=1")
    assert (status, [row["task"] for row in listed["items"]]) == (200, [waiting[1].pk])
    assert listed["items"][0]["prompt"] == [{"role": "user", "content": "Question 1?"}]
    status, rest = reviewer.call("get", f"{REVIEW}/waiting?limit=1&cursor={listed['next']}")
    assert ([row["task"] for row in rest["items"]], rest["next"]) == ([waiting[0].pk], None)
    task = next_of(reviewer)
    assert next_of(reviewer)["id"] == task["id"]
    path = f"{REVIEW}/{task['id']}"
    _status, said = reviewer.call("get", f"{path}/orders")
    assert said["agreement"] == TaskConsensus.objects.get(task=waiting[1]).agreement
    letters = {response["key"]: response["text"] for response in task["responses"]}
    assert [[letters[key] for tier in order["tiers"] for key in tier] for order in said["orders"]] == [
        ["One.", "Two.", "Three."],
        ["Three.", "Two.", "One."],
    ]
    draft = {"comment": "so far", "version": 1, "base": 0, "page": "mine"}
    assert reviewer.call("put", f"{path}/draft", draft)[1]["kept"]
    assert reviewer.call("get", path)[1]["draft"] == {"comment": ["so far"]}
    status, receipt = reviewer.call("post", f"{path}/submit", ranked(task, comment="clear", next=True))
    assert (status, receipt["repeated"], receipt["surplus"]) == (200, False, False)
    assert receipt["next"]["task"]["prompt"] == [{"role": "user", "content": "Question 0?"}]
    decision = Judgment.objects.get(Judgment.ADJUDICATED, task=waiting[1])
    assert decision.latest is not None
    assert decision.latest.comment == "clear"
    assert reviewer.call("post", f"{path}/submit", ranked(task))[1]["repeated"]
    _status, decided = reviewer.call("get", REVIEW)
    (row,) = decided["items"]
    assert (row["judgment"], row["adjudication"], row["counts"]) == (decision.pk, task["id"], True)
    assert row["order"] == "A > B > C"
    assert reviewer.call("post", f"{REVIEW}/judgments/{decision.pk}/set_aside") == (204, None)
    assert reviewer.call("get", REVIEW)[1]["items"][0]["counts"] is False


def test_undo_and_skip(reviewer: ApiClient, waiting: list[Task]) -> None:
    task = next_of(reviewer)
    path = f"{REVIEW}/{task['id']}"
    reviewer.call("post", f"{path}/skip", {"reason": "unsure"})
    for _ in range(2):  # sent again it says the same
        status, reply = reviewer.call("post", f"{path}/undo")
        assert (status, reply["id"]) == (200, task["id"])
    reviewer.call("post", f"{path}/submit", ranked(task, comment="hasty"))
    status, back = reviewer.call("post", f"{path}/undo")
    assert (status, back["id"], back["draft"]["comment"]) == (200, task["id"], ["hasty"])
    assert not Judgment.objects.filter(Judgment.ADJUDICATED).exists()
    assert next_of(reviewer)["id"] == task["id"]
    assert reviewer.call("post", f"{path}/skip", {"reason": "unsure"}) == (204, None)
    assert next_of(reviewer)["id"] != task["id"]
    assert reviewer.call("post", f"{path}/undo")[1]["id"] == task["id"]


def test_a_blind_project_hides_the_orders(cast: Cast, reviewer: ApiClient, waiting: list[Task]) -> None:
    edit_project(project=cast.project, by=cast.manager, adjudication_view="blind")
    task = next_of(reviewer)
    status, reply = reviewer.call("get", f"{REVIEW}/{task['id']}/orders")
    assert (status, "hides" in reply["detail"]) == (403, True)


def test_a_certain_task_and_who_may_not_have_it(cast: Cast, reviewer: ApiClient, waiting: list[Task]) -> None:
    take = f"{REVIEW}/tasks/{waiting[0].pk}/take"
    status, task = reviewer.call("post", take)
    assert (status, task["kind"]) == (200, "compare")
    status, reply = ApiClient(cast.manager, "review", "write").call("post", take)
    assert (status, "at this task now" in reply["detail"]) == (409, True)
    assert [row["reviewer"] for row in reviewer.call("get", f"{REVIEW}/waiting")[1]["items"]].count(None) == 1


@pytest.fixture
def items(cast: Cast) -> list[Task]:
    made = []
    for number in range(2):
        task = make_comparison(cast.project, f"Known {number}?")
        Task.objects.filter(pk=task.pk).update(gold_tiers=[[key] for key in response_ids(task)])
        task.refresh_from_db()
        made.append(exam.add_item(task=task, by=cast.manager))
    edit_project(project=cast.project, by=cast.manager, exam_threshold=0.75, exam_attempts=2)
    Author.objects.filter(name="a-model").update(name="SECRET-MODEL")
    return made


KNOWN = ["In water.", "Slowly.", "Ten minutes.", "Ask a hen."]


def answered(client: ApiClient, item: dict[str, Any], *, well: bool) -> Any:
    order = sorted(item["responses"], key=lambda each: KNOWN.index(each["text"]), reverse=not well)
    ranks = {each["key"]: rank for rank, each in enumerate(order, start=1)}
    return client.call("post", f"{EXAM}/items/{item['id']}/submit", {"ranks": ranks})


@pytest.mark.parametrize("well", [True, False])
def test_an_exam_from_start_to_result(cast: Cast, items: list[Task], well: bool) -> None:
    client = ApiClient(cast.labeler, "label", "write")
    _status, before = client.call("get", EXAM)
    assert (before["asked"], before["qualified"], before["count"], before["item"]) == (True, False, 2, None)
    _status, state = client.call("post", f"{EXAM}/start")
    first = state["item"]
    assert client.call("post", f"{EXAM}/start")[1]["item"]["id"] == first["id"]
    assert (first["number"], first["count"]) == (1, 2)
    assert "SECRET" not in json.dumps(state)
    key = first["responses"][0]["key"]
    assert client.call("put", f"{EXAM}/items/{first['id']}/draft", {"ranks": {key: 2}})[1]["kept"]
    assert client.call("get", EXAM)[1]["item"]["draft"] == {f"rank-{key}": ["2"]}
    status, state = answered(client, first, well=well)
    assert (status, state["item"]["number"], state["last"]) == (200, 2, None)
    assert answered(client, first, well=not well)[1]["item"]["number"] == 2  # it stays as it was
    _status, state = answered(client, state["item"], well=well)
    last = state["last"]
    assert (state["item"], state["qualified"], last["passed"]) == (None, well, well)
    assert (last["hits"], last["total"]) == ((12, 12) if well else (0, 12))
    for item in last["items"]:
        assert item["known"] == (item["given"] if well else None)
    assert ExamAttempt.objects.get().passed == well


def test_refusals_of_an_exam(cast: Cast, items: list[Task]) -> None:
    client = ApiClient(cast.labeler, "label", "write")
    item = client.call("post", f"{EXAM}/start")[1]["item"]
    path, key = f"{EXAM}/items/{item['id']}/submit", item["responses"][0]["key"]
    assert client.call("post", path, {"ranks": {key: 1}})[0] == 400
    assert client.call("post", path, {"ranks": {"4711": 1, key: 2}})[0] == 400
    assert client.call("post", path, {"client_id": str(uuid.uuid4())})[0] == 422
    other = ApiClient(cast.second_labeler, "label", "write")
    assert other.call("post", path, {"all_unacceptable": True})[0] == 403
    edit_project(project=cast.project, by=cast.manager, exam_threshold=None)
    assert other.call("post", f"{EXAM}/start")[0] == 404
