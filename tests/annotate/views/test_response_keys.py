"""Nothing on a labeler's page orders or names authors: responses go by keys that only this server can compute."""

import re
import uuid
from collections.abc import Iterator
from itertools import count

import pytest
from django.test import Client

from annotate.forms.response_keys import ResponseKeys
from annotate.labeling import exam, queue
from annotate.labeling.chats import live_responses
from annotate.labeling.chats.live_responses import ResponseStatus
from annotate.models import Assignment, Author, ExamAnswer, JudgmentRevision, Prompt, Response, ResponseRequest, Task
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, key_of, keys_of, make_prompt
from tests.harness.markup import markup

HTMX = {"HX-Request": "true", "HX-Target": "work"}
TASKS = 48


@pytest.fixture
def labeler(cast: Cast, client: Client) -> Client:
    client.force_login(cast.labeler)
    return client


@pytest.fixture
def numbers() -> Iterator[int]:
    """Ids of so many digits that none stands on a page by accident."""
    return count(7_310_000_001, 7)


def respond(prompt: Prompt, number: int, model: str) -> Response:
    author, _ = Author.objects.get_or_create(kind=Author.Kind.MODEL, name=model)
    return Response.objects.create(pk=number, prompt=prompt, text=f"A response, {uuid.uuid4()}.", author=author)


def make_queue(cast: Cast, numbers: Iterator[int], tasks: int, models: tuple[str, ...]) -> None:
    """Sampled as models are: one after the other, each for every prompt."""
    prompts = [make_prompt(cast.project, f"Question {uuid.uuid4()}?") for _ in range(tasks)]
    responses = [[respond(prompt, next(numbers), model) for prompt in prompts] for model in models]
    for prompt, *given in zip(prompts, *responses, strict=True):
        queue.add_comparison(project=cast.project, prompt=prompt, responses=given)


def holds_no_id(page: str) -> bool:
    return "7310000" not in page


def held(cast: Cast) -> Assignment:
    return Assignment.objects.get(labeler=cast.labeler, state=Assignment.State.CURRENT)


def ranks(assignment: Assignment, order: list[int]) -> dict[str, str]:
    return {f"rank-{key_of(assignment, number)}": str(rank) for rank, number in enumerate(order, start=1)} | {
        "client_id": str(uuid.uuid4())
    }


def test_sorted_keys_tell_nothing_of_the_models(cast: Cast, labeler: Client, numbers: Iterator[int]) -> None:
    make_queue(cast, numbers, TASKS, ("older", "newer"))
    same = 0
    for _ in range(TASKS):
        page = labeler.get("/p/kindness/work/").content.decode()
        assert holds_no_id(page)
        keys = re.findall(r'class="response" data-id="(\w+)"', markup(page))
        assignment = held(cast)
        assert keys == keys_of(assignment)
        assert len(set(keys)) == 2
        by_key = {key_of(assignment, number): number for number in assignment.presentation}
        same += sorted(by_key) == sorted(by_key, key=by_key.__getitem__)
        labeler.post(f"/p/kindness/work/{assignment.pk}/submit", ranks(assignment, assignment.presentation))
    # A fair coin falls outside these bounds less than once in a hundred thousand times.
    assert 9 <= same <= TASKS - 9


def test_what_is_tied_is_told_in_the_order_of_the_keys() -> None:
    keys = ResponseKeys("one", range(1, 7))
    assert keys.tiers([[3], [1, 2, 4, 5, 6]]) == [[keys.key(3)], sorted(map(keys.key, (1, 2, 4, 5, 6)))]
    assert keys.tiers(None) == []
    stored = {f"rank-{number}": ["1"] for number in range(1, 7)}
    assert list(keys.to_keys(stored)) == sorted(f"rank-{keys.key(number)}" for number in range(1, 7))


