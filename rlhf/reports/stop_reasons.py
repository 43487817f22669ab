"""Why a training run ended before its time, in the reader's language, and which weights it left as the model."""

from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from rlhf.models import TrainingRun

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

REASONS: dict[str, "StrOrPromise"] = {
    "max_kl": gettext_lazy("It ended early: the policy had gone further from its reference than allowed."),
    "min_entropy": gettext_lazy("It ended early: the policy had come to say nearly the same every time."),
    "min_length": gettext_lazy("It ended early: answers had become nearly empty."),
    "zero_variance_patience": gettext_lazy("It ended early: all answers scored alike, so there was nothing to learn."),
    "patience": gettext_lazy("It ended early: the reward on held-out prompts had not been better for too long."),
    "diverged": gettext_lazy("It ended early: training diverged. A smaller learning rate may help."),
}


def sentence(run: TrainingRun) -> str:
    """What to say of a run that stopped itself; empty where it didn't."""
    reason = REASONS.get(str(run.result.get("stopped_by")))
    if reason is None:
        return ""
    step = run.result.get("best_step")
    if isinstance(step, int):
        kept = _("The model is that of step %(step)s, the best one on held-out prompts.") % {"step": step}
    else:
        kept = _("The model is the last one that was still within bounds.")
    return f"{reason} {kept}"
