"""Status of live responses for the labeler of a chat: availability and progress."""

from statistics import median

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.labeling.chats.live_responses import ResponseStatus
from annotate.models import Project, ResponseRequest
from models_core.contract import catalogue
from rlhf.loop import versions
from rlhf.models import RunInput, TrainingRun
from rlhf.runs.execution import run_command
from rlhf.runs.live_responses import live
from rlhf.runs.queues import workers

RECENT_RUNS = 50
USUAL_RUNS = 9
Status = TrainingRun.Status


def of_live_responses(project: Project, request: ResponseRequest | None) -> ResponseStatus:
    """Status of a request, or of one that could be made."""
    is_available = {"default", TrainingRun.LIVE_QUEUE} <= workers.listening()
    if request is not None and request.state == ResponseRequest.State.FAILED:
        message = _("The model could not respond. Write the response yourself, or try again.")
        return ResponseStatus(is_available=is_available, message=message)
    if not is_available:
        message = _("No model is available: no worker is running. Write the response yourself.")
        return ResponseStatus(is_available=False, message=message)
    if request is None:
        return ResponseStatus(is_available=True, message="")
    run = _run_of(request)
    waited_seconds = int((timezone.now() - request.created_at).total_seconds())
    message, progress = _waiting_status(project, run)
    return ResponseStatus(
        is_available=True,
        message=message,
        progress=progress,
        waited_seconds=waited_seconds,
        usual_seconds=_usual_seconds(),
    )


def _waiting_status(project: Project, run: TrainingRun | None) -> tuple[str, float | None]:
    """A sentence for the labeler, and the progress if it is known."""
    base = versions.active_policy(project).base_model
    if base in catalogue.MODELS and run_command.base_model_progress(base) is not None:
        return _("The base model is being downloaded. You can write the response meanwhile."), None
    if run is None:
        return _("Starting the model."), None
    if run.status == Status.RUNNING and run.activity == live.GENERATING:
        total = run.options["samples"]
        done = round(run.progress * total)
        values = {"done": done, "total": total}
        message = ngettext(
            "Generating: %(done)s of %(total)s response is ready.",
            "Generating: %(done)s of %(total)s responses are ready.",
            total,
        )
        return message % values, run.progress or None
    if run.status == Status.RUNNING and run.activity == live.LOADING:
        return _("Loading the model. The next turns are faster."), None
    # Nobody waits for replies of served models, which have no version.
    waiting = TrainingRun.objects.filter(
        queue=TrainingRun.LIVE_QUEUE, status__in=[Status.QUEUED, Status.RUNNING], pk__lt=run.pk
    ).filter(run_inputs__role=RunInput.Role.MODEL)
    if ahead := waiting.count():
        message = ngettext("%(n)s other chat is ahead of yours.", "%(n)s other chats are ahead of yours.", ahead)
        return message % {"n": ahead}, None
    return _("Starting the model."), None


def _usual_seconds() -> int | None:
    """Median seconds of the last live responses, from request to result."""
    ended = TrainingRun.objects.filter(queue=TrainingRun.LIVE_QUEUE, status=Status.SUCCEEDED).order_by("-pk")
    times = ended.values_list("created_at", "finished_at")[:USUAL_RUNS]
    seconds = [(finished - created).total_seconds() for created, finished in times if finished is not None]
    return max(1, round(median(seconds))) if seconds else None


def _run_of(request: ResponseRequest) -> TrainingRun | None:
    """The run of a request. Searched in Python: not every database can search JSON lists."""
    recent = TrainingRun.objects.filter(project_id=request.project_id, queue=TrainingRun.LIVE_QUEUE).order_by("-pk")
    return next((run for run in recent[:RECENT_RUNS] if request.pk in run.options["requests"]), None)