def test_the_same_response_goes_by_another_key_in_every_assignment() -> None:
    one, other = (ResponseKeys(f"assignment-{number}-5", [1, 2, 3]) for number in (1, 2))
    keys = [names.key(number) for names in (one, other) for number in (1, 2, 3)]
    assert len(set(keys)) == 6
    assert all(re.fullmatch(r"[0-9a-f]{20}", key) for key in keys)


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_no_page_of_a_comparison_holds_an_id(
    cast: Cast, labeler: Client, numbers: Iterator[int], headers: dict[str, str]
) -> None:
    criteria = [{"name": "warmth", "label": "Warmth", "min": 1, "max": 3}]
    edit_project(
        project=cast.project,
        by=cast.manager,
        criteria=criteria,
        flags=[{"name": "rude", "label": "Rude"}],
        margin_input="slider",
    )
    make_queue(cast, numbers, 3, ("older", "newer"))
    labeler.get("/p/kindness/work/")
    assignment = held(cast)
    a, b = assignment.presentation
    of_a = key_of(assignment, a)
    stem = f"/p/kindness/work/{assignment.pk}/"
    fields = ranks(assignment, [b, a]) | {f"rating-{of_a}-warmth": "2", f"flag-{of_a}": "rude", f"note-{of_a}": "odd"}
    fields |= {"improved_from": of_a, "improved_text": "Better.", "preference": f"{of_a}:2"}
    said = [
        labeler.post(f"{stem}draft", fields, headers=headers),
        labeler.get(f"{stem}draft", headers=headers),
        labeler.post(f"{stem}draft", {"draft_page": "other", "draft_base": "9", "draft_version": "10"}),
        labeler.get(stem, headers=headers),
        labeler.get("/p/kindness/work/", headers=headers),
        labeler.get("/p/kindness/work/ahead", headers=HTMX),
        labeler.post(f"{stem}submit", {"client_id": "x", **fields, f"rank-{of_a}": "x"}, headers=headers),
        labeler.post(f"{stem}report", {"report_reason": "broken"}, headers=headers),
        labeler.post(f"{stem}submit", fields, headers=headers),
        labeler.get(stem, headers=headers),
        labeler.get("/p/kindness/mine/", headers=headers),
        labeler.post(f"{stem}undo", headers=HTMX),
        labeler.get("/p/kindness/work/", headers=headers),
    ]
    for reply in said:
        assert reply.status_code < 500
        assert holds_no_id(reply.content.decode())
    again = said[-1].content.decode()
    assert re.search(rf'name="preference" value="{of_a}:2"[^>]* checked', again)
    assert f'<option value="{of_a}" selected>' in again
    assert re.search(rf'name="rating-{of_a}-warmth" value="2"[^>]* checked', again)
    assert re.search(rf'name="flag-{of_a}" value="rude"[^>]* checked', again)
    assert f'name="note-{of_a}"' in again
    revision = JudgmentRevision.objects.filter(withdrawn=False).latest("pk")
    assert (revision.tiers, revision.ratings, revision.notes) == ([[a], [b]], {str(a): {"warmth": 2}}, {str(a): "odd"})
    assert revision.content["improved"]["response"] == a


def test_a_draft_that_was_stored_by_ids_comes_back_by_keys(cast: Cast, labeler: Client, numbers: Iterator[int]) -> None:
    make_queue(cast, numbers, 1, ("older", "newer"))
    labeler.get("/p/kindness/work/")
    assignment = held(cast)
    first = assignment.presentation[0]
    draft = {f"rank-{first}": ["2"], "improved_from": [str(first)], "rank-5": ["1"], "comment": ["c"]}
    Assignment.objects.filter(pk=assignment.pk).update(draft=draft)
    key = key_of(assignment, first)
    page = labeler.get("/p/kindness/work/").content.decode()
    assert f'name="rank-{key}" value="2" checked' in page
    kept = labeler.get(f"/p/kindness/work/{assignment.pk}/draft").json()["draft"]
    assert kept == {f"rank-{key}": ["2"], "improved_from": [key], "comment": ["c"]}


