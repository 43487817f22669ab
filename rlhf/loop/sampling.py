"""Sampling: responses of a model become comparisons in the labeling queue."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data import stored_messages
from annotate.data.pacing import Pace
from annotate.data.stored_messages import StoredMessage, refusal
from annotate.errors import Refused
from annotate.labeling import queue
from annotate.models import Author, Project, Prompt, Response, ResponseRequest, User
from models_core.contract.settings import SampleConfig
from rlhf.loop import prompts, versions
from rlhf.models import Iteration, LoopSettings, ModelVersion, RunInput, Stage, TrainingRun
from rlhf.runs import runs
from rlhf.runs.runs import Lease, Origin

PROMPTS_A_TRANSACTION = 20
DEFAULT_PROMPTS = 64
REQUESTS_A_RUN = 500
"""Most open requests of one run: few enough to claim, and to look up for each response, in a short transaction."""


def start(
    *,
    project: Project,
    by: User | None,
    version: ModelVersion | None = None,
    prompt_count: int = DEFAULT_PROMPTS,
    samples: int | None = None,
    config: Mapping[str, Any] | None = None,
    order: str = prompts.PromptOrder.LEAST_COMPARED,
    reward: ModelVersion | None = None,
    ensemble: Sequence[ModelVersion] = (),
    iteration: Iteration | None = None,
    origin: Origin | None = None,
) -> TrainingRun:
    """Queue a run that samples K responses of the active policy (or `version`) to each of the next prompts.

    `order` says which prompts are next. With best_of above 1 `reward` chooses (by default the one in use), with
    the others of its `ensemble`.

    Raises Refused for settings out of range and for a reward model, which generates nothing.
    """
    version = version or versions.active_policy(project)
    samples = samples or project.responses_per_task
    _author(version)
    if not Project.MIN_RESPONSES <= samples <= Project.MAX_RESPONSES:
        bounds = f"{Project.MIN_RESPONSES} to {Project.MAX_RESPONSES}"
        raise Refused(
            _("A comparison has %(bounds)s responses, not %(samples)s.") % {"bounds": bounds, "samples": samples},
            status=400,
        )
    if prompt_count < 1:
        raise Refused(_("Choose at least one prompt."), status=400)
    if iteration is None:
        runs.refuse_too_many(project)
    config = {"seed": next_seed(project)} | dict(config or {})
    inputs = sampling_inputs(version, config, reward=reward)
    return runs.enqueue(
        project=project,
        stage=Stage.SAMPLE,
        config=config,
        options={"samples": samples, "prompts": prompt_count}
        | ({} if order == prompts.PromptOrder.LEAST_COMPARED else {"order": str(order)}),
        inputs=inputs,
        ensemble=ensemble,
        iteration=iteration,
        by=by,
        origin=origin,
    )


def sampling_inputs(
    version: ModelVersion, config: Mapping[str, Any], *, reward: ModelVersion | None = None
) -> dict[str, ModelVersion]:
    """The models of a sampling: `version`, and `reward` or the project's newest reward model where best_of needs one.

    Raises Refused.
    """
    inputs: dict[str, ModelVersion] = {RunInput.Role.MODEL: version}
    if reward is None and runs.checked_settings(SampleConfig, config).best_of > 1:
        reward = versions.latest_reward(version.project)
        if reward is None:
            raise refusal("no_reward_model", status=400, project=version.project.name)
    if reward is not None:
        inputs[RunInput.Role.REWARD] = reward
    return inputs


def can_be_cloned(run: TrainingRun) -> bool:
    """Whether it was started for the next prompts, and not for what somebody asked for or an evaluation."""
    return "prompts" in run.options


def next_seed(project: Project) -> int:
    """A new seed for each run: sampling the same policy again must give new responses."""
    return project.training_runs.filter(stage=Stage.SAMPLE).count()


def fulfil(request_ids: Iterable[int]) -> list[TrainingRun]:
    """Queue runs that fulfil open requests with the project's loop settings. A request is claimed once.

    One run takes at most REQUESTS_A_RUN requests of a project and number of responses, in a short transaction; but
    a chat's request waits for nobody else's responses and behind no training: a chat's request is a run of its own, in
    a queue of its own.
    """
    keys = sorted(set(request_ids))
    groups: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for start in range(0, len(keys), REQUESTS_A_RUN):
        found = ResponseRequest.objects.filter(
            pk__in=keys[start : start + REQUESTS_A_RUN], state=ResponseRequest.State.OPEN
        )
        for key, project_id, samples, purpose in found.order_by("pk").values_list(
            "pk", "project_id", "responses_wanted", "purpose"
        ):
            groups[project_id, samples, key if purpose == ResponseRequest.Purpose.CHAT else 0].append(key)
    started, pace = [], Pace()
    for (project_id, samples, live), wanted in groups.items():
        for start in range(0, len(wanted), REQUESTS_A_RUN):
            with pace.transaction():
                if taken := _take(wanted[start : start + REQUESTS_A_RUN]):
                    started.append(_enqueue(project_id, samples, taken, queue=TrainingRun.LIVE_QUEUE if live else ""))
    return started


def _enqueue(project_id: int, samples: int, taken: list[int], *, queue: str) -> TrainingRun:
    project = Project.objects.get(pk=project_id)
    mix = LoopSettings.objects.filter(project=project).values_list("sampling", flat=True).first() or {}
    return runs.enqueue(
        project=project,
        stage=Stage.SAMPLE,
        config={"seed": next_seed(project)} | mix,
        options={"samples": samples, "requests": taken},
        inputs={RunInput.Role.MODEL: versions.active_policy(project)},
        by=None,
        queue=queue,
    )


def _take(keys: list[int]) -> list[int]:
    """Claim the requests that are still open; returns their keys. Inside a transaction."""
    rows = ResponseRequest.objects.filter(pk__in=keys, state=ResponseRequest.State.OPEN)
    taken = list(rows.select_for_update(skip_locked=True).order_by("pk").values_list("pk", flat=True))
    ResponseRequest.objects.filter(pk__in=taken).update(state=ResponseRequest.State.CLAIMED)
    return taken


def prompts_of(run: TrainingRun) -> list[prompts.Row]:
    """The prompts of a run, chosen when it begins. Raises Refused when there are none."""
    if "requests" in run.options:
        requests = ResponseRequest.objects.filter(pk__in=run.options["requests"])
        return prompts.with_ids(run.project, requests.values_list("prompt_id", flat=True))
    if "prompt_ids" in run.options:
        return prompts.with_ids(run.project, run.options["prompt_ids"])
    order = run.options.get("order", prompts.PromptOrder.LEAST_COMPARED)
    return prompts.next_for_sampling(run.project, count=run.options["prompts"], order=order, seed=run.seed)


def store(run: TrainingRun, lease: Lease, rows: Iterator[dict[str, Any]]) -> dict[str, int]:
    """Store rows of samples as responses and comparisons; returns counts. Raises LeaseLost.

    Every response is kept. Equal responses to a prompt are compared as one, and a prompt whose responses are all equal
    has nothing to compare. Responses that an earlier, interrupted call has stored are passed over.
    """
    author = _author(run.run_inputs.select_related("version__author").get(role=RunInput.Role.MODEL).version)
    pace = Pace(largest=PROMPTS_A_TRANSACTION)
    for batch in pace.batches(rows):
        with pace.transaction():
            # Renewing locks the run's row: two workers never store the same responses concurrently.
            runs.renew(lease)
            for row in batch:
                _store_row(row, run=run, author=author)
    stored = Response.objects.filter(author=author, sampling__run=run.pk)
    if "requests" in run.options:
        _end_requests(run, state=ResponseRequest.State.FULFILLED, fulfilled_at=timezone.now())
    return {
        "prompts": stored.values("prompt").distinct().count(),
        "responses": stored.count(),
        "tasks": run.project.tasks.filter(responses__in=stored).distinct().count(),
    }


def _store_row(row: dict[str, Any], *, run: TrainingRun, author: Author) -> None:
    prompt = run.project.prompts.get(pk=row["id"])
    if prompt.responses.filter(author=author, sampling__run=run.pk).exists():
        return
    responses = [
        Response.objects.create(
            prompt=prompt,
            author=author,
            text=sample["text"].replace("\0", ""),
            sampling=run.config | {"run": run.pk, "number": number, "logprob": sample.get("logprob")},
            seed=run.seed,
            finish_reason=finish_reason(sample),
        )
        for number, sample in enumerate(row["responses"])
    ]
    for request in ResponseRequest.objects.filter(pk__in=run.options.get("requests", []), prompt=prompt):
        request.responses.add(*responses)
    different = list({response.text.strip(): response for response in reversed(responses)}.values())[::-1]
    if len(different) >= Project.MIN_RESPONSES and _is_for_queue(run, prompt):
        queue.add_comparison(project=run.project, prompt=prompt, responses=different)


def _author(version: ModelVersion) -> Author:
    if version.author is None:
        raise refusal("not_a_policy", status=400, version=version.label)
    return version.author


def finish_reason(sample: Mapping[str, Any]) -> str:
    reasons = {"stop": Response.FinishReason.EOS, "length": Response.FinishReason.LENGTH}
    return reasons.get(sample.get("finish_reason", ""), Response.FinishReason.UNKNOWN)


def _is_for_queue(run: TrainingRun, prompt: Prompt) -> bool:
    """Whether labelers compare the responses with each other: not those of an evaluation, which compares them with
    other versions', and not for requests of other purposes alone."""
    if "evaluation" in run.options:
        return False
    if "requests" not in run.options:
        return True
    requests = ResponseRequest.objects.filter(pk__in=run.options["requests"], prompt=prompt)
    return requests.filter(purpose=ResponseRequest.Purpose.QUEUE).exists()


def fail_requests(run: TrainingRun) -> None:
    """End the requests of a run that ended without responses."""
    error = run.error or stored_messages.in_english(StoredMessage("sampling_cancelled").as_json())
    _end_requests(run, state=ResponseRequest.State.FAILED, error=error)


def _end_requests(run: TrainingRun, **values: Any) -> None:
    requests = ResponseRequest.objects.filter(
        pk__in=run.options.get("requests", []), state=ResponseRequest.State.CLAIMED
    )
    requests.update(**values)
