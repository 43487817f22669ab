"""What follows when checks stay below a threshold, what the labeler reads, and how a manager undoes it."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from annotate.errors import NotYours, Refused
from annotate.labeling import exam
from annotate.labeling.checks import scores, thresholds
from annotate.labeling.qualification import is_qualified
from annotate.models import AuditEvent, Membership, QualityAlert, Task
from annotate.people import members
from annotate.people.projects import edit_project
from tests.factories.cast import judge, make_comparison, response_ids

READS = "In 4 of your latest tasks whose best order is known, you ordered 50% of the pairs that way; at least 80%"


@pytest.fixture
def judged_golds(make_gold, settings_of, claim):
    """Judge new gold tasks, each wholly right or wholly wrong, and let the job score them."""

    def judge_them(*right: bool, labeler=None):
        settings_of(gold_rate=1.0)
        alerts = QualityAlert.objects.count()
        for number, is_right in enumerate(right):
            order = response_ids(make_gold(f"Gold {timezone.now().isoformat()} {number}"))
            held = claim(labeler)
            order = [key for (key,) in held.task.gold_tiers]
            judge(held, [[key] for key in (order if is_right else reversed(order))])
        scores.refresh_due()
        return list(QualityAlert.objects.order_by("pk")[alerts:])

    return judge_them


def limit(cast, **values):
    settings = {"gold_threshold": 0.8, "check_window": 4, "check_minimum": 4, **values}
    edit_project(project=cast.project, by=cast.manager, **settings)
    cast.project.refresh_from_db()


def ask_exam(cast):
    """An exam of one comparison that the labeler has not passed yet, and a waiver for them."""
    task = make_comparison(cast.project, "Exam?")
    Task.objects.filter(pk=task.pk).update(gold_tiers=[[key] for key in response_ids(task)])
    task.refresh_from_db()
    exam.add_item(task=task, by=cast.manager)
    edit_project(project=cast.project, by=cast.manager, exam_threshold=0.5)
    cast.project.refresh_from_db()
    exam.waive(labeler=cast.labeler, project=cast.project, by=cast.manager)


def test_nothing_follows_below_the_least_number_of_checks_nor_at_the_threshold(cast, judged_golds):
    limit(cast)
    assert judged_golds(False, False, False) == []
    assert judged_golds(True) != []
    QualityAlert.objects.all().delete()
    limit(cast, gold_threshold=0.5)
    assert judged_golds(True, True, False, False) == []


def test_a_warning_is_read_on_the_work_page_until_it_is_closed(cast, judged_golds):
    limit(cast)
    (alert,) = judged_golds(True, True, False, False)
    assert (alert.kind, alert.action, alert.rate, alert.checks) == ("gold", "warn", 0.5, 4)
    make_comparison(cast.project)
    labeler = Client()
    labeler.force_login(cast.labeler)
    assert READS in labeler.get("/p/kindness/work/").content.decode()
    other = Client()
    other.force_login(cast.second_labeler)
    assert READS not in other.get("/p/kindness/work/").content.decode()
    assert labeler.post("/p/kindness/work/warnings/read").status_code == 302
    assert READS not in labeler.get("/p/kindness/work/").content.decode()
    event = AuditEvent.objects.get(verb="quality.warned")
    assert (event.actor, event.detail["person"], event.detail["rate"]) == (None, cast.labeler.pk, 0.5)


def test_the_window_is_the_latest_checks_and_begins_anew_after_something_followed(cast, judged_golds):
    limit(cast, gold_threshold=0.6)
    assert judged_golds(True, True, True, True, True, False) == []
    assert [alert.rate for alert in judged_golds(False)] == [0.5]
    # These three are below it, and too few.
    assert judged_golds(False, False, False) == []
    assert [alert.rate for alert in judged_golds(False)] == [0.0]


def test_a_pause_gives_no_more_tasks_until_a_manager_undoes_it(cast, judged_golds, claim):
    limit(cast, gold_action="pause")
    make_comparison(cast.project)
    (alert,) = judged_golds(True, True, False, False)
    assert alert.action == "pause"
    assert claim() is None
    labeler = Client()
    labeler.force_login(cast.labeler)
    page = labeler.get("/p/kindness/work/").content.decode()
    assert READS in page
    assert "until a manager of the project has looked at it" in page
    with pytest.raises(NotYours):
        thresholds.undo(alert=alert, by=cast.labeler)
    thresholds.undo(alert=alert, by=cast.manager)
    thresholds.undo(alert=alert, by=cast.manager)
    assert claim() is not None
    assert AuditEvent.objects.filter(verb="quality.undone", actor=cast.manager).count() == 1


def test_undoing_leaves_a_pause_by_a_manager(cast, judged_golds, claim):
    limit(cast, gold_action="pause")
    make_comparison(cast.project)
    (alert,) = judged_golds(True, True, False, False)
    membership = Membership.objects.get(user=cast.labeler, project=cast.project)
    members.resume(membership=membership, by=cast.manager)
    members.pause(membership=membership, by=cast.manager, reason="On leave.")
    thresholds.undo(alert=alert, by=cast.manager)
    membership.refresh_from_db()
    assert membership.paused_at is not None
    assert claim() is None


def test_a_lease_that_is_held_while_the_pause_comes_can_be_submitted(cast, judged_golds, claim, make_gold):
    limit(cast, gold_action="pause")
    judged_golds(True, True, False)
    make_gold("One more?")
    held = claim()
    judge(held, [[key] for (key,) in reversed(held.task.gold_tiers)])
    make_comparison(cast.project)
    following = claim()
    scores.refresh_due()
    assert QualityAlert.objects.get().action == "pause"
    receipt = judge(following, [[key] for key in following.presentation])
    assert not receipt.surplus
    assert claim() is None


def test_requalification_asks_for_the_exam_again_and_a_manager_can_undo_it(cast, judged_golds, claim):
    ask_exam(cast)
    limit(cast, gold_action="requalify")
    make_comparison(cast.project)
    (alert,) = judged_golds(True, True, False, False)
    assert alert.action == "requalify"
    assert not is_qualified(user=cast.labeler, project=cast.project)
    labeler = Client()
    labeler.force_login(cast.labeler)
    page = labeler.get("/p/kindness/work/").content.decode()
    assert READS in page
    assert "take the exam once more" in page
    thresholds.undo(alert=alert, by=cast.manager)
    assert is_qualified(user=cast.labeler, project=cast.project)
    assert claim() is not None


def test_after_the_exam_was_passed_again_work_goes_on(cast, judged_golds, claim):
    ask_exam(cast)
    limit(cast, gold_action="requalify")
    make_comparison(cast.project)
    judged_golds(True, True, False, False)
    attempt = exam.start(labeler=cast.labeler, project=cast.project)
    item = exam.current(attempt)
    exam.answer(answer_id=item.pk, labeler=cast.labeler, tiers=item.gold_tiers)
    held = claim()
    judge(held, [[key] for key in held.presentation])
    assert thresholds.requalification_of(labeler=cast.labeler, project=cast.project) is None
    # They have seen its known order now, so it can't be asked once more: they are paused.
    QualityAlert.objects.update(created_at=timezone.now() - timedelta(days=1))
    settled = judged_golds(False, False, False, False)
    assert [alert.action for alert in settled] == ["pause"]


def test_self_consistency_has_a_threshold_of_its_own(cast, settings_of, work, claim):
    from annotate.labeling.checks.lane import REPEAT_GAP

    for number in range(REPEAT_GAP + 2):
        make_comparison(cast.project, f"Question {number}")
    work(REPEAT_GAP + 2)
    settings_of(repeat_rate=1.0)
    limit(cast, gold_threshold=None, repeat_threshold=0.9, check_window=2, check_minimum=2)
    for _ in range(2):
        held = claim()
        assert held.task.repeat_of is not None
        first = held.task.repeat_of.judgments.get().latest.tiers
        judge(held, list(reversed(first)))
    scores.refresh_due()
    alert = QualityAlert.objects.get()
    assert (alert.kind, alert.rate) == ("repeat", 0.0)
    assert str(thresholds.sentence(alert)).startswith("In 2 tasks that you were shown twice, you judged 0%")


def test_somebody_who_has_left_the_project_is_named_and_nothing_else_happens(cast, judged_golds, make_gold, claim):
    limit(cast, gold_action="pause")
    judged_golds(True, True, False)
    make_gold("One more?")
    held = claim()
    judge(held, [[key] for (key,) in reversed(held.task.gold_tiers)])
    Membership.objects.filter(user=cast.labeler).delete()
    scores.refresh_due()
    alert = QualityAlert.objects.get()
    assert alert.action == "pause"
    thresholds.undo(alert=alert, by=cast.manager)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"gold_rate": 1.1}, "shares from 0 to 1"),
        ({"gold_rate": float("nan")}, "shares from 0 to 1"),
        ({"repeat_rate": -0.1}, "shares from 0 to 1"),
        ({"gold_threshold": 2.0}, "shares from 0 to 1"),
        ({"gold_rate": 0.6, "repeat_rate": 0.5}, "can't be more than all tasks"),
        ({"check_window": 0}, "at least 1 check"),
        ({"check_window": 5, "check_minimum": 6}, "fits into it"),
        ({"gold_threshold": 0.5, "gold_action": "requalify"}, "needs an exam"),
        ({"gold_action": "dismiss"}, "not a valid choice"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_sentence(cast, values, sentence):
    with pytest.raises(Refused, match=sentence):
        edit_project(project=cast.project, by=cast.manager, **values)
    cast.project.refresh_from_db()
    assert (cast.project.gold_rate, cast.project.repeat_rate, cast.project.check_window) == (0.0, 0.0, 20)
