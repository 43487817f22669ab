"""Hidden checks in the claim: how often they come, to whom, and that nothing is lost of them."""

import math
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate.errors import InvalidOrdering, NotYours, Refused, UnknownResponse
from annotate.labeling import queue
from annotate.labeling.checks import calibration, draws, gold
from annotate.labeling.checks.lane import REPEAT_GAP
from annotate.models import Assignment, AuditEvent, Judgment, QueueCursor, Task
from annotate.people.projects import edit_project
from annotate.quality.labeler_progress import LabelerProgress
from tests.factories.cast import Cast, judge, make_comparison, make_prompt, make_responses, response_ids

State = Assignment.State


class TestDraws:
    def test_over_2000_draws_each_kind_comes_as_often_as_its_rate_says(self):
        project = SimpleNamespace(gold_rate=0.1, repeat_rate=0.05, evaluation_share=0.2)
        for seed in range(5):
            cursor = QueueCursor(draw_seed=seed * 7919, labeler_id=3, project_id=4)
            kinds = [
                draws.kind(draws.drawn(cursor, number), project=project, calibrating=False) for number in range(2_000)
            ]
            for state, rate in (("gold", 0.1), ("repeat", 0.05), ("evaluate", 0.2)):
                assert abs(kinds.count(state) / 2_000 - rate) < 3.5 * math.sqrt(rate * (1 - rate) / 2_000)
            # Independent: after a gold task the next one is a gold task as often as ever.
            after_gold = [next_kind for kind, next_kind in pairwise(kinds) if kind == "gold"]
            assert abs(after_gold.count("gold") / len(after_gold) - 0.1) < 3.5 * math.sqrt(0.09 / len(after_gold))

    def test_a_draw_is_the_same_each_time_and_another_for_everybody(self):
        cursors = [
            QueueCursor(draw_seed=seed, labeler_id=labeler, project_id=4) for seed, labeler in ((1, 1), (1, 2), (2, 1))
        ]
        drawn = [[draws.drawn(cursor, number) for number in range(20)] for cursor in cursors]
        assert drawn == [[draws.drawn(cursor, number) for number in range(20)] for cursor in cursors]
        assert len({tuple(row) for row in drawn}) == 3
        assert all(0 <= draw < 1 for row in drawn for draw in row)

    def test_half_of_the_ordinary_tasks_are_calibration_tasks_while_any_is_left(self):
        project = SimpleNamespace(gold_rate=0.2, repeat_rate=0.2, evaluation_share=0.0)
        found = [draws.kind((number + 0.5) / 100, project=project, calibrating=True) for number in range(100)]
        assert [found.count(kind) for kind in ("gold", "repeat", "calibrate", "")] == [20, 20, 30, 30]
        assert draws.kind(0.5, project=project, calibrating=False) == ""


def test_gold_tasks_come_by_the_stored_draws_of_the_labeler(cast, make_gold, settings_of, work):
    settings_of(gold_rate=0.3)
    for number in range(30):
        make_comparison(cast.project, f"Question {number}")
    golds = {make_gold(f"Gold {number}").pk for number in range(20)}
    given = work(30)
    cursor = QueueCursor.objects.get(labeler=cast.labeler)
    expected = [draws.drawn(cursor, number) < 0.3 for number in range(30)]
    assert [assignment.task_id in golds for assignment in given] == expected
    assert [assignment.is_check for assignment in given] == expected
    assert cursor.draws == 30
    assert 0 < sum(expected) < 20


