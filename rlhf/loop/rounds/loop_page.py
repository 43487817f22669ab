"""What the page of the loop shows: the steps of the round, why it waits, what comes next and when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from annotate.models import Project
from rlhf.loop import loop
from rlhf.loop.rounds import forecast, gates, loop_circle, new_data, step_handlers
from rlhf.models import Iteration, LoopSettings, TrainingRun
from rlhf.runs.queues import waiting_order, workers

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

Step = Iteration.Step
State = Iteration.State

DONE, NOW, NEXT, SKIPPED, STOPPED = "done", "now", "next", "skipped", "stopped"
STATE_WORDS = {
    DONE: gettext_lazy("Done"),
    NOW: gettext_lazy("Now"),
    NEXT: gettext_lazy("Next"),
    SKIPPED: gettext_lazy("Skipped"),
    STOPPED: gettext_lazy("Ended here"),
}
TITLES: dict[str, "StrOrPromise"] = {
    Step.WAIT: gettext_lazy("Wait for new judgments"),
    Step.SNAPSHOT: gettext_lazy("Freeze the judgments"),
    Step.SFT: gettext_lazy("Fine-tune on demonstrations"),
    Step.REWARD: gettext_lazy("Train the reward model"),
    Step.PPO: gettext_lazy("Train the policy"),
    Step.EVALUATE: gettext_lazy("Compare the policies by people"),
    Step.PROMOTE: gettext_lazy("Promote the policy by hand"),
    Step.SAMPLE: gettext_lazy("Sample new responses"),
}
LOST = {
    Step.SFT: gettext_lazy("Its training so far is lost. The round goes on from the SFT or base model in use."),
    Step.REWARD: gettext_lazy("Its training so far is lost. PPO uses the reward model in use."),
    Step.PPO: gettext_lazy("Its training so far is lost. The round brings no policy and samples the one in use."),
    Step.EVALUATE: gettext_lazy(
        "The evaluation is cancelled: what was judged is kept, and the gate of the win rate is not measured."
    ),
    Step.PROMOTE: gettext_lazy("The new policy is not put into use. It stays in the registry."),
    Step.SAMPLE: gettext_lazy(
        "The round ends without the responses that are still missing, and labelers get no tasks of them."
    ),
}
"""What is lost with a step that is skipped. Of a step that isn't here, nothing."""


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """A step of a round. runs: of training and sampling; expected: when it begins or ends, in words."""

    step: str
    title: "StrOrPromise"
    state: str
    detail: str = ""
    expected: str = ""
    runs: Sequence[TrainingRun] = ()

    @property
    def state_word(self) -> "StrOrPromise":
        return STATE_WORDS[self.state]


@dataclass(frozen=True, kw_only=True)
class LoopPage:
    """sentence: what the loop does or waits for. next: what it will do, in order."""

    iteration: Iteration | None
    is_active: bool
    is_paused: bool
    level: str
    sentence: str
    next: str
    steps: Sequence[StepRow]
    nodes: Sequence[loop_circle.Node]
    arrows: Sequence[loop_circle.Arrow]
    gates: Sequence[Mapping[str, object]]
    gates_to_come: Sequence[str]
    num_new: int
    wanted: int
    lost: "StrOrPromise" = ""
    skip_label: "StrOrPromise" = ""

    @property
    def missing(self) -> int:
        return max(0, self.wanted - self.num_new)


def of(project: Project) -> LoopPage:
    settings = LoopSettings.of(project)
    latest = (
        project.iterations.order_by("-number")
        .select_related("snapshot", "evaluation", "policy_version", "reward_version", "sft_version")
        .prefetch_related("runs")
        .first()
    )
    is_active = latest is not None and latest.state == State.ACTIVE
    num_new = new_data.new_judgments(project)
    is_waiting = latest is not None and is_active and latest.step == Step.WAIT
    # Beyond its wait a round has what it needs: what comes in now is for the next one.
    wanted = latest.judgments_wanted if latest and is_waiting else settings.judgments_per_round
    per_hour = forecast.judgments_per_hour(project)
    steps = _steps(latest, settings, num_new=num_new, per_hour=per_hour) if latest is not None else []
    sentence, level = _sentence(latest if is_active else None, settings, num_new=num_new, per_hour=per_hour)
    if latest is not None and not is_active and (reason := loop.why_ended(latest)):
        ended = _("Round %(number)s: %(state)s.") % {
            "number": latest.number,
            "state": latest.get_state_display().lower(),
        }
        sentence, level = f"{ended} {reason} {sentence}", "error" if latest.state == State.FAILED else "warn"
    return LoopPage(
        iteration=latest,
        is_active=is_active,
        is_paused=settings.paused_at is not None,
        level="warn" if settings.paused_at else level,
        sentence=sentence,
        next=_next(latest, settings, steps, is_active=is_active),
        steps=steps,
        nodes=loop_circle.nodes(project),
        arrows=loop_circle.arrows(project, latest if is_active else None, settings, num_new=num_new, wanted=wanted),
        gates=gates.shown(latest) if latest is not None else [],
        gates_to_come=gates.waiting(latest, settings) if latest and is_active else [],
        num_new=num_new,
        wanted=wanted,
        lost=LOST.get(Step(latest.step), "") if latest and is_active else "",
        skip_label=skip_label(latest.step)
        if latest and is_active and step_handlers.can_be_skipped(latest.step)
        else "",
    )


