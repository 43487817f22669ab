"""Review: the judgments of labelers looked at, decided between, left out, and their tasks given out again.

judgments.py      accepted or returned by reviewers; tasks reported by labelers
adjudication.py   a reviewer decides between the orders of a task
exclusions.py     a labeler's judgments left out since a date
reopening.py      judged tasks given out again, by a filter
batch_changes.py  how the last two are carried out beside people at work
"""

from typing import Any

from annotate.models import JudgmentExclusion, TaskReopening
from annotate.quality.review import exclusions, reopening
from annotate.quality.review.batch_changes import Job
from annotate.quality.review.exclusions import count_again, leave_out
from annotate.quality.review.judgments import accept, open_returns, report, resolve, send_back, unreviewed

JOBS: dict[str, Job[Any]] = {
    str(JudgmentExclusion._meta.model_name): exclusions.JOB,
    str(TaskReopening._meta.model_name): reopening.JOB,
}
"""By the names that messages to workers carry."""

__all__ = [
    "JOBS",
    "accept",
    "count_again",
    "leave_out",
    "open_returns",
    "report",
    "resolve",
    "send_back",
    "unreviewed",
]