def test_reloading_draws_nothing_anew(cast, make_gold, settings_of, claim):
    settings_of(gold_rate=0.5)
    make_comparison(cast.project)
    for number in range(5):
        make_gold(f"Gold {number}")
    first = claim()
    assert {claim().pk for _ in range(10)} == {first.pk}
    assert QueueCursor.objects.get(labeler=cast.labeler).draws == 1
    # Where there is nothing to give, asking again doesn't draw until a gold task comes.
    QueueCursor.objects.update(draw_seed=seed_of(cast, [False]), draws=0)
    queue.release_held(labeler=cast.labeler, project=cast.project)
    Assignment.objects.all().delete()
    Task.objects.filter(state=Task.State.OPEN).update(state=Task.State.WITHDRAWN, slots_free=0)
    assert [claim() for _ in range(10)] == [None] * 10
    assert QueueCursor.objects.get(labeler=cast.labeler).draws == 0


def seed_of(cast: Cast, wanted: list[bool], labeler=None) -> int:
    """A seed of which the first draws ask for gold tasks where `wanted` says so, at the project's gold rate."""
    labeler = labeler or cast.labeler
    for seed in range(100_000):
        cursor = QueueCursor(draw_seed=seed, labeler_id=labeler.pk, project_id=cast.project.pk)
        if [draws.drawn(cursor, number) < cast.project.gold_rate for number in range(len(wanted))] == wanted:
            return seed
    raise AssertionError("no such seed")


def seed_draws(cast: Cast, wanted: Callable[[Callable[[int], float]], bool], labeler=None) -> None:
    """Let a labeler's draws, by their numbers, be some for which `wanted` holds."""
    labeler = labeler or cast.labeler
    queue.leases.locked_cursor(labeler=labeler, project=cast.project.pk)
    for seed in range(100_000):
        cursor = QueueCursor(draw_seed=seed, labeler_id=labeler.pk, project_id=cast.project.pk)
        if wanted(partial(draws.drawn, cursor)):
            QueueCursor.objects.filter(labeler=labeler).update(draw_seed=seed)
            return
    raise AssertionError("no such seed")


def draw(cast: Cast, *wanted: bool, labeler=None) -> None:
    """Let the labeler's first draws be these."""
    labeler = labeler or cast.labeler
    queue.leases.locked_cursor(labeler=labeler, project=cast.project.pk)
    seed = seed_of(cast, list(wanted), labeler)
    QueueCursor.objects.filter(labeler=labeler).update(draw_seed=seed, draws=0)


def test_nobody_gets_a_gold_task_twice_and_ordinary_work_comes_when_none_is_left(cast, make_gold, settings_of, work):
    settings_of(gold_rate=1.0)
    golds = {make_gold(f"Gold {number}").pk for number in range(3)}
    ordinary = {make_comparison(cast.project, f"Question {number}").pk for number in range(2)}
    for labeler in (cast.labeler, cast.second_labeler):
        given = [assignment.task_id for assignment in work(10, labeler)]
        assert set(given[:3]) == golds
        assert len(given) == len(set(given))
        # Its overlap is 1: the first labeler has judged the ordinary ones.
        assert set(given[3:]) == (ordinary if labeler == cast.labeler else set())
    assert not Judgment.objects.filter(task__in=golds, is_check=False).exists()
    assert set(Task.objects.filter(pk__in=golds).values_list("judgments_given", "slots_free")) == {(0, 0)}


def test_a_skipped_gold_task_does_not_come_again(cast, make_gold, settings_of, claim):
    settings_of(gold_rate=1.0)
    make_gold()
    first = claim()
    queue.skip(assignment_id=first.pk, labeler=cast.labeler, reason="odd")
    assert claim() is None
    back = queue.unskip(assignment_id=first.pk, labeler=cast.labeler)
    assert back.state == State.CURRENT
    assert claim().pk == first.pk


def test_a_gold_task_whose_lease_ran_out_comes_back_first_with_its_draft(cast, make_gold, settings_of, claim):
    settings_of(gold_rate=0.5)
    task = make_gold()
    make_gold("Another?")
    make_comparison(cast.project)
    draw(cast, True, False, False)
    first = claim()
    queue.save_draft(assignment_id=first.pk, labeler=cast.labeler, draft={"comment": ["Half"]})
    Assignment.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert queue.release_expired() == 1
    assert Task.objects.get(pk=first.task_id).slots_free == 0
    again = claim()
    assert (again.pk, again.draft, again.is_check) == (first.pk, {"comment": ["Half"]}, True)
    assert first.task_id in (task.pk, again.task_id)
    judge(again, [[key] for key in again.presentation])
    assert not claim().is_check


