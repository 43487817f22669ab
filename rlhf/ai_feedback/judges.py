"""What an AI labeler judges with: created, and changed as a new version, which is to be measured anew."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from django.db import transaction
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.labeling import ai_judgments
from annotate.models import AILabeler, Project, User
from annotate.people import audit
from models_core.contract.settings import JudgeConfig
from models_core.contract.settings.ai_feedback import JUDGE_INSTRUCTIONS, JUDGE_RUBRIC
from rlhf.ai_feedback import endpoints
from rlhf.models import AIJudge, JudgePrompt, ModelVersion, Stage, TrainingRun
from rlhf.runs import runs

LONGEST_TEXT = 20_000
"""Characters of each part of a prompt."""


@dataclass(frozen=True, kw_only=True)
class PromptTexts:
    instructions: str = JUDGE_INSTRUCTIONS
    rubric: str = JUDGE_RUBRIC
    constitution: str = ""

    @classmethod
    def of(cls, prompt: JudgePrompt) -> Self:
        return cls(instructions=prompt.instructions, rubric=prompt.rubric, constitution=prompt.constitution)


def create(
    *, project: Project, name: str, endpoint: str = "", reward_model: ModelVersion | None = None, by: User | None
) -> AILabeler:
    """A new AI labeler that judges by an endpoint's chat model or by a reward model. Raises Refused."""
    if bool(endpoint) == (reward_model is not None):
        raise Refused(_("Choose a server or a reward model."), status=400)
    if reward_model is not None and reward_model.kind != ModelVersion.Kind.REWARD:
        raise Refused(_("%(model)s is no reward model.") % {"model": reward_model.label}, status=400)
    if endpoint:
        endpoints.find(endpoint)
    with transaction.atomic():
        labeler = ai_judgments.create(project=project, name=name, by=by)
        kind = AIJudge.Kind.ENDPOINT if endpoint else AIJudge.Kind.REWARD
        judge = AIJudge.objects.create(labeler=labeler, kind=kind, endpoint=endpoint, reward_model=reward_model)
        if endpoint:
            _add_prompt(judge, PromptTexts(), version=1, by=by)
    return labeler


def current_prompt(judge: AIJudge) -> JudgePrompt | None:
    return judge.prompts.order_by("-version").first()


def save_prompt(labeler: AILabeler, texts: PromptTexts, *, by: User | None) -> bool:
    """Store a changed prompt as the AI labeler's next version; False where nothing changed.

    What it judged before counts no more until the new version has been measured. Raises Refused while it judges.
    """
    with transaction.atomic():
        locked = _changeable(labeler)
        judge = locked.judge
        now = current_prompt(judge)
        if now is not None and PromptTexts.of(now) == texts:
            return False
        for part in (texts.instructions, texts.rubric):
            if not part.strip():
                raise Refused(_("Instructions and rubric are needed: the model is asked with them."), status=400)
        version = _next_version(locked)
        _add_prompt(judge, texts, version=version, by=by)
        audit.record(
            verb="ai_labeler.prompt_changed", actor=by, subject=locked, project=locked.project, version=version
        )
    return True


def save_settings(
    labeler: AILabeler,
    *,
    weight: float,
    least_agreement: float,
    least_tasks: int,
    config: Mapping[str, Any],
    by: User | None,
) -> None:
    """Store the bound, the weight, the budget and the limits. A stricter bound holds at once.

    Another served model is a new version. Raises Refused while it judges, and for settings out of range.
    """
    runs.checked_settings(JudgeConfig, config)
    with transaction.atomic():
        locked = _changeable(labeler)
        judge = locked.judge
        if (least_agreement, least_tasks) != (locked.least_agreement, locked.least_tasks):
            # To be decided again, by the new bound.
            locked.is_counted, locked.counted_use_cases = False, []
        locked.weight, locked.least_agreement, locked.least_tasks = weight, least_agreement, least_tasks
        locked.save(update_fields=["weight", "least_agreement", "least_tasks", "is_counted", "counted_use_cases"])
        if any(config.get(name) != judge.config.get(name) for name in ("served_model", "tie_margin")):
            version = _next_version(locked)
            if (prompt := current_prompt(judge)) is not None:
                _add_prompt(judge, PromptTexts.of(prompt), version=version, by=by)
        judge.config = dict(config)
        judge.save(update_fields=["config"])
        audit.record(
            verb="ai_labeler.changed",
            actor=by,
            subject=locked,
            project=locked.project,
            weight=weight,
            least_agreement=least_agreement,
            least_tasks=least_tasks,
            config=dict(config),
        )


def runs_of(labeler: AILabeler) -> Any:
    """Its runs, the newest first."""
    return labeler.project.training_runs.filter(stage=Stage.JUDGE, options__ai_labeler=labeler.pk).order_by("-pk")


def unfinished_run(labeler: AILabeler) -> TrainingRun | None:
    found: TrainingRun | None = runs_of(labeler).exclude(status__in=TrainingRun.ENDED).first()
    return found


def _changeable(labeler: AILabeler) -> AILabeler:
    """The locked row. Raises Refused while a run judges with what is there now."""
    locked = AILabeler.objects.select_for_update(no_key=True).get(pk=labeler.pk)
    if (run := unfinished_run(locked)) is not None:
        raise Refused(
            _("Run %(run)d judges with the present settings. Wait until it ends, or pause it.") % {"run": run.pk}
        )
    return locked


def _next_version(labeler: AILabeler) -> int:
    labeler.version += 1
    labeler.is_counted, labeler.counted_use_cases, labeler.measures, labeler.measured_at = False, [], {}, None
    labeler.save(update_fields=["version", "is_counted", "counted_use_cases", "measures", "measured_at"])
    return labeler.version


def _add_prompt(judge: AIJudge, texts: PromptTexts, *, version: int, by: User | None) -> None:
    JudgePrompt.objects.create(judge=judge, version=version, created_by=by, **asdict(texts))
