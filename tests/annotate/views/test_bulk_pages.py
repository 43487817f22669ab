"""The page on which a manager leaves judgments out and gives tasks out again."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from annotate.models import Judgment, JudgmentExclusion, Task, TaskReopening
from annotate.quality import consensus
from annotate.quality.review import batch_changes
from rlhf.runs import runs
from tests.annotate.quality.test_adjudication import task_of
from tests.factories.cast import Cast

BULK = "/p/kindness/review/bulk/"
LEAVE_OUT, REOPEN = f"{BULK}leave-out", f"{BULK}reopen"


@pytest.fixture
def manager(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Signed in; two tasks are complete, of the agreements 0 and 1. No worker listens."""
    monkeypatch.setattr(runs, "send", lambda *message, **options: None)
    cast.project.overlap = 2
    cast.project.save()
    task_of(cast, 0, "A > B > C", "C > B > A")
    task_of(cast, 1, "A > B > C", "A > B > C")
    consensus.refresh_due()
    client = Client()
    client.force_login(cast.manager)
    return client


def leave_out(cast: Cast, **values: Any) -> dict[str, Any]:
    since = (timezone.now() - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    return {"labeler": cast.labeler.pk, "since": since, "reason": "In a hurry.", **values}


def test_says_how_many_and_changes_nothing(cast: Cast, manager: Client) -> None:
    shown = manager.post(LEAVE_OUT, leave_out(cast, preview="1")).content.decode()
    assert "2 judgments would be left out." in shown
    assert "In a hurry." in shown
    shown = manager.post(REOPEN, {"agreement_below": "50", "judgments": "1", "preview": "1"}).content.decode()
    assert "1 task would be given out again." in shown
    assert not JudgmentExclusion.objects.exists()
    assert not TaskReopening.objects.exists()


def test_leaves_out_and_counts_again(cast: Cast, manager: Client) -> None:
    shown = manager.post(LEAVE_OUT, leave_out(cast), follow=True).content.decode()
    assert "2 judgments are left out." in shown
    assert "In a hurry." in shown
    left_out = Judgment.objects.filter(labeler=cast.labeler).first()
    assert left_out is not None
    assert "Left out on" in manager.get(f"/p/kindness/review/{left_out.pk}/").content.decode()
    assert "left out" in manager.get("/p/kindness/review/").content.decode()
    exclusion = JudgmentExclusion.objects.get()
    shown = manager.post(f"{BULK}left-out/{exclusion.pk}", follow=True).content.decode()
    assert "2 count again" in shown
    assert not Judgment.objects.filter(left_out__isnull=False).exists()


def test_gives_out_again(cast: Cast, manager: Client) -> None:
    shown = manager.post(REOPEN, {"agreement_below": "50", "judgments": "2"}, follow=True).content.decode()
    assert "1 task is given out again." in shown
    assert "50%" in shown
    assert list(Task.objects.order_by("pk").values_list("judgments_wanted", flat=True)) == [4, 2]


def test_says_how_far_a_change_is(cast: Cast, manager: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_changes, "AT_ONCE", 1)
    assert "This goes on in the background." in manager.post(LEAVE_OUT, leave_out(cast), follow=True).content.decode()
    polled = manager.get(BULK, headers={"HX-Request": "true"}).content.decode()
    assert "every 2s" in polled
    assert "Waiting" in polled


@pytest.mark.parametrize(
    ("path", "values", "sentence"),
    [
        (LEAVE_OUT, {"since": "2999-01-01T00:00"}, "This time is in the future"),
        (LEAVE_OUT, {"labeler": 999_999}, "Select a valid choice"),
        (LEAVE_OUT, {"reason": " "}, "Say why"),
        (REOPEN, {"judgments": 1, "use_case": "extraction"}, "No judged task is like that"),
        (REOPEN, {"judgments": 1, "after": "2026-02-02T00:00", "before": "2026-02-01T00:00"}, "nothing was judged in"),
        (REOPEN, {"judgments": 0}, "greater than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_said_beside_what_was_entered(
    cast: Cast, manager: Client, path: str, values: dict[str, Any], sentence: str
) -> None:
    reply = manager.post(path, {**(leave_out(cast) if path == LEAVE_OUT else {}), **values})
    assert reply.status_code == 400
    assert sentence in reply.content.decode()
    assert not JudgmentExclusion.objects.exists()
    assert not TaskReopening.objects.exists()
