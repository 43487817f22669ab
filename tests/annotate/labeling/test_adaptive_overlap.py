"""Overlap that adapts: done early on agreement, one more judgment on disagreement, never beyond the cap."""

import pytest

from annotate.errors import Refused
from annotate.labeling import queue
from annotate.labeling.checks import scores
from annotate.models import Assignment, Membership, Task
from annotate.people.projects import edit_project
from tests.factories.cast import judge, make_comparison, make_user, response_ids


@pytest.fixture
def people(cast):
    """Six labelers."""
    more = [make_user(f"more{number}") for number in range(4)]
    for user in more:
        Membership.objects.create(user=user, project=cast.project, role=Membership.Role.LABELER)
    return [cast.labeler, cast.second_labeler, *more]


@pytest.fixture
def project_of(cast, people):
    def change(**values):
        settings = {"overlap": 3, "adaptive_overlap": True, "overlap_least": 2, "overlap_most": 5, **values}
        project = edit_project(project=cast.project, by=cast.manager, **settings)
        cast.project.refresh_from_db()
        return project

    return change


def say(cast, labeler, tiers, **values):
    held = queue.claim_next(labeler=labeler, project=cast.project, ahead=False)
    if held is None:
        return None
    receipt = judge(held, tiers, **values)
    scores.refresh_due()
    return receipt


def figures(task: Task) -> tuple[str, int, int, int]:
    task.refresh_from_db()
    return task.state, task.judgments_given, task.judgments_wanted, task.slots_free


def test_agreement_ends_a_task_before_the_usual_number(cast, people, project_of):
    project_of()
    task = make_comparison(cast.project)
    a, b, c, d = response_ids(task)
    assert figures(task) == ("open", 0, 2, 2)
    say(cast, people[0], [[a], [b], [c], [d]])
    assert figures(task) == ("open", 1, 2, 1)
    # 5 of 6 pairs: more than 0.8.
    say(cast, people[1], [[b], [a], [c], [d]])
    assert figures(task) == ("complete", 2, 2, 0)
    assert say(cast, people[2], [[a]]) is None


def test_disagreement_asks_for_one_more_at_a_time_up_to_the_cap(cast, people, project_of):
    project_of()
    task = make_comparison(cast.project)
    a, b, c, d = response_ids(task)
    orders = ([[a], [b], [c], [d]], [[d], [c], [b], [a]])
    seen = []
    for number, labeler in enumerate(people):
        say(cast, labeler, orders[number % 2])
        seen.append(figures(task))
    assert seen == [
        ("open", 1, 2, 1),
        ("open", 2, 3, 1),
        ("open", 3, 4, 1),
        ("open", 4, 5, 1),
        ("complete", 5, 5, 0),
        ("complete", 5, 5, 0),
    ]
    assert Assignment.objects.count() == 5


def test_a_third_who_agrees_with_both_enough_ends_it(cast, people, project_of):
    project_of(overlap_agreement=0.6)
    task = make_comparison(cast.project)
    a, b, c, d = response_ids(task)
    say(cast, people[0], [[a], [b], [c], [d]])
    say(cast, people[1], [[b], [a], [d], [c]])  # 4 of 6
    assert figures(task) == ("complete", 2, 2, 0)
    other = make_comparison(cast.project, "Other?")
    a, b, c, d = response_ids(other)
    say(cast, people[0], [[a], [b], [c], [d]])
    say(cast, people[1], [[b], [d], [a], [c]])  # 3 of 6
    assert figures(other) == ("open", 2, 3, 1)
    say(cast, people[2], [[a], [b], [d], [c]])  # 5 of 6 and 4 of 6: 12 of 18
    assert figures(other) == ("complete", 3, 3, 0)