def test_a_gold_judgment_that_comes_late_is_an_ordinary_receipt(cast, make_gold, settings_of, claim):
    settings_of(gold_rate=1.0)
    make_gold()
    first = claim()
    Assignment.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    queue.release_expired()
    receipt = judge(first, [[key] for key in first.presentation])
    assert (receipt.surplus, receipt.judgment.is_check) == (False, True)


@pytest.mark.parametrize("change", ["removed", "rate 0", "withdrawn", "archived"])
def test_a_held_lease_can_be_submitted_whatever_became_of_its_task(cast, change, make_gold, settings_of, claim):
    settings_of(gold_rate=1.0)
    task = make_gold()
    held = claim()
    if change == "removed":
        gold.remove(task=task, by=cast.manager)
    elif change == "rate 0":
        edit_project(project=cast.project, by=cast.manager, gold_rate=0.0)
    elif change == "withdrawn":
        Task.objects.filter(pk=task.pk).update(state=Task.State.WITHDRAWN)
    else:
        edit_project(project=cast.project, by=cast.manager, archived=True)
    receipt = judge(held, [[key] for key in held.presentation])
    task.refresh_from_db()
    assert (receipt.surplus, receipt.judgment.is_check, task.judgments_given) == (False, True, 0)
    if change == "removed":
        # Its place as an ordinary task is for somebody else.
        assert (task.state, task.slots_free) == (Task.State.OPEN, 1)
        given = claim(cast.second_labeler)
        assert (given.task_id, given.is_check) == (task.pk, False)
        assert claim() is None


def test_a_gold_task_is_never_of_the_prompt_that_was_just_shown(cast, settings_of, work):
    settings_of(gold_rate=1.0)
    prompt = make_prompt(cast.project, "The same?")
    for number in range(4):
        responses = make_responses(prompt, f"Yes {number}.", f"No {number}.")
        task = queue.add_comparison(project=cast.project, prompt=prompt, responses=responses)
        gold.promote(task=task, tiers=[[response.pk] for response in responses], by=cast.manager)
    for number in range(3):
        make_comparison(cast.project, f"Question {number}")
    prompts = [assignment.task.prompt_id == prompt.pk for assignment in work(7)]
    assert prompts == [True, False, True, False, True, False, True]


def test_undo_brings_a_gold_task_back_and_its_second_judgment_counts_once(cast, make_gold, settings_of, claim):
    settings_of(gold_rate=1.0)
    task = make_gold()
    first = claim()
    judge(first, [[key] for key in first.presentation])
    back = queue.withdraw(assignment_id=first.pk, labeler=cast.labeler, draft={})
    assert (back.state, claim().pk) == (State.CURRENT, first.pk)
    assert not judge(first, [[key] for key in first.presentation]).surplus
    task.refresh_from_db()
    assert (task.state, task.judgments_given, task.slots_free) == (Task.State.GOLD, 0, 0)


