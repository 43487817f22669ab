"""Reviewers adjudicate on the board of labeling, with the labelers' orders beside it or without a trace of them."""

import re
import uuid
from typing import Any

import pytest
from django.test import Client

from annotate.models import Adjudication, Judgment, Task, TaskConsensus
from annotate.people.projects import edit_project
from annotate.quality import consensus
from tests.annotate.quality.test_adjudication import task_of
from tests.factories.cast import Cast, key_of, response_ids

QUEUE, BOARD = "/p/kindness/review/queue/", "/p/kindness/review/board/"
BY_SCRIPT = {"HX-Request": "true"}


@pytest.fixture
def made(cast: Cast) -> list[Task]:
    """Two tasks to adjudicate and one on which both labelers agree."""
    cast.project.overlap = 2
    cast.project.save()
    found = [
        task_of(cast, 0, "A > B > C", "C > B > A"),
        task_of(cast, 1, "A > B > C", "C > A > B"),
        task_of(cast, 2, "A > B > C", "A > B > C"),
    ]
    consensus.refresh_due()
    return found


@pytest.fixture
def reviewer(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.reviewer)
    return client


def show(cast: Cast, view: str) -> None:
    edit_project(project=cast.project, by=cast.manager, adjudication_view=view)


def at_hand() -> Adjudication:
    return Adjudication.objects.get(state="reviewing")


def fields(assignment: Adjudication, order: str = "B > A > C", **values: str) -> dict[str, str]:
    ids = dict(zip("ABC", response_ids(assignment.task), strict=True))
    ranks = {
        f"rank-{key_of(assignment, ids[letter])}": str(place + 1) for place, letter in enumerate(order.split(" > "))
    }
    return {"client_id": str(uuid.uuid4()), "seconds": "3", **ranks, **values}


def page(client: Client, path: str, **query: str) -> str:
    return client.get(path, query).content.decode()


def test_the_queue_is_the_least_certain_first_and_says_nothing_of_the_orders(
    cast: Cast, made: list[Task], reviewer: Client
) -> None:
    shown = page(reviewer, QUEUE)
    assert shown.index("Question 0?") < shown.index("Question 1?")
    assert "Question 2?" not in shown
    assert "2 tasks wait." in shown
    assert "33%" in shown
    assert not re.search("[ABC] &gt; [ABC]", shown)
    place = TaskConsensus.objects.get(task=made[0])
    rest = page(reviewer, QUEUE, after=f"{place.certainty!r}:{place.pk}")
    assert ("Question 0?" in rest, "Question 1?" in rest) == (False, True)


def test_a_blind_page_holds_nothing_of_the_labelers(cast: Cast, made: list[Task], reviewer: Client) -> None:
    for person, name in ((cast.labeler, "zora"), (cast.second_labeler, "yann")):
        person.username = name
        person.save()
    marks = re.compile("zora|yann|[ABC] &gt; [ABC]|100%|Agreement")
    for view in ("blind", "choice"):
        show(cast, view)
        shown = page(reviewer, BOARD)
        assert marks.findall(shown) == []
        assert ("Show the labelers" in shown) == (view == "choice")
    assert marks.search(page(reviewer, f"{BOARD}{at_hand().pk}/", orders="shown"))
    show(cast, "blind")
    assert reviewer.get(f"{BOARD}{at_hand().pk}/orders", headers=BY_SCRIPT).status_code == 403
    assert marks.findall(page(reviewer, f"{BOARD}{at_hand().pk}/", orders="shown")) == []


