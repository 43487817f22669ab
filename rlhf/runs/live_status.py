"""What a labeler who wants live answers is told: whether anybody can give them, and how far they are."""

from statistics import median

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.labeling.chats.live_responses import ResponseStatus
from annotate.models import Project, ResponseRequest
from models_core.contract import catalogue
from rlhf.loop import versions
from rlhf.models import TrainingRun
from rlhf.runs import live, stages, workers

RECENT_RUNS = 50
USUAL_RUNS = 9
Status = TrainingRun.Status


def of_live_responses(project: Project, request: ResponseRequest | None) -> ResponseStatus:
    """How it stands with a request, or with one that might be made."""
    is_available = {"default", live.QUEUE} <= workers.listening()
    if request is not None and request.state == ResponseRequest.State.FAILED:
        message = _("The model could not answer. Write the answer yourself, or ask again.")
        return ResponseStatus(is_available=is_available, message=message)
    if not is_available:
        message = _("No model can answer right now: no worker is running. Write the answer yourself.")
        return ResponseStatus(is_available=False, message=message)
    if request is None:
        return ResponseStatus(is_available=True, message="")
    run = _run_of(request)
    waited_seconds = int((timezone.now() - request.created_at).total_seconds())
    message, progress = _standing(project, run)
    return ResponseStatus(
        is_available=True,
        message=message,
        progress=progress,
        waited_seconds=waited_seconds,
        usual_seconds=_usual_seconds(),
    )


def _standing(project: Project, run: TrainingRun | None) -> tuple[str, float | None]:
    """A sentence for who waits, and how much is done, where that is known."""
    base = versions.active_policy(project).base_model
    if base in catalogue.MODELS and stages.base_model_activity(base):
        return _("The base model is still being fetched. You can write the answer meanwhile."), None
    if run is None:
        return _("The model is being woken."), None
    if run.status == Status.RUNNING and run.activity == live.ANSWERING:
        total = run.options["samples"]
        done = round(run.progress * total)
        said = {"done": done, "total": total}
        message = ngettext(
            "The model is writing: %(done)s of %(total)s answer is there.",
            "The model is writing: %(done)s of %(total)s answers are there.",
            total,
        )
        return message % said, run.progress or None
    if run.status == Status.RUNNING and run.activity == live.LOADING:
        return _("The model is being loaded. The next turns are quicker."), None
    waiting = TrainingRun.objects.filter(queue=live.QUEUE, status__in=[Status.QUEUED, Status.RUNNING], pk__lt=run.pk)
    if ahead := waiting.count():
        message = ngettext(
            "%(n)s other chat is answered before yours.", "%(n)s other chats are answered before yours.", ahead
        )
        return message % {"n": ahead}, None
    return _("The model is being woken."), None


def _usual_seconds() -> int | None:
    """What the last live answers took from being asked for to being there."""
    ended = TrainingRun.objects.filter(queue=live.QUEUE, status=Status.SUCCEEDED).order_by("-pk")
    times = ended.values_list("created_at", "finished_at")[:USUAL_RUNS]
    seconds = [(finished - created).total_seconds() for created, finished in times if finished is not None]
    return max(1, round(median(seconds))) if seconds else None


def _run_of(request: ResponseRequest) -> TrainingRun | None:
    """The run that answers it. Looked for by hand: not every database looks into lists."""
    recent = TrainingRun.objects.filter(project_id=request.project_id, queue=live.QUEUE).order_by("-pk")
    return next((run for run in recent[:RECENT_RUNS] if request.pk in run.options["requests"]), None)