class TestRepeats:
    def test_come_after_enough_other_tasks_each_once_and_with_the_same_responses(self, cast, settings_of, work):
        settings_of(repeat_rate=0.5)
        for number in range(REPEAT_GAP + 12):
            make_comparison(cast.project, f"Question {number}", texts=(f"A{number}", f"B{number}", f"C{number}"))
        given = work(100)
        repeats = [(place, item) for place, item in enumerate(given) if item.is_check]
        assert len(given) == REPEAT_GAP + 12 + len(repeats)
        assert repeats
        order = {item.task_id: place for place, item in enumerate(given)}
        seen = set()
        for place, item in repeats:
            task = Task.objects.get(pk=item.task_id)
            first = task.repeat_of
            assert (task.state, task.prompt_id, task.slots_free) == (Task.State.REPEAT, first.prompt_id, 0)
            assert sorted(item.presentation) == sorted(response_ids(first)) == sorted(response_ids(task))
            between = [other for other in given[order[first.pk] + 1 : place] if not other.is_check]
            assert len(between) >= REPEAT_GAP
            assert first.pk not in seen
            seen.add(first.pk)

    def test_a_repeat_whose_lease_ran_out_is_the_same_repeat_again(self, cast, settings_of, claim, work):
        settings_of(repeat_rate=1.0)
        for number in range(REPEAT_GAP + 1):
            make_comparison(cast.project, f"Question {number}")
        work(REPEAT_GAP + 1)
        repeat = claim()
        assert repeat.is_check
        Assignment.objects.filter(pk=repeat.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        queue.release_expired()
        assert claim().pk == repeat.pk
        assert Task.objects.filter(repeat_of__isnull=False).count() == 1


class TestCalibration:
    def test_every_labeler_judges_the_set_once_early_in_their_work(self, cast, work):
        chosen = [make_comparison(cast.project, f"Common {number}") for number in range(5)]
        for task in chosen:
            calibration.add(task=task, by=cast.manager)
        cast.project.refresh_from_db()
        edit_project(project=cast.project, by=cast.manager, overlap=2)
        for number in range(30):
            make_comparison(cast.project, f"Question {number}")
        for labeler in (cast.labeler, cast.second_labeler):
            seed_draws(cast, lambda draw: draw(0) >= 0.5 and sum(draw(n) < 0.5 for n in range(20)) >= 5, labeler)
            given = work(100, labeler)
            checks = [place for place, item in enumerate(given) if item.is_check]
            assert {given[place].task_id for place in checks} == {task.pk for task in chosen}
            assert len(given) == 35
            assert checks[-1] < 25
            assert checks != list(range(5))
        assert QueueCursor.objects.get(labeler=cast.labeler).calibrated == 5

    def test_a_task_added_later_comes_to_those_who_had_judged_the_set(self, cast, work):
        calibration.add(task=make_comparison(cast.project, "First?"), by=cast.manager)
        for number in range(12):
            make_comparison(cast.project, f"Question {number}")
        cast.project.refresh_from_db()
        work(100)
        late = calibration.add(task=make_comparison(cast.project, "Later?"), by=cast.manager)
        for number in range(12):
            make_comparison(cast.project, f"More {number}")
        cast.project.refresh_from_db()
        assert late.pk in {item.task_id for item in work(100) if item.is_check}

    def test_a_removed_one_is_ordinary_again(self, cast):
        task = calibration.add(task=make_comparison(cast.project), by=cast.manager)
        assert (task.state, task.slots_free) == (Task.State.CALIBRATION, 0)
        task = calibration.remove(task=task, by=cast.manager)
        assert (task.state, task.slots_free) == (Task.State.OPEN, 1)
        with pytest.raises(Refused, match="isn't part of the calibration set"):
            calibration.remove(task=task, by=cast.manager)
        with pytest.raises(NotYours):
            calibration.add(task=task, by=cast.labeler)
        verbs = ["calibration.added", "calibration.removed"]
        assert list(AuditEvent.objects.filter(verb__in=verbs).order_by("pk").values_list("verb", flat=True)) == verbs


class TestPromotion:
    def test_takes_the_task_out_of_the_queue_and_keeps_what_was_judged(self, cast, claim):
        edit_project(project=cast.project, by=cast.manager, overlap=2)
        task = make_comparison(cast.project)
        first, second = claim(), claim(cast.second_labeler)
        judge(first, [[key] for key in first.presentation])
        a, b, c, d = response_ids(task)
        gold.promote(task=task, tiers=[[b], [a, c], [d]], by=cast.manager)
        task.refresh_from_db()
        assert (task.state, task.gold_tiers, task.slots_free) == (Task.State.GOLD, [[b], [a, c], [d]], 0)
        # The lease that was out is an ordinary one.
        receipt = judge(second, [[key] for key in second.presentation])
        assert (receipt.judgment.is_check, receipt.surplus) == (False, False)
        assert Judgment.objects.filter(Judgment.COUNTED, task=task).count() == 2
        task = gold.remove(task=task, by=cast.manager)
        assert (task.state, task.judgments_given, task.gold_tiers) == (Task.State.COMPLETE, 2, [[b], [a, c], [d]])
        verbs = ["gold.added", "gold.removed"]
        assert list(AuditEvent.objects.filter(verb__in=verbs).order_by("pk").values_list("verb", flat=True)) == verbs

    def test_wants_an_order_of_the_tasks_own_responses_that_prefers_something(self, cast):
        task, other = make_comparison(cast.project), make_comparison(cast.project, "Other?")
        a, b, c, d = response_ids(task)
        for tiers, error, sentence in (
            (None, Refused, "needs a known order"),
            ([], Refused, "needs a known order"),
            ([[a, b, c, d]], Refused, "prefer at least one response"),
            ([[a]], Refused, "prefer at least one response"),
            ([[a], [a]], InvalidOrdering, "twice"),
            ([[a], [response_ids(other)[0]]], UnknownResponse, "doesn't belong to this task"),
            ([a, b], InvalidOrdering, "list of tiers"),
        ):
            with pytest.raises(error, match=sentence):
                gold.promote(task=task, tiers=tiers, by=cast.manager)
        with pytest.raises(NotYours):
            gold.promote(task=task, tiers=[[a], [b]], by=cast.labeler)
        task.refresh_from_db()
        assert (task.state, task.slots_free, task.gold_tiers) == (Task.State.OPEN, 1, None)
        gold.promote(task=task, tiers=[[a], [b]], by=cast.manager)
        with pytest.raises(Refused, match="open or complete"):
            gold.promote(task=task, tiers=[[a], [b]], by=cast.manager)


def test_a_claim_where_no_gold_task_is_left_costs_one_query_more(cast, settings_of, claim):
    # All before the first claim: where one appears later, everybody begins anew.
    for number in range(3):
        make_comparison(cast.project, f"Question {number}")
    asked = []
    for rate in (0.0, 1.0, 0.0):
        settings_of(gold_rate=rate)
        with CaptureQueriesContext(connection) as queries:
            held = claim()
        asked.append(len(queries))
        judge(held, [[key] for key in held.presentation])
    # The first claim made the cursor.
    assert asked[1] == asked[2] + 1


def test_what_is_left_falls_by_one_with_each_task_whichever_it_was(cast, make_gold, settings_of, claim):
    settings_of(gold_rate=0.3, repeat_rate=0.1)
    seed_draws(cast, lambda draw: any(0.3 <= draw(number) < 0.4 for number in range(38, 44)))
    for number in range(REPEAT_GAP + 15):
        make_comparison(cast.project, f"Question {number}")
    for number in range(6):
        make_gold(f"Gold {number}")
    for number in range(3):
        calibration.add(task=make_comparison(cast.project, f"Common {number}"), by=cast.manager)
    cast.project.refresh_from_db()
    left = []
    while (assignment := claim()) is not None:
        (open_tasks,) = LabelerProgress(labeler=cast.labeler, project=cast.project).open_tasks
        left.append(open_tasks.count)
        judge(assignment, [[key] for key in assignment.presentation])
    checks = Assignment.objects.filter(is_check=True)
    assert checks.filter(task__state=Task.State.GOLD).count() == 6
    assert checks.filter(task__state=Task.State.CALIBRATION).count() == 3
    assert checks.filter(task__state=Task.State.REPEAT).exists()
    assert left == list(range(len(left), 0, -1))
