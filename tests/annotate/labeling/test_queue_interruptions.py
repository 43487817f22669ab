"""What comes between a lease and its end: a role taken away, a pause, a clock that jumps back. Nothing is lost."""

from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from annotate.labeling import queue
from annotate.models import Assignment, Judgment, Membership, Project, Task
from annotate.people import members
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, judge, keys_of, make_comparison

State = Assignment.State
HTMX = {"HX-Request": "true"}


def fields(held: Assignment) -> dict[str, str]:
    ranks = {f"rank-{key}": str(rank) for rank, key in enumerate(keys_of(held), start=1)}
    return ranks | {"client_id": str(uuid4()), "seconds": "3", "comment": "begun"}


def held_by(cast: Cast, client: Client) -> Assignment:
    client.force_login(cast.labeler)
    client.get("/p/kindness/work/")
    return Assignment.objects.get(labeler=cast.labeler, state=State.CURRENT)


@pytest.mark.parametrize(
    ("left_as", "status", "sentence"),
    [
        (None, 404, "There is no such project, or you aren't a member of it."),
        (
            "researcher",
            403,
            "You don't label in this project. Ask a manager of the project to make you a labeler.",
        ),
    ],
)
def test_who_is_removed_in_mid_lease_reads_why_and_finds_their_draft_when_they_are_back(
    cast: Cast, client: Client, left_as: str | None, status: int, sentence: str
) -> None:
    make_comparison(cast.project)
    held = held_by(cast, client)
    address = f"/p/kindness/work/{held.pk}"
    assert client.post(f"{address}/draft", fields(held) | {"draft_version": "1"}, headers=HTMX).status_code == 200
    if left_as:
        Membership.objects.create(user=cast.labeler, project=cast.project, role=left_as)
    members.remove_role(user=cast.labeler, project=cast.project, role="labeler", by=cast.manager)
    for action in ("submit", "draft", "skip"):
        reply = client.post(f"{address}/{action}", fields(held), headers=HTMX)
        assert (reply.status_code, reply["Content-Type"]) == (status, "text/plain; charset=utf-8")
        assert reply.content.decode() == sentence
    assert (Judgment.objects.count(), Task.objects.get().slots_free) == (0, 1)
    Membership.objects.create(user=cast.labeler, project=cast.project, role="labeler")
    again = held_by(cast, client)
    assert (again.pk, again.draft) == (held.pk, held.draft or Assignment.objects.get(pk=held.pk).draft)
    assert again.draft is not None
    assert again.draft["comment"] == ["begun"]


def test_a_claim_that_began_before_the_role_was_taken_away_gives_nothing(cast: Cast) -> None:
    make_comparison(cast.project)
    members.remove_role(user=cast.labeler, project=cast.project, role="labeler", by=cast.manager)
    assert queue.claim_next(labeler=cast.labeler, project=cast.project) is None
    assert queue.claim_next(labeler=cast.admin, project=cast.project) is not None


def test_who_is_paused_in_mid_lease_submits_and_reads_why_nothing_comes(cast: Cast, client: Client) -> None:
    for number in range(2):
        make_comparison(cast.project, f"Question {number}")
    held = held_by(cast, client)
    Assignment.objects.filter(state=State.AHEAD).delete()
    own = Membership.objects.get(user=cast.labeler)
    members.pause(membership=own, by=cast.manager, reason="Please read the guidelines again.")
    reply = client.post(f"/p/kindness/work/{held.pk}/submit", fields(held), headers=HTMX)
    assert reply.status_code == 200
    assert "You are paused in this project: Please read the guidelines again." in reply.content.decode()
    assert Judgment.objects.get().latest is not None


def test_a_clock_that_jumps_back_an_hour_takes_nothing_away(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_project(project=cast.project, by=cast.manager, daily_limit=3)
    project = Project.objects.get(pk=cast.project.pk)
    for number in range(4):
        make_comparison(project, f"Question {number}", ("Yes.", "No."))
    after_midnight = datetime(2026, 11, 29, 0, 30, tzinfo=timezone.get_default_timezone())
    clock = [after_midnight]
    monkeypatch.setattr(timezone, "now", lambda: clock[0])
    first = queue.claim_next(labeler=cast.labeler, project=project)
    assert first is not None
    queue.save_draft(assignment_id=first.pk, labeler=cast.labeler, draft={"comment": ["begun"]})
    clock[0] -= timedelta(hours=1)
    assert queue.release_expired() == 0
    again = queue.claim_next(labeler=cast.labeler, project=project)
    assert again is not None
    assert (again.pk, again.draft) == (first.pk, {"comment": ["begun"]})
    assert again.lease_until == clock[0] + timedelta(minutes=30)
    judge(again, [[key] for key in again.presentation])
    queue.withdraw(assignment_id=first.pk, labeler=cast.labeler, draft={})
    judge(again, [again.presentation])
    # The day before midnight and the one after it each have three: what was given at 0:30 counts for both.
    for _ in range(2):
        following = queue.claim_next(labeler=cast.labeler, project=project, ahead=False)
        assert following is not None
        judge(following, [following.presentation])
    assert queue.claim_next(labeler=cast.labeler, project=project) is None
    assert "It goes on at 29 Nov 2026, 00:00 UTC." in queue.why_no_work(labeler=cast.labeler, project=project)
    clock[0] += timedelta(hours=24)
    assert queue.claim_next(labeler=cast.labeler, project=project) is not None
    assert Judgment.objects.filter(latest__isnull=False).count() == 3
