"""Access rules for runs, model versions, rounds and evaluations: see annotate.access."""

from django.utils.translation import gettext_lazy

from annotate import access
from annotate.access import Rule
from annotate.models import AILabeler
from annotate.people.permissions import Capability
from rlhf.models import (
    Delivery,
    HumanEvaluation,
    Iteration,
    ModelVersion,
    NotificationTarget,
    PlaygroundChat,
    TrainingRun,
)


def register() -> None:
    """Name the rules for runs, model versions, rounds and evaluations."""
    access.register(
        TrainingRun,
        Rule(
            capability=Capability.TRAIN,
            among=lambda project: project.training_runs.select_related(
                "produced", "snapshot", "iteration", "created_by"
            ).prefetch_related("run_inputs__version"),
            missing=gettext_lazy("There is no such run in this project."),
        ),
    )
    access.register(
        ModelVersion,
        Rule(
            capability=Capability.TRAIN,
            among=lambda project: project.model_versions.all(),
            missing=gettext_lazy("There is no such model in this project."),
        ),
    )
    access.register(
        AILabeler,
        Rule(
            capability=Capability.TRAIN,
            among=lambda project: project.ai_labelers.select_related("project", "judge__reward_model"),
            missing=gettext_lazy("There is no such AI labeler in this project."),
        ),
    )
    access.register(
        Iteration,
        Rule(
            capability=Capability.TRAIN,
            among=lambda project: project.iterations.all(),
            missing=gettext_lazy("There is no such round in this project."),
        ),
    )
    access.register(
        HumanEvaluation,
        Rule(
            capability=Capability.TRAIN,
            among=lambda project: project.human_evaluations.select_related("project", "created_by").prefetch_related(
                "evaluated__version", "evaluated__run"
            ),
            missing=gettext_lazy("There is no such evaluation in this project."),
        ),
    )
    access.register(
        NotificationTarget,
        Rule(
            capability=Capability.MANAGE,
            among=lambda project: NotificationTarget.objects.filter(project=project).select_related("project"),
            missing=gettext_lazy("There is no such address in this project."),
        ),
    )
    access.register(
        Delivery,
        Rule(
            capability=Capability.MANAGE,
            among=lambda project: Delivery.objects.filter(target__project=project).select_related("target__project"),
            missing=gettext_lazy("There is no such delivery in this project."),
        ),
    )
    access.register(
        PlaygroundChat,
        Rule(
            capability=Capability.TRAIN,
            among=lambda project: project.playground_chats.all(),
            owner=lambda chat: chat.user_id,
            refusal=gettext_lazy("This chat is somebody else’s."),
            missing=gettext_lazy("There is no such chat in this project."),
        ),
    )