def test_the_orders_come_when_the_reviewer_asks_or_always(cast: Cast, made: list[Task], reviewer: Client) -> None:
    page(reviewer, BOARD)
    assignment = at_hand()
    letters = dict(zip(assignment.presentation, "ABC", strict=True))
    order = " > ".join(letters[key] for key in response_ids(made[0])).replace(">", "&gt;")
    orders = f"{BOARD}{assignment.pk}/orders"
    fragment = reviewer.get(orders, headers=BY_SCRIPT).content.decode()
    assert order in fragment
    assert "second_labeler" in fragment
    assert reviewer.get(orders)["Location"] == f"{BOARD}{assignment.pk}/?orders=shown"
    assert order in page(reviewer, f"{BOARD}{assignment.pk}/", orders="shown")
    assert order not in page(reviewer, BOARD)
    show(cast, "shown")
    assert order in page(reviewer, BOARD)


def test_a_submit_brings_the_receipt_and_the_next_task(cast: Cast, made: list[Task], reviewer: Client) -> None:
    page(reviewer, BOARD)
    first = at_hand()
    reply = reviewer.post(f"{BOARD}{first.pk}/submit", fields(first, comment="B is right"), headers=BY_SCRIPT)
    assert "Decided: this order counts from now on." in reply.content.decode()
    assert "Question 1?" in reply.content.decode()
    assert reply["X-Hone-Task"] == str(at_hand().pk)
    judgment = Judgment.objects.get(is_adjudication=True)
    assert judgment.latest is not None
    assert (judgment.task, judgment.latest.comment) == (made[0], "B is right")
    undone = reviewer.post(f"{BOARD}{first.pk}/undo", headers=BY_SCRIPT)
    assert "Taken back: it waits for your order again." in undone.content.decode()
    assert undone["X-Hone-Task"] == str(first.pk)
    first.refresh_from_db()
    assert first.draft["comment"] == ["B is right"]


def test_without_scripts_it_is_a_plain_form(cast: Cast, made: list[Task], reviewer: Client) -> None:
    page(reviewer, BOARD)
    first = at_hand()
    reply = reviewer.post(f"{BOARD}{first.pk}/submit", fields(first))
    assert reply["Location"] == f"{BOARD}?done={first.pk}"
    following = page(reviewer, reply["Location"])
    assert "Question 1?" in following
    assert f"{BOARD}{first.pk}/undo" in following
    second = at_hand()
    assert reviewer.post(f"{BOARD}{second.pk}/skip", {"skip_reason": "broken"}).status_code == 302
    assert "Nothing to adjudicate right now" in page(reviewer, BOARD)


def test_a_refused_order_keeps_what_was_entered(cast: Cast, made: list[Task], reviewer: Client) -> None:
    page(reviewer, BOARD)
    first = at_hand()
    Task.objects.filter(pk=made[0].pk).update(state="withdrawn")
    sent = fields(first, comment="a long thought")
    reply = reviewer.post(f"{BOARD}{first.pk}/submit", sent, headers=BY_SCRIPT)
    assert (reply.status_code, reply["HX-Retarget"]) == (409, "#refusal")
    assert reply.content.decode().startswith("This task was taken out of the queue meanwhile")
    again = reviewer.post(f"{BOARD}{first.pk}/submit", sent)
    assert again.status_code == 409
    assert "a long thought" in again.content.decode()


def test_a_draft_is_kept_and_comes_back(cast: Cast, made: list[Task], reviewer: Client) -> None:
    page(reviewer, BOARD)
    address = f"{BOARD}{at_hand().pk}/draft"
    kept = reviewer.post(address, {"comment": "half", "draft_version": "1", "draft_base": "0", "draft_page": "p"})
    assert kept.json()["kept"] is True
    assert reviewer.get(address).json()["draft"] == {"comment": ["half"]}
    assert "half" in page(reviewer, BOARD)


def test_who_judged_a_task_is_told_so_and_led_on(cast: Cast, made: list[Task], client: Client) -> None:
    cast.project.memberships.create(user=cast.labeler, role="reviewer")
    client.force_login(cast.labeler)
    assert "You judged it" in page(client, QUEUE)
    reply = client.post(f"{QUEUE}{made[0].pk}", follow=True)
    assert "You judged this task yourself, so another reviewer decides it. Take the next one." in reply.content.decode()


