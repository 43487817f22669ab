"""The way back: a model answers prompts, and the answers become comparisons in the labeling queue."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from annotate.data.pacing import Pace
from annotate.errors import Refused
from annotate.labeling import queue
from annotate.models import AnswerRequest, Author, Project, Prompt, Response, User
from rlhf.loop import prompts, versions
from rlhf.models import Iteration, LoopPolicy, ModelVersion, RunInput, Stage, TrainingRun
from rlhf.runs import runs
from rlhf.runs.runs import Lease

PROMPTS_A_TRANSACTION = 20
DEFAULT_PROMPTS = 64
LIVE_QUEUE = "live"
"""Of runs that a labeler waits for, see rlhf.runs.live."""


def start(
    *,
    project: Project,
    by: User | None,
    version: ModelVersion | None = None,
    prompt_count: int = DEFAULT_PROMPTS,
    samples: int | None = None,
    config: Mapping[str, Any] | None = None,
    iteration: Iteration | None = None,
) -> TrainingRun:
    """Queue a run in which the active policy (or `version`) answers the next prompts, K times each, for the labelers.

    Raises Refused for settings out of range and for a reward model, which writes nothing.
    """
    version = version or versions.active_policy(project)
    samples = samples or project.responses_per_task
    _author(version)
    if not Project.MIN_RESPONSES <= samples <= Project.MAX_RESPONSES:
        bounds = f"{Project.MIN_RESPONSES} to {Project.MAX_RESPONSES}"
        raise Refused(
            _("A comparison takes from %(bounds)s answers, not %(samples)s.") % {"bounds": bounds, "samples": samples},
            status=400,
        )
    if prompt_count < 1:
        raise Refused(_("Choose at least one prompt."), status=400)
    if iteration is None:
        runs.refuse_too_many(project)
    return runs.enqueue(
        project=project,
        stage=Stage.SAMPLE,
        config={"seed": _next_seed(project)} | dict(config or {}),
        options={"samples": samples, "prompts": prompt_count},
        inputs={RunInput.Role.MODEL: version},
        iteration=iteration,
        by=by,
    )


def _next_seed(project: Project) -> int:
    """Another one for each run: the same policy asked again shall not repeat itself."""
    return project.training_runs.filter(stage=Stage.SAMPLE).count()


def fulfil(request_ids: Iterable[int]) -> list[TrainingRun]:
    """Queue runs that answer open requests by the settings of the project's loop. A request is taken once.

    One run takes the requests of a project and number of answers; but who waits in a chat waits for nobody else's
    answers and behind no training: a chat's request is a run by itself, in a queue of its own.
    """
    started = []
    with transaction.atomic():
        wanted = AnswerRequest.objects.filter(pk__in=list(request_ids), state=AnswerRequest.State.OPEN)
        taken: dict[tuple[Project, int, int], list[int]] = defaultdict(list)
        for request in wanted.select_related("project").order_by("pk"):
            is_chat = request.purpose == AnswerRequest.Purpose.CHAT
            if _take(request):
                taken[request.project, request.responses_wanted, request.pk if is_chat else 0].append(request.pk)
        for (project, samples, is_live), ids in taken.items():
            mix = LoopPolicy.objects.filter(project=project).values_list("sampling", flat=True).first() or {}
            run = runs.enqueue(
                project=project,
                stage=Stage.SAMPLE,
                config={"seed": _next_seed(project)} | mix,
                options={"samples": samples, "requests": ids},
                inputs={RunInput.Role.MODEL: versions.active_policy(project)},
                by=None,
                queue=LIVE_QUEUE if is_live else "",
            )
            started.append(run)
    return started


def _take(request: AnswerRequest) -> bool:
    rows = AnswerRequest.objects.filter(pk=request.pk, state=AnswerRequest.State.OPEN)
    return rows.update(state=AnswerRequest.State.CLAIMED) == 1


def prompts_of(run: TrainingRun) -> list[prompts.Row]:
    """The prompts that a run answers, chosen when it begins. Raises Refused when there are none."""
    if "requests" in run.options:
        requests = AnswerRequest.objects.filter(pk__in=run.options["requests"])
        return prompts.with_ids(run.project, requests.values_list("prompt_id", flat=True))
    return prompts.next_to_answer(run.project, count=run.options["prompts"])


def store(run: TrainingRun, lease: Lease, rows: Iterator[dict[str, Any]]) -> dict[str, int]:
    """Turn rows of sampled answers into responses and comparisons; returns counts. Raises LeaseLost.

    Every answer is kept. Equal answers to a prompt are compared as one, and a prompt that got a single different answer
    has nothing to compare. Answers that an earlier, interrupted call has stored are passed over.
    """
    author = _author(run.run_inputs.select_related("version__author").get(role=RunInput.Role.MODEL).version)
    pace = Pace(largest=PROMPTS_A_TRANSACTION)
    for batch in pace.batches(rows):
        with pace.transaction():
            # Renewing locks the run's row: two workers never store the same answers side by side.
            runs.renew(lease)
            for row in batch:
                _store_row(row, run=run, author=author)
    stored = Response.objects.filter(author=author, sampling__run=run.pk)
    if "requests" in run.options:
        _end_requests(run, state=AnswerRequest.State.FULFILLED, fulfilled_at=timezone.now())
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
            text=answer["text"].replace("\0", ""),
            sampling=run.config | {"run": run.pk, "number": number, "logprob": answer.get("logprob")},
            seed=run.seed,
            finish_reason=_finish_reason(answer),
        )
        for number, answer in enumerate(row["responses"])
    ]
    for request in AnswerRequest.objects.filter(pk__in=run.options.get("requests", []), prompt=prompt):
        request.responses.add(*responses)
    different = list({response.text.strip(): response for response in reversed(responses)}.values())[::-1]
    if len(different) >= Project.MIN_RESPONSES and _is_for_queue(run, prompt):
        queue.add_comparison(project=run.project, prompt=prompt, responses=different)


def _author(version: ModelVersion) -> Author:
    if version.author is None:
        raise Refused(
            _("%(version)s is a reward model: it scores answers and writes none.") % {"version": version.label},
            status=400,
        )
    return version.author


def _finish_reason(answer: Mapping[str, Any]) -> str:
    reasons = {"stop": Response.FinishReason.EOS, "length": Response.FinishReason.LENGTH}
    return reasons.get(answer.get("finish_reason", ""), Response.FinishReason.UNKNOWN)


def _is_for_queue(run: TrainingRun, prompt: Prompt) -> bool:
    """Whether labelers are to compare the answers: always, but for requests of another purpose alone."""
    if "requests" not in run.options:
        return True
    requests = AnswerRequest.objects.filter(pk__in=run.options["requests"], prompt=prompt)
    return requests.filter(purpose=AnswerRequest.Purpose.QUEUE).exists()


def fail_requests(run: TrainingRun) -> None:
    """Say so to whoever asked for the answers of a run that ended without them."""
    _end_requests(
        run, state=AnswerRequest.State.FAILED, error=run.error or gettext_noop("The sampling run was cancelled.")
    )


def _end_requests(run: TrainingRun, **values: Any) -> None:
    requests = AnswerRequest.objects.filter(pk__in=run.options.get("requests", []), state=AnswerRequest.State.CLAIMED)
    requests.update(**values)
