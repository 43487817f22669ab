"""A reply of the playground in the live worker: what is asked of its process, and what becomes of the text.

Nothing is generated for a page that is gone: a page that waits for replies asks several times a second, and a run whose
page has not asked for ABANDONED is cancelled, as one that the person stopped.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from rlhf.loop import sampling, versions
from rlhf.models import PlaygroundReply, TrainingRun
from rlhf.runs import runs
from rlhf.runs.execution import run_command
from rlhf.runs.runs import Lease

OPTION = "playground"
"""Of a run's options: the key of its reply."""
ENDPOINT = "endpoint"
"""Of the options of a reply by a served model: the name of its server among HONE_AI_ENDPOINTS."""
ABANDONED = timedelta(seconds=15)


def call_fields(run: TrainingRun, heartbeat: Callable[[], None]) -> dict[str, Any]:
    """What the live process is asked for, besides the model and the settings."""
    reply = PlaygroundReply.objects.select_related("turn__chat__project").get(run=run)
    fields: dict[str, Any] = {"id": str(reply.pk), "prompt": reply.turn.messages, "stream": True}
    reward = versions.active_reward(reply.turn.chat.project)
    if reward is not None and reward.has_files:
        fields["reward"] = run_command.model_argument(reward, heartbeat=heartbeat)
    return fields


def keep_text(run: TrainingRun, text: str) -> None:
    """The text so far, for the page to show."""
    PlaygroundReply.objects.filter(run=run).update(text=text)


def is_abandoned(run: TrainingRun) -> bool:
    """Whether the page that waits for the reply is gone."""
    gone = timezone.now() - ABANDONED
    return PlaygroundReply.objects.filter(run=run, turn__chat__seen_at__lt=gone).exists()


def store(run: TrainingRun, lease: Lease, row: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the finished reply; returns the result of the run. Raises LeaseLost."""
    (response,) = row["responses"]
    text = response["text"].replace("\0", "")
    reason, score = sampling.finish_reason(response), response.get("score")
    with transaction.atomic():
        runs.renew(lease)
        PlaygroundReply.objects.filter(run=run).update(text=text, finish_reason=reason, score=score)
    return {"responses": 1} | {name: row[name] for name in ("served_model",) if name in row}