def test_an_adjudication_is_revised_listed_and_set_aside(cast: Cast, made: list[Task], reviewer: Client) -> None:
    page(reviewer, BOARD)
    first = at_hand()
    reviewer.post(f"{BOARD}{first.pk}/submit", fields(first))
    judgment = Judgment.objects.get(is_adjudication=True)
    assert f"/review/{judgment.pk}/" in page(reviewer, "/p/kindness/review/adjudicated/")
    assert f"/review/{judgment.pk}/" not in page(reviewer, "/p/kindness/review/")
    shown = page(reviewer, f"/p/kindness/review/{judgment.pk}/")
    assert "Adjudication by" in shown
    assert "Return to the labeler" not in shown
    assert "Save the revision" in page(reviewer, f"{BOARD}{first.pk}/")
    assert (
        "Saved as a revision"
        in reviewer.post(f"{BOARD}{first.pk}/submit", fields(first, "C > B > A"), headers=BY_SCRIPT).content.decode()
    )
    reviewer.post(f"/p/kindness/review/{judgment.pk}/set-aside")
    assert "does not count" in page(reviewer, "/p/kindness/review/adjudicated/")
    assert reviewer.post(f"/p/kindness/review/{judgment.pk}/", {"comment": "again"}).status_code == 400


def test_an_adjudicated_task_becomes_a_gold_task(cast: Cast, made: list[Task], reviewer: Client) -> None:
    page(reviewer, BOARD)
    first = at_hand()
    reviewer.post(f"{BOARD}{first.pk}/submit", fields(first, "B > A > C"))
    judgment = Judgment.objects.get(is_adjudication=True)
    address = f"/p/kindness/review/{judgment.pk}/"
    assert reviewer.post(f"{address}gold").status_code == 403
    assert "Use as gold task" not in page(reviewer, address)
    reviewer.force_login(cast.manager)
    assert "Use as gold task" in page(reviewer, address)
    assert "This is a gold task now" in reviewer.post(f"{address}gold", follow=True).content.decode()
    task = Task.objects.get(pk=made[0].pk)
    a, b, c = response_ids(task)
    assert (task.state, task.gold_tiers) == ("gold", [[b], [a], [c]])
    other = Judgment.objects.filter(task=made[1]).first()
    assert other is not None
    refused = reviewer.post(f"/p/kindness/review/{other.pk}/gold", follow=True).content.decode()
    assert "Only an order that a reviewer adjudicated makes a gold task." in refused


def test_an_adjudication_is_no_labeling_task(cast: Cast, made: list[Task], reviewer: Client) -> None:
    page(reviewer, BOARD)
    for action in ("submit", "draft", "skip", "undo", "report"):
        assert reviewer.post(f"/p/kindness/work/{at_hand().pk}/{action}", fields(at_hand())).status_code == 404
    assert "Question 0?" not in page(reviewer, "/p/kindness/mine/", show="unfinished")


@pytest.mark.parametrize("path", [QUEUE, f"{QUEUE}?after=nan:1", f"{QUEUE}?after=1e999:2", f"{QUEUE}?after=x"])
def test_odd_places_in_the_queue_have_a_page(cast: Cast, made: list[Task], reviewer: Client, path: str) -> None:
    assert reviewer.get(path).status_code == 200


def test_settings_take_the_bound_and_the_view(cast: Cast, client: Client) -> None:
    client.force_login(cast.manager)
    values: dict[str, Any] = {"name": "Kindness", "language": "en", "responses_per_task": 4, "overlap": 1}
    values |= {"lease_minutes": 30, "margin_input": "levels", "review_below": "0.25", "adjudication_view": "blind"}
    assert client.post("/p/kindness/settings/", values).status_code == 302
    cast.project.refresh_from_db()
    assert (cast.project.review_below, cast.project.adjudication_view) == (0.25, "blind")
    refused = client.post("/p/kindness/settings/", values | {"review_below": "1.5"})
    assert refused.status_code == 400