def skip_label(step: str) -> "StrOrPromise":
    """What the button says that skips a step."""
    if step == Step.WAIT:
        return _("Don’t wait: begin now")
    if step == Step.PROMOTE:
        return _("Go on without it")
    return _("Skip this step")


def _planned(iteration: Iteration, settings: LoopSettings) -> list[str]:
    """The steps of a round in order, those that it takes or may take."""
    has_win_rate = gates.bound_of(settings, "win_rate") is not None
    optional = {
        Step.WAIT: bool(iteration.judgments_wanted),
        Step.SFT: iteration.step == Step.SFT or iteration.sft_version_id is not None or Step.SFT in iteration.skipped,
        Step.EVALUATE: iteration.step == Step.EVALUATE or iteration.evaluation_id is not None or has_win_rate,
        Step.PROMOTE: iteration.step == Step.PROMOTE or settings.promotion == LoopSettings.PromotionBy.HAND,
    }
    return [step for step in TITLES if optional.get(Step(step), True)]


def _steps(iteration: Iteration, settings: LoopSettings, *, num_new: int, per_hour: float) -> list[StepRow]:
    rows = []
    order = list(TITLES)
    at = order.index(iteration.step) if iteration.step in order else len(order)
    stage_runs: dict[str, list[TrainingRun]] = {}
    for run in sorted(iteration.runs.all(), key=lambda run: run.pk):
        stage_runs.setdefault(run.stage, []).append(run)
    for step in _planned(iteration, settings):
        place = order.index(step)
        state = DONE if place < at else NEXT if place > at else NOW
        if step in iteration.skipped:
            state = SKIPPED
        elif state == NOW and iteration.state != State.ACTIVE:
            state = STOPPED
        elif state == NEXT and iteration.state != State.ACTIVE:
            continue
        of_stage = stage_runs.get(step_handlers.STAGE_OF.get(Step(step), ""), [])
        rows.append(
            StepRow(
                step=step,
                title=TITLES[step],
                state=state,
                detail="" if state == NEXT else _detail(step, iteration, num_new=num_new),
                expected=_expected(step, state, iteration, of_stage, num_new=num_new, per_hour=per_hour),
                runs=of_stage,
            )
        )
    return rows


def _detail(step: str, iteration: Iteration, *, num_new: int) -> str:
    """What a step came to, or what it has to do."""
    numbers = iteration.numbers
    if step == Step.WAIT:
        judged = (
            num_new if iteration.step == Step.WAIT and iteration.state == State.ACTIVE else iteration.judgments_wanted
        )
        return _("%(judged)s of %(wanted)s new judgments") % {"judged": judged, "wanted": iteration.judgments_wanted}
    if step == Step.SNAPSHOT and "judgments" in numbers:
        return _judgments(numbers["judgments"])
    if step == Step.SFT and "demonstrations" in numbers:
        return ngettext("%(n)d new demonstration", "%(n)d new demonstrations", numbers["demonstrations"]) % {
            "n": numbers["demonstrations"]
        }
    if step == Step.REWARD and numbers.get("reward_accuracy") is not None:
        return _("accuracy %(value)s") % {"value": f"{numbers['reward_accuracy']:.3f}"}
    if step == Step.PPO and numbers.get("kl") is not None:
        return _("KL %(value)s") % {"value": f"{numbers['kl']:.2f}"}
    if step == Step.EVALUATE and numbers.get("win_rate") is not None:
        return _("win rate %(value)s, at least %(low)s") % {
            "value": f"{numbers['win_rate']:.2f}",
            "low": f"{numbers['win_rate_low'] or 0:.2f}",
        }
    if step == Step.SAMPLE and numbers.get("tasks") is not None:
        return ngettext("%(n)d new task", "%(n)d new tasks", numbers["tasks"]) % {"n": numbers["tasks"]}
    return ""


def _judgments(count: int) -> str:
    return ngettext("%(n)d judgment", "%(n)d judgments", count) % {"n": count}


