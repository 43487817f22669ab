"""Access rules for runs, model versions and rounds: see annotate.access."""

from django.utils.translation import gettext_lazy

from annotate import access
from annotate.access import Rule
from annotate.people.permissions import Capability
from rlhf.models import Iteration, ModelVersion, TrainingRun


def register() -> None:
    """Name the rules for runs, model versions and rounds."""
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
        Iteration,
        Rule(
            capability=Capability.TRAIN,
            among=lambda project: project.iterations.all(),
            missing=gettext_lazy("There is no such round in this project."),
        ),
    )
