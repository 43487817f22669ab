"""The sums follow the judgments exactly, whatever happens in which order, and equal a computation from scratch."""

import uuid
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from annotate.errors import Refused
from annotate.labeling import queue
from annotate.labeling.ordering import Ordering
from annotate.models import (
    Judgment,
    JudgmentExclusion,
    MeasureChange,
    MeasuresState,
    MeasureSums,
    Project,
    Prompt,
    Task,
    TaskMeasures,
    User,
)
from annotate.people.projects import edit_project
from annotate.quality import consensus, measures, review
from annotate.quality.measures import folding
from annotate.quality.measures.report import Period, PeriodReport
from tests.annotate.quality.measures.judging import assigned, judged, stored_sums
from tests.factories.cast import Cast, hand_in, judge, make_comparison, make_user, response_ids

ORDERS = ["A > B > C", "B > A > C", "A = B > C", "C > B > A", "A = B = C", "C > A"]


def pair(project: Project, number: int = 0) -> Task:
    return make_comparison(project, f"Question {number}?", ("One.", "Two, longer."))


def total(project: Project) -> dict[str, int]:
    return dict(PeriodReport(project, Period.everything(project)).total.sums)


def from_scratch(project: Project) -> dict[tuple[object, ...], dict[str, int]]:
    measures.request_recompute(project)
    measures.fold_due()
    return stored_sums(project)


def test_a_judgment_is_in_the_sums_of_its_day_week_month_labeler_and_segment(cast: Cast) -> None:
    task = pair(cast.project)
    Prompt.objects.filter(pk=task.prompt_id).update(use_case="summarisation", language="zh")
    judged(task, cast.labeler, "A > B", at=datetime(2026, 3, 5, 23, 30, tzinfo=UTC), seconds=12.34)
    measures.fold_due()
    rows = stored_sums(cast.project)
    keys = {key[:4]: key[4:] for key in rows}
    starts = {("day", date(2026, 3, 5)), ("week", date(2026, 3, 2)), ("month", date(2026, 3, 1))}
    assert keys == {
        (cut, grain, start, labeler): ("compare", *segment)
        for grain, start in starts
        for cut, labeler, segment in [
            ("project", None, ("", "")),
            ("labeler", cast.labeler, ("", "")),
            ("segment", None, ("summarisation", "zh")),
            ("both", cast.labeler, ("summarisation", "zh")),
            ("wins", None, ("", "")),
            ("wins_by", None, ("summarisation", "zh")),
        ]
    }
    row = MeasureSums.objects.get(cut="labeler", grain="day")
    assert (row.judgments, row.milliseconds) == (1, 12_340)
    assert row.sums["seconds|12"] == 1


def test_a_submit_costs_no_statement_more(cast: Cast) -> None:
    assignment = assigned(pair(cast.project), cast.labeler)
    with CaptureQueriesContext(connection) as queries:
        judge(assignment, [[key] for key in response_ids(assignment.task)])
    assert not [query["sql"] for query in queries if "measure" in query["sql"]]


def test_a_revision_and_a_withdrawal_take_out_what_was_there(cast: Cast) -> None:
    task = pair(cast.project)
    judged(task, cast.second_labeler, "A > B")
    assignment = assigned(task, cast.labeler)
    one, two = response_ids(task)
    judge(assignment, [[one], [two]], seconds=10)
    measures.fold_due()
    assert (total(cast.project)["agreement.h"], total(cast.project)["judgments"]) == (1, 2)
    queue.withdraw(assignment_id=assignment.pk, labeler=cast.labeler, draft={})
    measures.fold_due()
    assert total(cast.project)["judgments"] == 1
    assert "agreement.n" not in total(cast.project)
    assert "timed" not in total(cast.project)
    judge(assignment, [[two], [one]], seconds=30)
    measures.fold_due()
    found = total(cast.project)
    assert (found["agreement.n"], found.get("agreement.h", 0), found["milliseconds"]) == (1, 0, 30_000)
    judge(assignment, [[one], [two]], seconds=40)
    measures.fold_due()
    assert (total(cast.project)["agreement.h"], total(cast.project)["milliseconds"]) == (1, 40_000)
    assert not MeasureChange.objects.exists()


def test_sums_that_have_become_empty_are_deleted(cast: Cast) -> None:
    assignment = assigned(pair(cast.project), cast.labeler)
    judge(assignment, [[key] for key in response_ids(assignment.task)])
    measures.fold_due()
    queue.withdraw(assignment_id=assignment.pk, labeler=cast.labeler, draft={})
    measures.fold_due()
    assert stored_sums(cast.project) == {}


