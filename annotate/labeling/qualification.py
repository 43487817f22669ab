"""Where a labeler is with a project's qualification exam, and whether they may be given live work (see exam.py)."""

from dataclasses import dataclass

from django.db.models import QuerySet

from annotate.models import ExamAttempt, Project, Task, User
from annotate.people.permissions import Capability, can


@dataclass(frozen=True, kw_only=True)
class ExamProgress:
    """Where somebody is with a project's exam. `attempts_left` counts those not begun; None where there is no exam."""

    qualified: bool
    attempts: tuple[ExamAttempt, ...]
    open_attempt: ExamAttempt | None
    attempts_left: int | None

    @property
    def last(self) -> ExamAttempt | None:
        """The latest finished attempt."""
        return next((attempt for attempt in reversed(self.attempts) if attempt.finished_at), None)


def is_on(project: Project) -> bool:
    """Whether one has to pass an exam here: a threshold is set and there is something to ask."""
    return project.exam_threshold is not None and items(project).exists()


def items(project: Project) -> QuerySet[Task]:
    return Task.objects.filter(project=project, state=Task.State.EXAM).order_by("pk")


def is_qualified(*, user: User, project: Project) -> bool:
    """Whether this person may be given live work. Managers needn't pass: they know the gold orderings."""
    if project.exam_threshold is None:
        return True
    if counting(user, project).filter(passed=True).exists():
        return True
    return can(user, Capability.MANAGE, project) or not is_on(project)


def exam_progress(*, user: User, project: Project) -> ExamProgress:
    attempts = tuple(counting(user, project).order_by("pk"))
    unfinished = next((attempt for attempt in attempts if attempt.finished_at is None), None)
    taken = sum(attempt.number > 0 for attempt in attempts)
    return ExamProgress(
        qualified=is_qualified(user=user, project=project),
        attempts=attempts,
        open_attempt=unfinished,
        attempts_left=max(0, project.exam_attempts - taken) if is_on(project) else None,
    )


def counting(user: User, project: Project) -> QuerySet[ExamAttempt]:
    """The attempts, and waivers, that no manager has annulled."""
    return ExamAttempt.objects.filter(labeler=user, project=project, annulled=False)