def test_ids_from_outside_are_neither_taken_nor_confirmed(cast: Cast, labeler: Client, numbers: Iterator[int]) -> None:
    make_queue(cast, numbers, 1, ("older", "newer"))
    labeler.get("/p/kindness/work/")
    assignment = held(cast)
    stem = f"/p/kindness/work/{assignment.pk}/"
    own, stranger = assignment.presentation[0], 12
    replies = []
    for number in (own, stranger):
        fields = {f"rank-{number}": "1", "improved_from": str(number), "preference": f"{number}:1"}
        drafted = labeler.post(f"{stem}draft", fields | {"draft_version": "1"})
        refused = labeler.post(f"{stem}submit", fields | {"client_id": str(uuid.uuid4())}, headers=HTMX)
        kept = labeler.get(f"{stem}draft").json()["draft"]
        replies.append((drafted.status_code, refused.status_code, refused.content, kept))
        Assignment.objects.filter(pk=assignment.pk).update(draft_version=0)
    assert replies[0] == replies[1]
    assert replies[0][1] == 400
    assert replies[0][3] == {}


def test_no_page_of_a_chat_holds_an_id(
    cast: Cast, labeler: Client, numbers: Iterator[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_responses, "_status_sources", [lambda *_: ResponseStatus(is_available=True, message="")])
    edit_project(project=cast.project, by=cast.manager, task_kinds=["chat"])
    Task.objects.create(project=cast.project, kind=Task.Kind.CHAT, prompt=make_prompt(cast.project))
    labeler.get("/p/kindness/work/")
    assignment = held(cast)
    stem = f"/p/kindness/work/{assignment.pk}/"
    labeler.post(f"{stem}chat", {"act": "ask", "after": "0"})
    request = ResponseRequest.objects.get()
    candidates = [respond(request.prompt, next(numbers), model) for model in ("older", "newer")]
    request.responses.set(candidates)
    ResponseRequest.objects.update(state=ResponseRequest.State.FULFILLED)
    key = key_of(assignment, candidates[0].pk)
    said = [
        labeler.get("/p/kindness/work/"),
        labeler.get(f"{stem}candidates", headers=HTMX),
        labeler.post(f"{stem}chat", {"edit": key, "after": "0"}, headers=HTMX),
        labeler.post(f"{stem}draft", {"edited_from": key, "text": "t", "draft_version": "1"}),
        labeler.get(f"{stem}draft"),
        *(labeler.post(f"{stem}chat", {"pick": key, "after": "0"}, headers=HTMX) for _double_click in range(2)),
        labeler.get(stem),
    ]
    for reply in said:
        assert reply.status_code == 200
        assert holds_no_id(reply.content.decode())
    assert f'name="edited_from" value="{key}"' in said[2].content.decode()
    assert said[4].json()["draft"]["edited_from"] == [key]
    assert assignment.chat_turns.get().response_id == candidates[0].pk


def test_no_page_of_an_exam_holds_an_id(cast: Cast, labeler: Client, numbers: Iterator[int]) -> None:
    make_queue(cast, numbers, 2, ("older", "newer"))
    for task in Task.objects.all():
        gold = [[key] for key in task.task_responses.values_list("response_id", flat=True)]
        Task.objects.filter(pk=task.pk).update(gold_tiers=gold)
        exam.add_item(task=Task.objects.get(pk=task.pk), by=cast.manager)
    edit_project(project=cast.project, by=cast.manager, exam_threshold=0.5)
    labeler.post("/p/kindness/exam/start")
    for headers in ({}, HTMX):
        item = ExamAnswer.objects.filter(answered_at=None).earliest("number")
        stem = f"/p/kindness/exam/{item.pk}/"
        fields = {f"rank-{key}": str(rank) for rank, key in enumerate(keys_of(item), start=1)}
        said = [
            labeler.get("/p/kindness/exam/", headers=headers),
            labeler.post(f"{stem}draft", fields | {"draft_version": "1"}),
            labeler.get(f"{stem}draft"),
            labeler.post(f"{stem}submit", fields | {"client_id": "x"}, headers=headers),
            labeler.post(f"{stem}submit", fields | {"client_id": str(uuid.uuid4())}, headers=headers),
        ]
        assert all(holds_no_id(reply.content.decode()) for reply in said)
        assert said[2].json()["draft"] == {name: [value] for name, value in fields.items()}
        item.refresh_from_db()
        assert item.tiers == [[number] for number in item.presentation]
    assert holds_no_id(labeler.get("/p/kindness/exam/").content.decode())