def test_what_the_consensus_clears_before_it_was_folded_is_handed_over(cast: Cast) -> None:
    task = pair(cast.project)
    measures.fold_due()
    judged(task, cast.labeler, "A > B")
    # As after an import that took an hour to appear: too old to be looked for.
    Task.objects.filter(pk=task.pk).update(consensus_stale_at=timezone.now() - timedelta(hours=1))
    assert measures.fold_due() == 0
    consensus.refresh_due()
    assert MeasureChange.objects.get().task_id == task.pk
    assert measures.fold_due() == 1
    assert total(cast.project)["judgments"] == 1


def test_what_was_folded_is_not_handed_over_again(cast: Cast) -> None:
    judged(pair(cast.project), cast.labeler, "A > B")
    assert measures.fold_due() == 1
    consensus.refresh_due()
    assert not MeasureChange.objects.exists()
    assert measures.fold_due() == 0


def test_a_judgment_that_comes_while_its_task_is_read_is_folded_by_the_next_run(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = pair(cast.project)
    judged(task, cast.labeler, "A > B")
    read = folding.facts.read

    def late(*read_by: Any) -> object:
        found = read(*read_by)
        monkeypatch.setattr(folding.facts, "read", read)
        judged(task, cast.second_labeler, "A > B")
        return found

    measures.fold_due(seconds=0)
    monkeypatch.setattr(folding.facts, "read", late)
    measures.judgments_changed([task.pk])
    measures.fold_due()
    assert total(cast.project)["judgments"] == 2
    assert stored_sums(cast.project) == from_scratch(cast.project)


def test_a_job_whose_lease_another_one_took_writes_nothing(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    measures.fold_due()
    task = pair(cast.project)
    judged(task, cast.labeler, "A > B")
    read = folding.facts.read

    def taken(*read_by: Any) -> object:
        MeasuresState.objects.filter(project=cast.project).update(token=uuid.uuid4())
        return read(*read_by)

    monkeypatch.setattr(folding.facts, "read", taken)
    assert measures.fold_due() == 0
    assert not TaskMeasures.objects.exists()
    assert stored_sums(cast.project) == {}
    monkeypatch.setattr(folding.facts, "read", read)
    assert measures.fold_due() == 0  # the other one's lease lasts
    MeasuresState.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert measures.fold_due() == 1


def test_computing_from_scratch_goes_on_where_it_stopped_and_repairs_the_sums(cast: Cast) -> None:
    tasks = [pair(cast.project, number) for number in range(25)]
    for task in tasks:
        judged(task, cast.labeler, "A > B")
    measures.fold_due()
    right = stored_sums(cast.project)
    MeasureSums.objects.filter(cut="labeler").update(sums={"judgments": 77})
    measures.request_recompute(cast.project)
    measures.fold_due(seconds=0)
    state = MeasuresState.objects.get(project=cast.project)
    assert state.recompute_after is not None
    assert 0 < state.recompute_after < tasks[-1].pk
    assert PeriodReport(cast.project, Period.last_days(1)).by_labeler[cast.labeler.pk].judgments == 77
    measures.fold_due()
    assert stored_sums(cast.project) == right
    assert set(MeasureSums.objects.values_list("generation", flat=True)) == {state.generation + 1}


def test_the_command_computes_from_scratch(cast: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    judged(pair(cast.project), cast.labeler, "A > B")
    measures.fold_due()
    MeasureSums.objects.update(sums={})
    call_command("recompute_measures", "kindness")
    assert total(cast.project)["judgments"] == 1
    assert "1 tasks in" in capsys.readouterr().out


def test_gold_rewards_lengths_and_places(cast: Cast) -> None:
    task = make_comparison(cast.project, "Question?", ("One.", "Two, longer.", "Three, the longest."))
    one, two, three = response_ids(task)
    Task.objects.filter(pk=task.pk).update(gold_tiers=[[one], [two], [three]])
    judged(task, cast.labeler, "A > C > B", shown="CAB")
    measures.store_scores({one: 0.3, two: 0.1, three: 0.5}, scorer="reward v1")
    measures.fold_due()
    found = PeriodReport(cast.project, Period.last_days(1)).total
    assert (found.gold.hits, found.gold.total) == (2, 3)
    assert (found.reward.hits, found.reward.total) == (2, 3)
    assert (found.length.hits, found.length.total) == (1, 3)
    assert (found.position.hits, found.position.total) == (2, 3)
    measures.store_scores({one: 0.9}, scorer="reward v2")
    measures.fold_due()
    assert PeriodReport(cast.project, Period.last_days(1)).total.reward.hits == 3


Step = tuple[str, int, int, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["judge"] * 4 + ["withdraw", "fold", "consensus", "gold", "scratch", "leave out", "count again"]
        ),
        st.integers(0, 2),
        st.integers(0, 3),
        st.integers(0, len(ORDERS) - 1),
        st.integers(0, 70),
    ),
    min_size=1,
    max_size=25,
)

LEFT_OUT: list[Step] = [("judge", 0, 0, 0, 1), ("judge", 1, 0, 1, 2), ("fold", 0, 0, 0, 0), ("leave out", 0, 0, 0, 70)]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=STEPS)
@example(history=LEFT_OUT)
@example(history=[*LEFT_OUT, ("fold", 0, 0, 0, 0), ("count again", 0, 0, 0, 0)])
def test_after_any_history_the_sums_are_those_from_scratch(cast: Cast, history: list[Step]) -> None:
    with transaction.atomic():
        criteria = [{"name": "quality", "label": "Quality", "min": 1, "max": 3}]
        edit_project(project=cast.project, by=cast.manager, criteria=criteria)
        third = User.objects.filter(username="third").first() or make_user("third")
        labelers = [cast.labeler, cast.second_labeler, third]
        texts = ("One.", "Two, longer.", "Three, the longest.")
        tasks = [make_comparison(cast.project, f"Question {number}?", texts) for number in range(4)]
        for step in history:
            carry_out(step, labelers=labelers, tasks=tasks)
        measures.fold_due()
        kept = stored_sums(cast.project)
        assert kept == from_scratch(cast.project)
        assert_sums_are_those_of_the_judgments(cast.project)
        transaction.set_rollback(True)


