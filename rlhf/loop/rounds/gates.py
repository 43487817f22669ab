"""Gates of a round: bounds that its models must keep. What was measured is stored with the round."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import TextChoices
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, override

from annotate.data.stored_messages import StoredMessage
from rlhf.models import Iteration, LoopSettings, TrainingRun
from rlhf.reports import stored

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

Step = Iteration.Step
PASSED, FAILED, NO_NUMBER = "passed", "failed", "no_number"
REPORT_GATE = "reward_report"
REPORT_LABEL = gettext_lazy("Reward model report")


class ReportGate(TextChoices):
    """Verdicts of the reward model's report that stop a round before PPO."""

    NONE = "", gettext_lazy("None")
    NO = "no", gettext_lazy("Stop on a negative verdict")
    UNSURE = "unsure", gettext_lazy("Stop unless the verdict is positive")


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A bound on a number of a step. is_minimum: values below the bound stop the round; otherwise those above."""

    label: "StrOrPromise"
    title: "StrOrPromise"
    step: str
    is_minimum: bool
    highest: float | None = None

    def is_kept(self, value: float, bound: float) -> bool:
        return value >= bound if self.is_minimum else value <= bound


GATES: dict[str, Gate] = {
    "reward_accuracy": Gate(
        label=gettext_lazy("Minimum accuracy of the reward model"),
        title=gettext_lazy("Accuracy of the reward model"),
        step=Step.REWARD,
        is_minimum=True,
        highest=1.0,
    ),
    "newest_accuracy": Gate(
        label=gettext_lazy("Minimum accuracy on the newest judgments"),
        title=gettext_lazy("Accuracy on the newest judgments"),
        step=Step.REWARD,
        is_minimum=True,
        highest=1.0,
    ),
    "kl": Gate(
        label=gettext_lazy("Maximum KL divergence of the policy"),
        title=gettext_lazy("KL divergence of the policy"),
        step=Step.PPO,
        is_minimum=False,
    ),
    "length": Gate(
        label=gettext_lazy("Maximum mean response length (tokens)"),
        title=gettext_lazy("Mean response length"),
        step=Step.PPO,
        is_minimum=False,
    ),
    "win_rate": Gate(
        label=gettext_lazy("Minimum lower bound of the win rate by people"),
        title=gettext_lazy("Win rate by people, lower bound"),
        step=Step.EVALUATE,
        is_minimum=True,
        highest=1.0,
    ),
}


class GateFailed(Exception):
    """The round stops here, for a reason."""

    def __init__(self, reason: StoredMessage) -> None:
        super().__init__(reason)
        self.reason = reason


def bound_of(settings: LoopSettings, name: str) -> float | None:
    bound = settings.gates.get(name)
    return None if bound is None else float(bound)


def check(iteration: Iteration, settings: LoopSettings, name: str, value: float | None) -> None:
    """Note what was measured at a gate with a bound. Raises GateFailed where the value is beyond it, or missing."""
    bound = bound_of(settings, name)
    if bound is None:
        return
    if value is None:
        _note(iteration, name, value=None, bound=bound, verdict=NO_NUMBER)
        raise GateFailed(StoredMessage("gate_without_number", {"gate": {"message": _untranslated(GATES[name].title)}}))
    kept = GATES[name].is_kept(value, bound)
    _note(iteration, name, value=value, bound=bound, verdict=PASSED if kept else FAILED)
    if not kept:
        raise GateFailed(StoredMessage(f"gate_{name}", {"value": f"{value:.3g}", "bound": f"{bound:g}"}))


def check_report(iteration: Iteration, settings: LoopSettings, run: TrainingRun) -> None:
    """Raise GateFailed on a negative verdict, or, if the gate requires it, on any verdict that isn't positive.

    The verdict is stored with the round as data, so that `loop.why_ended` words it in the reader's language.
    """
    gate = settings.gates.get(REPORT_GATE)
    if not gate:
        return
    is_ready = run.result.get("ready_for_ppo")
    stops = is_ready is not True if gate == ReportGate.UNSURE else is_ready is False
    _note(iteration, REPORT_GATE, value=None, bound=gate, verdict=FAILED if stops else PASSED)
    if not stops:
        return
    if (report := stored.load(run)) is not None:
        iteration.numbers |= {"verdict": {name: report["verdict"][name] for name in ("code", "values", "sentence")}}
    verdict = run.result.get("verdict")
    raise GateFailed(StoredMessage("as_written", {"sentence": verdict}) if verdict else StoredMessage("no_report"))


def newest_accuracy(run: TrainingRun) -> float | None:
    """Accuracy of a run's reward model on held-out judgments that were new to the one of the round before.

    In a project's first round all judgments are new. None where none of the newest is held out.
    """
    report = stored.load(run)
    newest = (report or {}).get("newest")
    if newest is None:
        return run.result.get("accuracy")
    return newest["now"]["accuracy"]


def shown(iteration: Iteration) -> list[dict[str, Any]]:
    """The gates of a round for its page: {title, value, bound, verdict, is_minimum}."""
    rows = []
    for noted in iteration.gates:
        gate = GATES.get(noted["name"])
        rows.append(
            {
                "title": gate.title if gate else REPORT_LABEL,
                "is_minimum": gate.is_minimum if gate else None,
                "verdict": noted["verdict"],
                "value": None if noted["value"] is None else f"{noted['value']:.3g}",
                "bound": f"{noted['bound']:g}" if gate else ReportGate(noted["bound"]).label,
                "said": SAID[noted["verdict"]],
            }
        )
    return rows


SAID = {
    PASSED: gettext_lazy("Passed"),
    FAILED: gettext_lazy("Stopped the round"),
    NO_NUMBER: gettext_lazy("Not measured: stopped the round"),
}


def waiting(iteration: Iteration, settings: LoopSettings) -> list[str]:
    """The gates that are still to come, worded."""
    measured = {noted["name"] for noted in iteration.gates}
    return [
        (_("%(gate)s: at least %(bound)s") if gate.is_minimum else _("%(gate)s: at most %(bound)s"))
        % {"gate": gate.title, "bound": f"{bound:g}"}
        for name, gate in GATES.items()
        if (bound := bound_of(settings, name)) is not None and name not in measured
    ]


def _note(iteration: Iteration, name: str, **values: Any) -> None:
    iteration.gates = [noted for noted in iteration.gates if noted["name"] != name] + [{"name": name, **values}]


def _untranslated(title: "StrOrPromise") -> str:
    """The message of the catalogue, which is stored."""
    with override("en"):
        return str(title)
