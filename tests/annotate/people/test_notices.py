"""The bell and a manager's home: what waits and what happened, told to those whom it concerns and to nobody else."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from annotate.labeling import queue
from annotate.models import Project, User
from annotate.people import notices
from annotate.quality import consensus, review
from annotate.quality.review import waiting_tasks
from rlhf.models import Iteration, Stage, TrainingRun
from tests.annotate.quality.test_adjudication import task_of
from tests.factories.cast import Cast, judge, make_comparison

pytestmark = pytest.mark.django_db


def texts(user: User) -> list[str]:
    return [str(notice.text) for notice in notices.of(User.objects.get(pk=user.pk))]


def page(user: User, path: str = "/") -> str:
    client = Client()
    client.force_login(user, backend="annotate.people.backends.PasswordBackend")
    return client.get(path).content.decode()


@pytest.fixture
def reported(cast: Cast) -> None:
    for number in range(2):
        make_comparison(cast.project, f"Which of {number}?")
    current = queue.claim_next(labeler=cast.labeler, project=cast.project)
    assert current is not None
    review.report(assignment=current, by=cast.labeler, reason="broken")
    receipt = judge(current, [[key] for key in current.presentation])
    review.send_back(judgment=receipt.judgment, by=cast.reviewer, comment="Look again.")


def run_of(project: Project, status: str, **values: object) -> TrainingRun:
    finished = {"finished_at": timezone.now()} if status in ("succeeded", "failed", "cancelled") else {}
    return TrainingRun.objects.create(project=project, stage=Stage.REWARD, status=status, **{**finished, **values})


def test_reports_reach_those_who_settle_them_and_returned_work_its_labeler(cast: Cast, reported: None) -> None:
    assert texts(cast.manager) == texts(cast.reviewer) == ["1 report from a labeler waits"]
    assert texts(cast.labeler) == ["1 judgment was returned to you"]
    assert texts(cast.second_labeler) == texts(cast.outsider) == texts(cast.researcher) == []


def test_finished_runs_and_gates_reach_those_who_train(cast: Cast) -> None:
    run_of(cast.project, "succeeded")
    run_of(cast.project, "failed")
    run_of(cast.project, "queued")
    run_of(cast.project, "failed", queue=TrainingRun.LIVE_QUEUE)  # a reply of a chat
    run_of(cast.project, "succeeded", finished_at=timezone.now() - timedelta(days=30))
    first = {"state": "stopped", "reason": "Cancelled by hand.", "finished_at": timezone.now()}
    Iteration.objects.create(project=cast.project, number=1, **first)
    assert texts(cast.researcher)[0] == "Round 1 stopped at a gate: Cancelled by hand."
    said = " | ".join(texts(cast.researcher))
    assert said.count("succeeded") == said.count("failed") == 1
    assert texts(cast.reviewer) == texts(cast.labeler) == []
    # A round that began since leaves nothing to wait for.
    Iteration.objects.create(project=cast.project, number=2)
    assert "Round" not in " ".join(texts(cast.manager))


def test_closed_projects_are_silent(cast: Cast, reported: None) -> None:
    Project.objects.update(archived_at=timezone.now())
    assert texts(cast.manager) == texts(cast.labeler) == []


def test_the_bell_counts_what_is_new_and_what_waits(cast: Cast, reported: None) -> None:
    run_of(cast.project, "succeeded")
    said = page(cast.manager)
    assert re.search(r'aria-label="Notices, 2 new: 1 report from a labeler waits · Run \d+ succeeded: [^"]+"', said)
    client = Client()
    client.force_login(cast.manager, backend="annotate.people.backends.PasswordBackend")
    assert "Mark as read" in client.get("/notices/").content.decode()
    assert client.post("/notices/").status_code == 302
    # The report waits still.
    assert 'aria-label="Notices, 1 new: 1 report from a labeler waits"' in page(User.objects.get(pk=cast.manager.pk))
    assert 'aria-label="Notices"' in page(cast.second_labeler)


def test_the_bell_counts_tasks_that_wait_for_review_and_says_so(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    cast.project.overlap = 2
    cast.project.save()
    for number in range(2):
        task_of(cast, number, "A > B > C", "C > B > A")
    consensus.refresh_due()
    assert texts(cast.manager) == texts(cast.reviewer) == ["2 tasks wait for review"]
    assert texts(cast.labeler) == texts(cast.researcher) == []
    assert 'aria-label="Notices, 2 new: 2 tasks wait for review"' in page(cast.manager)
    assert 'aria-hidden="true">2</span>' in page(cast.manager)
    overview = page(cast.manager, "/p/kindness/")
    assert '<a href="/p/kindness/review/queue/" dir="auto">2 tasks wait for review</a>' in overview
    monkeypatch.setattr(waiting_tasks, "MOST_COUNTED", 1)
    monkeypatch.setattr(notices, "MOST_AT_THE_BELL", 1)
    assert texts(cast.manager) == ["More than 1 tasks wait for review"]
    assert 'aria-hidden="true">1+</span>' in page(cast.manager)


def test_a_managers_home_says_what_waits_for_them(cast: Cast, reported: None) -> None:
    run_of(cast.project, "failed")
    home = page(cast.manager)
    for said in (
        "Open items",
        "1 report from a labeler waits",
        "failed: ",
        "This week",
        "Backlog",
    ):
        assert said in home
    assert "There is no quota." not in home
    home = page(cast.labeler)
    for hidden in ("Open items", "1 report from a labeler waits", "Backlog"):
        assert hidden not in home
    assert "There is no quota." in home


def test_nobody_sees_notices_without_signing_in() -> None:
    assert Client().get("/notices/").status_code == 302