def carry_out(step: Step, *, labelers: list[User], tasks: list[Task]) -> None:
    name, who, which, order, days = step
    labeler, task = labelers[who], tasks[which]
    given = Judgment.objects.filter(task=task, labeler=labeler).select_related("assignment__project").first()
    if name == "judge":
        when = timezone.now() - timedelta(days=days)
        ratings = {key: {"quality": 1 + (order + place) % 3} for place, key in enumerate(response_ids(task))}
        values = {"seconds": 2.5 * days, "ratings": ratings}
        if given is None:
            judged(task, labeler, ORDERS[order], at=when, **values)
        else:
            ids = response_ids(task)
            hand_in(given.assignment, tiers=[[ids[order % 3]], [ids[(order + 1) % 3]]], **values)
    elif name == "withdraw" and given is not None:
        with suppress(Refused):
            queue.withdraw(assignment_id=given.assignment_id, labeler=labeler, draft={})
    elif name == "fold":
        measures.fold_due()
    elif name == "consensus":
        consensus.refresh_due()
    elif name == "gold":
        Task.objects.filter(pk=task.pk).update(gold_tiers=[[key] for key in response_ids(task)])
        measures.judgments_changed([task.pk])
    elif name == "scratch":
        measures.request_recompute(task.project)
    elif name == "leave out":
        since = timezone.now() - timedelta(days=days)
        with suppress(Refused):
            manager = User.objects.get(username="manager")
            review.leave_out(project=task.project, labeler=labeler, since=since, reason="Hasty.", by=manager)
    elif name == "count again" and (left_out := JudgmentExclusion.objects.filter(undone_at=None).last()) is not None:
        review.count_again(exclusion=left_out, by=User.objects.get(username="manager"))


def assert_sums_are_those_of_the_judgments(project: Project) -> None:
    """Counts and agreement, computed from the records in another way."""
    counting = Judgment.objects.filter(project=project, latest__isnull=False, left_out=None)
    rows = counting.select_related("latest")
    by_task: dict[int, list[Ordering]] = {}
    for judgment in rows:
        assert judgment.latest is not None
        by_task.setdefault(judgment.task_id, []).append(Ordering.stored(judgment.latest.tiers))
    hits = pairs = 0
    for orderings in by_task.values():
        for one, other in combinations(orderings, 2):
            both = set(one.ranks()) & set(other.ranks())
            for a, b in combinations(sorted(both), 2):
                said = [
                    "a" if (a, b) in ordering.pairs() else "b" if (b, a) in ordering.pairs() else "tie"
                    for ordering in (one, other)
                ]
                pairs, hits = pairs + 1, hits + (said[0] == said[1])
    report = PeriodReport(project, Period.everything(project))
    assert (report.total.judgments, report.total.agreement.hits, report.total.agreement.total) == (
        len(rows),
        hits,
        pairs,
    )
    by_labeler = {labeler: found.judgments for labeler, found in report.by_labeler.items() if found.judgments}
    assert by_labeler == {
        labeler: rows.filter(labeler=labeler).count() for labeler in set(rows.values_list("labeler", flat=True))
    }
