"""Tasks that trade places: the order that labelers get them in, and everything that keeps its place."""

import itertools

import pytest
from django.db import connection

from annotate.labeling import queue
from annotate.labeling.requested_tasks import add
from annotate.models import Assignment, Task
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, hand_in, judge, make_comparison, make_prompt, make_responses, response_ids


def comparisons(cast: Cast, count: int, **values: object) -> list[Task]:
    return [make_comparison(cast.project, f"Question {number}", **values) for number in range(count)]


def in_queue(cast: Cast) -> list[int]:
    """Open tasks in the order in which they are given out."""
    return list(Task.objects.filter(project=cast.project).order_by("position").values_list("pk", flat=True))


def test_labelers_get_the_most_urgent_first(cast: Cast) -> None:
    tasks = comparisons(cast, 8)
    urgency = {task.pk: float(number * 7 % 8) for number, task in enumerate(tasks)}
    moved = queue.reorder(project=cast.project, urgency=urgency)
    assert 0 < moved <= 8
    given = []
    while (assignment := queue.claim_next(labeler=cast.labeler, project=cast.project)) is not None:
        given.append(assignment.task_id)
        judge(assignment, [[response] for response in assignment.presentation])
    assert given == sorted(urgency, key=lambda pk: -urgency[pk])


def test_places_are_traded_and_none_is_lost(cast: Cast) -> None:
    """The random keys are the same ones as before, and doing it again moves nothing."""
    tasks = comparisons(cast, 6)
    before = sorted(Task.objects.values_list("random_key", flat=True))
    urgency = {task.pk: 1.0 + number for number, task in enumerate(tasks[:4])}
    queue.reorder(project=cast.project, urgency=urgency)
    assert sorted(Task.objects.values_list("random_key", flat=True)) == before
    order = in_queue(cast)
    assert queue.reorder(project=cast.project, urgency=urgency) == 0
    assert in_queue(cast) == order


def test_equally_urgent_tasks_keep_their_random_order(cast: Cast) -> None:
    tasks = comparisons(cast, 6)
    order = in_queue(cast)
    assert queue.reorder(project=cast.project, urgency={task.pk: 0.5 for task in tasks}) == 0
    assert in_queue(cast) == order


def test_everything_else_keeps_its_place(cast: Cast) -> None:
    """Gold ones, other kinds, judged ones, those of another priority and those left out stay exactly where they are."""
    edit_project(project=cast.project, by=cast.manager, overlap=2)
    plain = comparisons(cast, 12)
    prompt_of_gold = make_prompt(cast.project, "Gold?")
    responses = make_responses(prompt_of_gold, "Yes.", "No.")
    gold = queue.add_comparison(
        project=cast.project,
        prompt=prompt_of_gold,
        responses=responses,
        gold_tiers=[[response.pk] for response in responses],
    )
    add(project=cast.project, by=cast.manager, kind="demonstrate", count=1)
    other_kind = Task.objects.get(kind="demonstrate")
    urgent = [make_comparison(cast.project, f"Soon {number}", priority=3) for number in range(2)]
    judged = plain[0]
    Task.objects.filter(pk=judged.pk).update(priority=9)
    assignment = queue.claim_next(labeler=cast.labeler, project=cast.project, ahead=False)
    assert assignment is not None
    judge(assignment, [[response] for response in response_ids(judged)])
    left_out = plain[1]
    still = [gold, other_kind, judged, left_out]
    places = {task.pk: Task.objects.get(pk=task.pk).position for task in still}
    everything = {pk: 100.0 - number for number, pk in enumerate(in_queue(cast)[::-1]) if pk != left_out.pk}
    queue.reorder(project=cast.project, urgency=everything)
    assert {task.pk: Task.objects.get(pk=task.pk).position for task in still} == places
    # Among themselves those of a higher priority are in order too, and still come before the others.
    order = [pk for pk in in_queue(cast) if pk in {task.pk for task in [*urgent, *plain[2:]]}]
    assert set(order[:2]) == {task.pk for task in urgent}
    for part in (order[:2], order[2:]):
        assert part == sorted(part, key=lambda pk: -everything[pk])


def test_a_task_that_was_judged_meanwhile_is_left_alone(cast: Cast) -> None:
    tasks = comparisons(cast, 3)
    assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
    assert assignment is not None
    hand_in(assignment, tiers=[[response] for response in assignment.presentation])
    key = Task.objects.get(pk=assignment.task_id).random_key
    queue.reorder(project=cast.project, urgency={task.pk: float(number) for number, task in enumerate(tasks)})
    assert Task.objects.get(pk=assignment.task_id).random_key == key


def test_somebody_who_has_come_far_looks_at_the_whole_queue_again(cast: Cast) -> None:
    """The place that the urgent task gets lies behind them: there was one that they skipped."""
    comparisons(cast, 5)
    order = in_queue(cast)
    skipped = queue.claim_next(labeler=cast.labeler, project=cast.project, ahead=False)
    assert skipped is not None
    queue.skip(assignment_id=skipped.pk, labeler=cast.labeler, reason="unclear")
    second = queue.claim_next(labeler=cast.labeler, project=cast.project, ahead=False)
    assert second is not None
    judge(second, [[response] for response in second.presentation])
    assert [skipped.task_id, second.task_id] == order[:2]
    queue.reorder(project=cast.project, urgency={pk: float(pk == order[4]) for pk in order})
    following = queue.claim_next(labeler=cast.labeler, project=cast.project, ahead=False)
    assert following is not None
    assert following.task_id == order[4]


def test_a_held_task_is_never_given_to_more_labelers_than_it_wants(cast: Cast) -> None:
    tasks = comparisons(cast, 4)
    held = queue.claim_next(labeler=cast.labeler, project=cast.project)
    assert held is not None
    for factors in itertools.permutations((1.0, 2.0, 3.0, 4.0), 4):
        queue.reorder(
            project=cast.project, urgency={task.pk: factor for task, factor in zip(tasks, factors, strict=True)}
        )
        other = queue.claim_next(labeler=cast.second_labeler, project=cast.project)
        assert other is not None
        assert not set(Assignment.objects.filter(labeler=cast.labeler).values_list("task", flat=True)) & set(
            Assignment.objects.filter(labeler=cast.second_labeler).values_list("task", flat=True)
        )
    again = queue.claim_next(labeler=cast.labeler, project=cast.project)
    assert again is not None
    assert again.pk == held.pk


def test_no_more_tasks_at_once_than_a_short_transaction_bears(cast: Cast) -> None:
    with pytest.raises(ValueError, match="2001 tasks are more than 2000"):
        queue.reorder(project=cast.project, urgency=dict.fromkeys(range(2001), 0.0))


def test_another_projects_tasks_are_not_touched(cast: Cast) -> None:
    foreign = [make_comparison(cast.other_project, f"Foreign {number}") for number in range(4)]
    keys = list(Task.objects.order_by("pk").values_list("random_key", flat=True))
    urgency = {task.pk: float(number) for number, task in enumerate(foreign)}
    assert queue.reorder(project=cast.project, urgency=urgency) == 0
    assert list(Task.objects.order_by("pk").values_list("random_key", flat=True)) == keys


def test_the_next_tasks_are_found_by_the_index_of_the_queue(cast: Cast) -> None:
    comparisons(cast, 2)
    plan = queue.movable(cast.project)[:10].explain()
    assert "task_queue" in plan or connection.vendor == "postgresql"
