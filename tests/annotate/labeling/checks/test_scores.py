"""Scores of hidden checks: by the job, from the latest revision, and where their judgments count."""

from datetime import timedelta

import pytest
from django.utils import timezone

from annotate.data import snapshots
from annotate.errors import Refused
from annotate.labeling import queue
from annotate.labeling.checks import calibration, scores
from annotate.labeling.checks.lane import REPEAT_GAP
from annotate.models import Judgment, QualityCheck, Task, TaskConsensus
from annotate.quality import consensus, measures, project_figures, review
from annotate.quality.labeler_progress import LabelerProgress, TotalProgress
from annotate.quality.measures.report import Period, PeriodReport
from rlhf.loop.rounds import new_data
from tests.factories.cast import judge, make_comparison, response_ids


def checks() -> list[tuple[str, float]]:
    return list(QualityCheck.objects.order_by("judgment").values_list("kind", "score"))


def test_a_gold_judgment_is_scored_by_the_known_pairs_and_again_when_it_is_revised_or_taken_back(
    cast, make_gold, settings_of, claim
):
    settings_of(gold_rate=1.0)
    a, b, c, d = response_ids(make_gold())
    held = claim()
    receipt = judge(held, [[b], [a], [c], [d]])
    assert checks() == []
    assert scores.refresh_due() == 1
    assert checks() == [("gold", pytest.approx(5 / 6))]
    check = QualityCheck.objects.get()
    assert (check.labeler, check.project, check.created_at) == (cast.labeler, cast.project, receipt.judgment.created_at)
    queue.withdraw(assignment_id=held.pk, labeler=cast.labeler, draft={})
    scores.refresh_due()
    assert checks() == []
    judge(held, [[a], [b], [c], [d]])
    judge(held, [[d], [c], [b], [a]])
    scores.refresh_due()
    assert checks() == [("gold", 0.0)]
    judge(held, [], all_unacceptable=True)
    scores.refresh_due()
    assert checks() == [("gold", 0.0)]
    assert scores.refresh_due() == 0


@pytest.mark.parametrize(
    ("second", "score"),
    [
        (lambda a, b, c, d: {"tiers": [[a], [b], [c], [d]]}, 1.0),
        (lambda a, b, c, d: {"tiers": [[b], [a], [c], [d]]}, 5 / 6),
        (lambda a, b, c, d: {"tiers": [[d], [c], [b], [a]]}, 0.0),
        (lambda a, b, c, d: {"tiers": [], "all_unacceptable": True}, 0.0),
    ],
)
def test_a_repeat_is_scored_by_the_pairs_that_are_as_before(cast, settings_of, work, claim, second, score):
    for number in range(REPEAT_GAP + 1):
        make_comparison(cast.project, f"Question {number}")
    work(REPEAT_GAP + 1)
    settings_of(repeat_rate=1.0)
    held = claim()
    first = Judgment.objects.get(task=held.task.repeat_of)
    order = [key for (key,) in first.latest.tiers]
    values = second(*order)
    judge(held, values.pop("tiers"), **values)
    scores.refresh_due()
    assert checks() == [("repeat", pytest.approx(score))]


def test_a_calibration_judgment_is_scored_against_the_consensus_of_all_others(cast, claim):
    calibration.add(task=(task := make_comparison(cast.project)), by=cast.manager)
    cast.project.refresh_from_db()
    # Those who judged it before count as well, as the ordinary judgments that they are.
    a, b, c, d = response_ids(task)
    given = {
        cast.labeler: [[a], [b], [c], [d]],
        cast.second_labeler: [[a], [b], [c], [d]],
        cast.reviewer: [[d], [b], [c], [a]],
    }
    for number, (labeler, tiers) in enumerate(given.items(), start=1):
        # It comes by one of the first draws, and ordinary tasks meanwhile.
        for other in range(12):
            make_comparison(cast.project, f"Another {number} {other}")
        while (held := claim(labeler)).task_id != task.pk:
            judge(held, [[key] for key in held.presentation])
        judge(held, tiers)
        scores.refresh_due()
        if number < 3:
            assert checks() == []
    found = dict(QualityCheck.objects.filter(kind="calibration").values_list("labeler", "score"))
    assert found[cast.reviewer.pk] == pytest.approx(1 / 6)
    assert found[cast.labeler.pk] == found[cast.second_labeler.pk]
    assert found[cast.labeler.pk] > found[cast.reviewer.pk]


def test_judgments_of_checks_are_no_data_and_count_as_work(cast, make_gold, settings_of, work, claim):
    """Whatever a manager, a snapshot or the loop counts is what was given through the queue."""
    settings_of(gold_rate=1.0)
    make_gold()
    held = claim()
    judge(
        held,
        [[key] for key in held.presentation],
        content={"improved": {"response": held.presentation[0], "text": "Better."}},
    )
    scores.refresh_due()
    consensus.refresh_due()
    assert Judgment.objects.get().is_check
    with pytest.raises(Refused):
        snapshots.freeze(project=cast.project, kind="rankings")
    with pytest.raises(Refused):
        snapshots.freeze(project=cast.project, kind="demonstrations")
    assert not TaskConsensus.objects.exists()
    counts = project_figures.count(cast.project)
    assert (counts.judgments, counts.tasks_open, counts.tasks_complete, counts.demonstrations) == (0, 0, 0, 0)
    assert not review.unreviewed(cast.project).exists()
    assert new_data.new_judgments(cast.project) == 0
    assert TotalProgress.of(cast.labeler).total == 1
    assert LabelerProgress(labeler=cast.labeler, project=cast.project).total == 1
    measures.fold_due()
    report = PeriodReport(cast.project, Period.last_days(1))
    assert (report.total.judgments, report.by_labeler[cast.labeler.pk].judgments) == (0, 1)
    make_comparison(cast.project)
    work(1)
    assert snapshots.freeze(project=cast.project, kind="rankings").rows == 1


def test_the_labelers_own_figure_says_nothing_of_today(cast, make_gold, settings_of, work):
    settings_of(gold_rate=1.0)
    for number in range(6):
        make_gold(f"Gold {number}")
    work(6)
    scores.refresh_due()
    measures.fold_due()
    assert LabelerProgress(labeler=cast.labeler, project=cast.project).against_gold is None
    Judgment.objects.update(created_at=timezone.now() - timedelta(days=1, hours=1))
    measures.judgments_changed(Task.objects.values_list("pk", flat=True))
    measures.fold_due()
    share = LabelerProgress(labeler=cast.labeler, project=cast.project).against_gold
    assert share is not None
    assert share.total == 36


def test_a_judgment_that_comes_while_the_job_is_at_it_is_scored_by_the_next_one(cast, make_gold, settings_of, claim):
    settings_of(gold_rate=1.0)
    task = make_gold()
    held = claim()
    judge(held, [[key] for key in response_ids(task)])
    marked = list(Task.objects.filter(checks_stale_at__isnull=False).select_related("project"))
    judge(held, [[key] for key in reversed(response_ids(task))])
    # The job has read the task before the revision: it stores nothing of it, and the mark stays.
    scores._refresh(cast.project, marked)
    assert checks() == []
    assert scores.refresh_due() == 1
    assert checks() == [("gold", 0.0)]
