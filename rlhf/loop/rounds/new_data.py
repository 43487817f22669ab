"""How much is new to a project's loop since its last round."""

from django.db.models import Max

from annotate.models import Demonstration, Judgment, Project, Prompt
from rlhf.models import Stage, TrainingRun


def new_judgments(project: Project) -> int:
    """Number of judgments that count since those of the last round were frozen."""
    frozen = project.iterations.aggregate(last=Max("frozen_at"))["last"]
    judgments = project.judgments.filter(Judgment.COUNTED)
    return (judgments.filter(created_at__gt=frozen) if frozen else judgments).count()


def new_demonstrations(project: Project) -> int:
    """Number of demonstrations of train prompts since those of the last SFT step were frozen."""
    found = Demonstration.for_training(project).filter(prompt__split=Prompt.Split.TRAIN)
    steps = project.training_runs.filter(
        stage=Stage.SFT, iteration__isnull=False, status=TrainingRun.Status.SUCCEEDED, snapshot__isnull=False
    )
    trained = steps.aggregate(last=Max("snapshot__created_at"))["last"]
    return (found.filter(created_at__gt=trained) if trained else found).count()
