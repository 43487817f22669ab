"""The life of a head-to-head evaluation, the only writer of its row.

    sampling -> active      all versions have responses: their comparisons are hidden among labelers' tasks
    sampling -> failed      a sampling run failed or was cancelled
    active   -> done        the stopping rule decided every pair, or every prompt is judged
    open     -> cancelled

Judgments are those of hidden checks (annotate.labeling.checks): work that was done, and no data. They are in no
snapshot, since what a reward model is trained on cannot measure the policies that were trained against it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import blake2b
from typing import Any

from django.db import transaction
from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data.pacing import Pace
from annotate.data.stored_messages import StoredMessage, refusal
from annotate.errors import Refused
from annotate.models import Project, Prompt, Response, Task, TaskResponse, User
from annotate.people import audit
from annotate.people.permissions import count_people_who_judge
from rlhf.human_evaluation import figures, leaderboard
from rlhf.loop import sampling
from rlhf.models import EvaluatedVersion, EvaluationItem, HumanEvaluation, ModelVersion, Stage, TrainingRun
from rlhf.runs import runs

State = HumanEvaluation.State
Source = HumanEvaluation.Responses
MOST_PROMPTS = 5_000
MOST_JUDGMENTS = 20
ITEMS_A_TRANSACTION = 20
LATE_JUDGMENTS = timedelta(days=7)
"""After an evaluation ended: what was leased then may still come, and judgments are revised or left out."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an evaluation shall be. Empty filters of prompts (split, use_case, language) take all."""

    versions: Sequence[ModelVersion]
    split: str = Prompt.Split.TEST
    use_case: str = ""
    language: str = ""
    prompt_count: int = 100
    share: float = 0.2
    responses_per_version: int = 1
    judgments_per_prompt: int = 1
    response_source: str = Source.SAMPLE
    alpha: float = 0.05
    margin: float = 0.05
    sampling: Mapping[str, Any] = field(default_factory=dict)