def test_all_unacceptable_is_an_agreement_and_against_an_order_none(cast, people, project_of):
    project_of()
    task, other = make_comparison(cast.project), make_comparison(cast.project, "Other?")
    for labeler in people[:2]:
        held = queue.claim_next(labeler=labeler, project=cast.project, ahead=False)
        judge(held, [], all_unacceptable=True)
        second = queue.claim_next(labeler=labeler, project=cast.project, ahead=False)
        if labeler == people[0]:
            judge(second, [], all_unacceptable=True)
        else:
            judge(second, [[key] for key in second.presentation])
    scores.refresh_due()
    assert sorted([figures(task), figures(other)]) == [("complete", 2, 2, 0), ("open", 2, 3, 1)]


def test_no_more_is_asked_for_than_there_are_people(cast):
    edit_project(project=cast.project, by=cast.manager, overlap=2)
    edit_project(project=cast.project, by=cast.manager, adaptive_overlap=True, overlap_least=2, overlap_most=9)
    Membership.objects.filter(project=cast.project).exclude(user__in=[cast.labeler, cast.second_labeler]).delete()
    cast.project.refresh_from_db()
    task = make_comparison(cast.project)
    order = response_ids(task)
    say(cast, cast.labeler, [[key] for key in order])
    say(cast, cast.second_labeler, [[key] for key in reversed(order)])
    assert figures(task) == ("complete", 2, 2, 0)


def test_off_nothing_changes(cast, people):
    edit_project(project=cast.project, by=cast.manager, overlap=3)
    cast.project.refresh_from_db()
    task = make_comparison(cast.project)
    order = response_ids(task)
    assert figures(task) == ("open", 0, 3, 3)
    for number, labeler in enumerate(people[:3]):
        say(cast, labeler, [[key] for key in (order if number % 2 else reversed(order))])
    assert figures(task) == ("complete", 3, 3, 0)
    assert not Task.objects.filter(checks_stale_at__isnull=False).exists()


def test_switched_on_it_holds_for_open_tasks_and_off_again_they_want_the_usual_number(cast, people, project_of):
    edit_project(project=cast.project, by=cast.manager, overlap=3)
    cast.project.refresh_from_db()
    task, disputed = make_comparison(cast.project), make_comparison(cast.project, "Disputed?")
    for number, labeler in enumerate(people[:2]):
        for _ in range(2):
            held = queue.claim_next(labeler=labeler, project=cast.project, ahead=False)
            order = sorted(held.presentation)
            if held.task_id == disputed.pk and number:
                order.reverse()
            judge(held, [[key] for key in order])
    project_of()
    assert figures(task) == ("complete", 2, 2, 0)
    scores.refresh_due()
    assert figures(disputed) == ("open", 2, 3, 1)
    project_of(adaptive_overlap=False)
    assert figures(task) == ("open", 2, 3, 1)


def test_a_held_lease_of_a_task_that_got_enough_is_submitted_beyond_nothing(cast, people, project_of):
    project_of()
    task = make_comparison(cast.project)
    order = response_ids(task)
    first, second = (queue.claim_next(labeler=who, project=cast.project, ahead=False) for who in people[:2])
    judge(first, [[key] for key in order])
    judge(second, [[key] for key in reversed(order)])
    scores.refresh_due()
    third = queue.claim_next(labeler=people[2], project=cast.project, ahead=False)
    project_of(overlap_agreement=0.0)
    scores.refresh_due()
    receipt = judge(third, [[key] for key in order])
    assert not receipt.surplus
    assert figures(task)[:2] == ("complete", 3)


@pytest.mark.parametrize(
    "values",
    [
        {"overlap_most": 2},
        {"overlap_least": 4},
        {"overlap_least": 1},
        {"overlap_agreement": float("nan")},
        {"overlap_agreement": 1.1},
    ],
)
def test_settings_that_contradict_each_other_are_refused(cast, people, values):
    with pytest.raises(Refused):
        edit_project(
            project=cast.project,
            by=cast.manager,
            **{"overlap": 3, "adaptive_overlap": True, "overlap_least": 2, "overlap_most": 5, **values},
        )
    cast.project.refresh_from_db()
    assert (cast.project.overlap, cast.project.adaptive_overlap) == (1, False)
