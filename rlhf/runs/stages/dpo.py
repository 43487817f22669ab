"""Direct preference optimisation: a policy trained on a snapshot of rankings, without a reward model."""

from django.utils.translation import gettext_lazy, gettext_noop

from annotate.models import Snapshot
from rlhf.models import ModelVersion, Stage
from rlhf.runs.stages import reward
from rlhf.runs.stages.spec import Role, StageInput, StageSpec, none, reference_of_policy

SPEC = StageSpec(
    stage=Stage.DPO,
    title=gettext_lazy("Train policy (DPO)"),
    activity=gettext_noop("training on judgments"),
    inputs=(
        StageInput(role=Role.MODEL, default=reference_of_policy),
        # Without it the initial model is the reference.
        StageInput(role=Role.REFERENCE, default=none, is_required=False),
    ),
    snapshot=Snapshot.Kind.RANKINGS,
    data=reward.data,
    kind=ModelVersion.Kind.POLICY,
)