def usual_responses(project: Project, *, versions: int) -> int:
    """Responses of each version with which a comparison has as many as the project's others, as nearly as can be: their
    number gives nothing away."""
    return max(1, min(round(project.responses_per_task / versions), Project.MAX_RESPONSES // versions))


def start(plan: Plan, *, project: Project, by: User | None) -> HumanEvaluation:
    """Create an evaluation and queue the sampling of what it needs. Raises Refused with a sentence."""
    _check(plan, project)
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        if open_one := project.human_evaluations.filter(state__in=HumanEvaluation.OPEN).first():
            raise Refused(
                _("Evaluation %(number)s is under way. Wait until it has ended, or cancel it.")
                % {"number": open_one.number},
                status=409,
            )
        number = (project.human_evaluations.aggregate(last=Max("number"))["last"] or 0) + 1
        prompt_ids = _chosen_prompts(plan, project, seed=number)
        evaluation = HumanEvaluation.objects.create(
            project=project,
            number=number,
            created_by=by,
            share=plan.share,
            responses_per_version=plan.responses_per_version,
            judgments_per_prompt=plan.judgments_per_prompt,
            response_source=plan.response_source,
            alpha=plan.alpha,
            margin=plan.margin,
            sampling=dict(plan.sampling),
        )
        EvaluationItem.objects.bulk_create(
            (EvaluationItem(evaluation=evaluation, prompt_id=key) for key in prompt_ids), batch_size=500
        )
        for place, version in enumerate(plan.versions):
            run = _sampling_run(evaluation, version, prompt_ids, by=by)
            EvaluatedVersion.objects.create(evaluation=evaluation, version=version, run=run, place=place)
        audit.record(
            verb="evaluation.started",
            actor=by,
            subject=evaluation,
            project=project,
            versions=[str(version) for version in plan.versions],
            prompts=len(prompt_ids),
        )
        runs.send("rlhf.advance_evaluation", evaluation.pk)
    return evaluation


def _check(plan: Plan, project: Project) -> None:
    versions, samples = plan.versions, plan.responses_per_version
    if len({version.pk for version in versions}) < len(versions):
        raise Refused(_("The same version is chosen twice. Choose different ones."), status=400)
    if len(versions) < 2:
        raise Refused(_("Choose at least two versions to compare."), status=400)
    for version in versions:
        if version.author is None:
            raise refusal("not_a_policy", status=400, version=version.label)
    if samples < 1 or len(versions) * samples > Project.MAX_RESPONSES:
        raise Refused(
            _("%(versions)s versions with %(samples)s responses each are more than a comparison holds: %(most)s.")
            % {"versions": len(versions), "samples": samples, "most": Project.MAX_RESPONSES},
            status=400,
        )
    if not 1 <= plan.prompt_count <= MOST_PROMPTS:
        raise Refused(_("Choose 1 to %(most)s prompts.") % {"most": MOST_PROMPTS}, status=400)
    if not 1 <= plan.judgments_per_prompt <= MOST_JUDGMENTS:
        raise Refused(_("A prompt gets 1 to %(most)s judgments.") % {"most": MOST_JUDGMENTS}, status=400)
    if not (0 < plan.share <= 1 and 0 < plan.alpha < 1 and 0 <= plan.margin < 0.5):
        raise Refused(_("Share and alpha are above 0 and at most 1, and the margin is below 0.5."), status=400)
    if project.gold_rate + project.repeat_rate + plan.share > 1:
        raise Refused(
            _("Gold tasks and repeats take %(taken)s of the tasks, so the share can be at most %(left)s.")
            % {
                "taken": f"{100 * (project.gold_rate + project.repeat_rate):.0f}%",
                "left": f"{max(0.0, 1 - project.gold_rate - project.repeat_rate):.2f}",
            },
            status=400,
        )
    if Task.Kind.COMPARE not in project.task_kinds:
        raise Refused(_("Labelers of this project compare no responses: switch that on under Tasks first."), status=400)
    if not (people := count_people_who_judge(project)):
        raise Refused(_("Nobody can judge: the project has no labelers. Invite some under People."), status=400)
    if plan.judgments_per_prompt > people:
        raise Refused(
            _("%(wanted)s judgments of each prompt need as many labelers, and the project has %(people)s.")
            % {"wanted": plan.judgments_per_prompt, "people": people},
            status=400,
        )


def _chosen_prompts(plan: Plan, project: Project, *, seed: int) -> list[int]:
    """Prompts in a random order of this seed, the same each time. Raises Refused where there are none."""
    prompts = project.prompts.filter(opening=None)
    for name, value in (("split", plan.split), ("use_case", plan.use_case), ("language", plan.language)):
        if value:
            prompts = prompts.filter(**{name: value})
    if plan.response_source == Source.PRESENT:
        prompts = _responded_by_all(prompts, plan)
    found = [
        (blake2b(f"{seed} {digest}".encode(), digest_size=8).digest(), key)
        for key, digest in prompts.order_by("pk").values_list("pk", "content_hash")
    ]
    if not found:
        raise Refused(_("No prompt of the project matches this choice."), status=400)
    return [key for _order, key in sorted(found)[: plan.prompt_count]]


def _responded_by_all(prompts: QuerySet[Prompt], plan: Plan) -> QuerySet[Prompt]:
    for version in plan.versions:
        own = Response.objects.filter(author=version.author, prompt__project=version.project)
        counted = own.order_by().values("prompt").annotate(n=Count("pk")).filter(n__gte=plan.responses_per_version)
        if not own.exists():
            raise Refused(
                _("%(version)s has no responses. Let it sample some.") % {"version": version.label}, status=400
            )
        prompts = prompts.filter(pk__in=counted.values("prompt"))
    return prompts


def _sampling_run(
    evaluation: HumanEvaluation, version: ModelVersion, prompt_ids: Sequence[int], *, by: User | None
) -> TrainingRun | None:
    """A run that samples the version's missing responses; None where none is missing. Raises Refused."""
    missing = list(prompt_ids)
    if evaluation.response_source != Source.SAMPLE:
        present = _present(evaluation, version, prompt_ids)
        missing = [key for key in prompt_ids if len(present[key]) < evaluation.responses_per_version]
    if not missing:
        return None
    if not version.has_files:
        raise refusal("model_files_missing", status=400, version=version.label, folder=version.folder)
    # A seed of its own: another evaluation of the same version samples new responses.
    config = {"seed": evaluation.number} | evaluation.sampling
    return runs.enqueue(
        project=evaluation.project,
        stage=Stage.SAMPLE,
        config=config,
        options={
            "samples": evaluation.responses_per_version,
            "prompt_ids": missing,
            "evaluation": evaluation.pk,
        },
        inputs=sampling.sampling_inputs(version, config),
        by=by,
    )


def _present(
    evaluation: HumanEvaluation, version: ModelVersion, prompt_ids: Sequence[int], run: TrainingRun | None = None
) -> dict[int, list[tuple[int, str]]]:
    """{prompt: (response id, text)} of a version's responses, of a run's alone where one is given; the newest first."""
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    responses = Response.objects.filter(author=version.author, edited_from=None)
    if run is not None and evaluation.response_source == Source.SAMPLE:
        responses = responses.filter(sampling__run=run.pk)
    for start in range(0, len(prompt_ids), 500):
        some = responses.filter(prompt__in=prompt_ids[start : start + 500]).order_by("-pk")
        for prompt, key, text in some.values_list("prompt", "pk", "text"):
            found[prompt].append((key, text))
    return found


def advance(evaluation_id: int) -> None:
    """Take an evaluation as far as it goes now. May be called twice or late."""
    evaluation = HumanEvaluation.objects.select_related("project").get(pk=evaluation_id)
    if evaluation.state == State.SAMPLING:
        _advance_sampling(evaluation)
    if evaluation.state == State.ACTIVE:
        _advance_active(evaluation)
    elif evaluation.state == State.DONE:
        figures.refresh(evaluation)


def advance_due() -> None:
    """Advance the open evaluations, and compute what was judged since of those that ended, and the leaderboards."""
    ended_lately = Q(state=State.DONE, finished_at__gt=timezone.now() - LATE_JUDGMENTS)
    due = HumanEvaluation.objects.filter(Q(state__in=HumanEvaluation.OPEN) | ended_lately)
    for key in list(due.values_list("pk", flat=True)):
        advance(key)
    leaderboard.refresh_due()


def _advance_sampling(evaluation: HumanEvaluation) -> None:
    evaluated = list(evaluation.evaluated.select_related("run", "version__author"))
    for one in evaluated:
        if one.run is not None and one.run.status in (TrainingRun.Status.FAILED, TrainingRun.Status.CANCELLED):
            reason = one.run.failure or StoredMessage("sampling_cancelled").as_json()
            failure = StoredMessage("evaluation_run_failed", {"version": one.version.label, "error": reason})
            _end(evaluation, state=State.FAILED, failure=failure.as_json())
            return
    if all(one.run is None or one.run.status == TrainingRun.Status.SUCCEEDED for one in evaluated):
        _make_tasks(evaluation, evaluated)


def _make_tasks(evaluation: HumanEvaluation, evaluated: Sequence[EvaluatedVersion]) -> None:
    """Make the comparisons in short transactions, then let them be given out."""
    items = list(evaluation.items.filter(responses={}).select_related("prompt"))
    prompt_ids = [item.prompt_id for item in items]
    present = {one.version_id: _present(evaluation, one.version, prompt_ids, one.run) for one in evaluated}
    pace = Pace(largest=ITEMS_A_TRANSACTION)
    for batch in pace.batches(items):
        with pace.transaction():
            if not _locked(evaluation, State.SAMPLING):
                return
            # Another worker may have made some of them meanwhile.
            unmade = set(evaluation.items.filter(pk__in=[item.pk for item in batch], responses={}).values_list("pk"))
            for item in batch:
                if (item.pk,) in unmade:
                    _make_task(evaluation, item, {key: found[item.prompt_id] for key, found in present.items()})
    with transaction.atomic():
        if not _locked(evaluation, State.SAMPLING):
            return
        evaluation.state, evaluation.active_since = State.ACTIVE, timezone.now()
        evaluation.save(update_fields=["state", "active_since"])
        Project.objects.filter(pk=evaluation.project_id).update(evaluation_share=evaluation.share)


def _make_task(
    evaluation: HumanEvaluation, item: EvaluationItem, present: Mapping[int, Sequence[tuple[int, str]]]
) -> None:
    count = evaluation.responses_per_version
    if any(len(found) < count for found in present.values()):
        item.delete()  # its responses are gone: nothing to compare
        return
    shown: dict[str, int] = {}
    responses = {
        str(version): [shown.setdefault(text.strip(), key) for key, text in found[:count]]
        for version, found in present.items()
    }
    task = None
    if len(shown) >= Project.MIN_RESPONSES:
        task = Task.objects.create(
            project=evaluation.project,
            prompt=item.prompt,
            state=Task.State.EVALUATION,
            judgments_wanted=evaluation.judgments_per_prompt,
            slots_free=evaluation.judgments_per_prompt,
        )
        TaskResponse.objects.bulk_create(
            TaskResponse(task=task, response_id=key, number=number) for number, key in enumerate(sorted(shown.values()))
        )
    item.task, item.responses = task, responses
    item.save(update_fields=["task", "responses"])


def _advance_active(evaluation: HumanEvaluation) -> None:
    figures.refresh(evaluation)
    found = evaluation.figures
    is_decided = all(pair["verdict"] != "open" for pair in found["pairs"])
    if is_decided or found["complete"] >= found["prompts"]:
        _end(evaluation, state=State.DONE)


def cancel(evaluation: HumanEvaluation, *, by: User | None) -> None:
    """Stop an open evaluation; what was judged stays. Raises Refused when it has ended."""
    runs_ = [one.run for one in evaluation.evaluated.select_related("run") if one.run is not None and not one.run.ended]
    if not _end(evaluation, state=State.CANCELLED, by=by):
        raise Refused(_("This evaluation has ended already."))
    for run in runs_:
        runs.request_cancel(run=run, by=by)


def _end(
    evaluation: HumanEvaluation, *, state: str, failure: Mapping[str, Any] | None = None, by: User | None = None
) -> bool:
    """End an open evaluation: its comparisons are given out no more. Leases that are out can still be submitted."""
    with transaction.atomic():
        if not _locked(evaluation, *HumanEvaluation.OPEN):
            return False
        evaluation.state, evaluation.finished_at = state, timezone.now()
        evaluation.failure = dict(failure or {})
        evaluation.save(update_fields=["state", "finished_at", "failure"])
        Project.objects.filter(pk=evaluation.project_id).update(evaluation_share=0.0)
        tasks = Task.objects.filter(evaluation_item__evaluation=evaluation, state=Task.State.EVALUATION)
        tasks.update(state=Task.State.EVALUATED, slots_free=0)
        audit.record(
            verb="evaluation.ended", actor=by, subject=evaluation, project=evaluation.project, state=str(state)
        )
    return True


def _locked(evaluation: HumanEvaluation, *states: str) -> bool:
    """Lock the row until the transaction ends. False where it is in another state by now."""
    row = HumanEvaluation.objects.select_for_update().filter(pk=evaluation.pk, state__in=states).first()
    if row is not None:
        evaluation.state = row.state
    return row is not None