def _expected(
    step: str, state: str, iteration: Iteration, of_stage: Sequence[TrainingRun], *, num_new: int, per_hour: float
) -> str:
    """Of the current step when it ends; of a coming one how long it took before."""
    if state == NOW and step == Step.WAIT:
        return forecast.in_words(forecast.until_judged(max(0, iteration.judgments_wanted - num_new), per_hour=per_hour))
    stage = step_handlers.STAGE_OF.get(Step(step))
    if stage is None:
        return ""
    if state == NOW and of_stage and not of_stage[-1].ended:
        return forecast.in_words(forecast.seconds_left(of_stage[-1]))
    if state == NEXT and (usual := forecast.usual_seconds(iteration.project, stage)) is not None:
        return _("takes about %(time)s") % {"time": _lasting(usual)}
    return ""


def _lasting(seconds: float) -> str:
    if seconds < forecast.HOUR:
        number = max(1, round(seconds / forecast.MINUTE))
        return ngettext("%(n)d minute", "%(n)d minutes", number) % {"n": number}
    number = round(seconds / forecast.HOUR)
    return ngettext("%(n)d hour", "%(n)d hours", number) % {"n": number}


def _sentence(iteration: Iteration | None, settings: LoopSettings, *, num_new: int, per_hour: float) -> tuple[str, str]:
    """What the loop does or why it waits, and the level of its badge."""
    if settings.paused_at is not None:
        return _("The loop is paused: no step begins until somebody resumes it. Runs that have begun go on."), "warn"
    if iteration is None:
        return _between_rounds(settings, num_new=num_new, per_hour=per_hour), ""
    if iteration.step == Step.WAIT:
        missing = max(0, iteration.judgments_wanted - num_new)
        return _waits_for_judgments(missing, per_hour=per_hour), "warn"
    if iteration.step == Step.EVALUATE:
        return _waits_for_evaluation(iteration), "warn"
    if iteration.step == Step.PROMOTE:
        return _("The new policy waits for you: put it into use, or go on without it."), "warn"
    waiting = [run for run in iteration.runs.all() if not run.ended]
    said = _("%(step)s.") % {"step": iteration.get_step_display()}
    if waiting and all(run.status == TrainingRun.Status.QUEUED for run in waiting):
        return f"{said} {_waits_in_queue(waiting[0])}", "live"
    return said, "live"


def _waits_in_queue(run: TrainingRun) -> str:
    place, waiting = waiting_order.position(run)
    if not workers.is_listening(run.queue):
        return _("Its run waits for a worker.")
    return _("Its run waits in the queue %(queue)s: place %(place)d of %(all)d.") % {
        "queue": run.queue,
        "place": place,
        "all": waiting,
    }


def _between_rounds(settings: LoopSettings, *, num_new: int, per_hour: float) -> str:
    if not settings.enabled:
        return _("No round is in progress. Start one, or let rounds start automatically.")
    missing = max(0, settings.judgments_per_round - num_new)
    if not missing:
        return _("The next round starts within a minute.")
    return _waits_for_judgments(missing, per_hour=per_hour)


def _waits_for_judgments(missing: int, *, per_hour: float) -> str:
    if not missing:
        return _("Enough is judged: the round goes on within a minute.")
    said = ngettext(
        "The next round waits for %(n)d more judgment.", "The next round waits for %(n)d more judgments.", missing
    ) % {"n": missing}
    if per_hour <= 0:
        return said + " " + _("Nobody has judged anything in the last week.")
    when = forecast.in_words(forecast.until_judged(missing, per_hour=per_hour))
    at_pace = _("At the current pace of %(pace)s an hour it goes on %(when)s.")
    return said + " " + at_pace % {"pace": f"{per_hour:.3g}", "when": when}


def _waits_for_evaluation(iteration: Iteration) -> str:
    evaluation = iteration.evaluation
    if evaluation is None:
        return _("The gate of the win rate waits until another evaluation has ended.")
    found = evaluation.figures
    if not found:
        return _("Labelers are to compare the new policy with the one in use: its responses are being sampled.")
    return _("Labelers compare the new policy with the one in use: %(done)s of %(all)s prompts are judged.") % {
        "done": found["complete"],
        "all": found["prompts"],
    }


def _next(iteration: Iteration | None, settings: LoopSettings, steps: Sequence[StepRow], *, is_active: bool) -> str:
    coming = [str(row.title) for row in steps if row.state == NEXT]
    if is_active and coming:
        return coming[0]
    if is_active and iteration is not None and iteration.rounds_left:
        return _("Round %(number)s, which waits for %(wanted)s new judgments") % {
            "number": iteration.number + 1,
            "wanted": settings.judgments_per_round,
        }
    return ""
