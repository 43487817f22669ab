"""Labelers at work at once, from two windows each, while a manager removes gold tasks and switches the rate off."""

import uuid
from typing import Any

import pytest
from django.db.models import Count

from annotate.labeling import queue
from annotate.labeling.checks import gold, scores
from annotate.models import Assignment, Judgment, Project, QualityCheck, Task
from tests.annotate.labeling.test_queue_concurrency import at_once, make_project
from tests.factories.cast import make_comparison, response_ids

pytestmark = pytest.mark.django_db(transaction=True)


def test_nothing_is_lost_or_given_twice_while_gold_tasks_come_and_go() -> None:
    project, labelers = make_project(overlap=2, labelers=3)
    Project.objects.filter(pk=project.pk).update(gold_rate=0.4)
    project.refresh_from_db()
    manager = project.memberships.get(role="manager").user
    tasks = [make_comparison(project, f"Question {number}", ("Yes.", "No.")) for number in range(16)]
    golds = tasks[:6]
    for task in golds:
        gold.promote(task=task, tiers=[[key] for key in response_ids(task)], by=manager)

    def work(labeler: Any) -> int:
        done = 0
        while (held := queue.claim_next(labeler=labeler, project=Project.objects.get(pk=project.pk))) is not None:
            submission = queue.Submission(client_id=uuid.uuid4(), tiers=[[key] for key in held.presentation])
            receipt = queue.submit(assignment_id=held.pk, labeler=labeler, submission=submission)
            done += not receipt.revised
        return done

    def manage() -> int:
        for task in golds[:3]:
            gold.remove(task=Task.objects.get(pk=task.pk), by=manager)
        Project.objects.filter(pk=project.pk).update(gold_rate=0.0)
        return 0

    windows = [lambda labeler=labeler: work(labeler) for labeler in labelers for _ in range(2)]
    done = sum(at_once([*windows, manage]))
    for labeler in labelers:  # what was put back after they had come to the end
        done += work(labeler)
    judged = Judgment.objects.filter(project=project)
    assert judged.count() == done == Assignment.objects.filter(state=Assignment.State.SUBMITTED).count()
    assert not judged.values("task", "labeler").annotate(count=Count("pk")).filter(count__gt=1).exists()
    for task in Task.objects.filter(project=project).exclude(state=Task.State.GOLD):
        counted = judged.filter(Judgment.COUNTED, task=task).count()
        assert (task.judgments_given, task.slots_free) == (counted, 2 - counted)
    ordinary = [task.pk for task in tasks[6:]]
    assert set(Task.objects.filter(pk__in=ordinary).values_list("state", "judgments_given")) == {("complete", 2)}
    scores.refresh_due()
    assert QualityCheck.objects.count() == judged.filter(is_check=True).count()
