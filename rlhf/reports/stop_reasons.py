"""Why a run stopped early, and which weights its model has."""

from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from rlhf.models import TrainingRun

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

REASONS: dict[str, "StrOrPromise"] = {
    "max_kl": gettext_lazy("Stopped early: the KL divergence exceeded max_kl."),
    "min_entropy": gettext_lazy("Stopped early: the entropy fell below min_entropy."),
    "min_length": gettext_lazy("Stopped early: the mean response length fell below min_length."),
    "zero_variance_patience": gettext_lazy("Stopped early: all responses of several iterations had the same score."),
    "patience": gettext_lazy("Stopped early: the held-out reward did not improve within patience."),
    "diverged": gettext_lazy("Stopped early: training diverged. A smaller learning rate may help."),
}


def sentence(run: TrainingRun) -> str:
    """Why a run stopped early; empty where it didn't."""
    reason = REASONS.get(str(run.result.get("stopped_by")))
    if reason is None:
        return ""
    step = run.result.get("best_step")
    if isinstance(step, int):
        kept = _("The model has the weights of step %(step)s, the best on held-out prompts.") % {"step": step}
    else:
        kept = _("The model has the last weights within the bounds.")
    return f"{reason} {kept}"
