"""What a labeler who wants live answers is told: whether anybody can give them, and how far they are."""

from django.conf import settings
from django.utils.translation import gettext as _

from annotate.chats.answers import Prospect
from annotate.models import AnswerRequest, Project

from . import workers
from .models import Stage, TrainingRun

RECENT_RUNS = 50


def of_live_answers(project: Project, request: AnswerRequest | None) -> Prospect:
    """How it stands with a request, or with one that might be made."""
    queue = "gpu" if settings.HONE_GPUS else "cpu"
    is_there = {"default", queue} <= workers.listening()
    if request is not None and request.state == AnswerRequest.State.FAILED:
        sentence = _("The model could not answer. Write the answer yourself, or ask again.")
        return Prospect(is_there=is_there, sentence=sentence)
    if not is_there:
        sentence = _("No model can answer right now: no worker is running. Write the answer yourself.")
        return Prospect(is_there=False, sentence=sentence)
    run = _run_of(request) if request is not None else None
    if run is not None and run.status == TrainingRun.Status.RUNNING:
        return Prospect(is_there=True, sentence=_("The model is answering."), progress=run.progress)
    ahead = TrainingRun.objects.filter(queue=queue, status=TrainingRun.Status.RUNNING).first()
    if ahead is not None:
        sentence = _("The worker is busy (%(stage)s), so answers may take a while. You can write one meanwhile.")
        return Prospect(is_there=True, sentence=sentence % {"stage": ahead.get_stage_display()})
    if request is not None:
        return Prospect(is_there=True, sentence=_("The model is being woken."))
    return Prospect(is_there=True, sentence="")


def _run_of(request: AnswerRequest) -> TrainingRun | None:
    """The run that answers it. Looked for by hand: not every database looks into lists."""
    recent = TrainingRun.objects.filter(project_id=request.project_id, stage=Stage.SAMPLE).order_by("-pk")
    return next((run for run in recent[:RECENT_RUNS] if request.pk in run.options.get("requests", [])), None)
