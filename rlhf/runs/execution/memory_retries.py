"""Another attempt of a run that ran out of memory, in steps half as large and with the same result.

The batch stays: its gradient is accumulated over forward passes of at most `max_tokens_per_forward` tokens.
"""

from typing import Any

from django.utils.translation import gettext_noop

from annotate.data.stored_messages import StoredMessage
from models_core.contract.settings import GenerationSettings, parse, settings_of
from rlhf.models import TrainingRun
from rlhf.runs import runs
from rlhf.runs.runs import Lease

FEWEST_TOKENS = 64
"""Shorter forward passes than this save no memory that counts beside the weights."""
ACTIVITY = gettext_noop("ran out of memory; waiting to go on in smaller steps")


def retry(lease: Lease, reason: StoredMessage) -> None:
    """Queue the run again with smaller steps; fail it for `reason` where they can't be smaller. Raises LeaseLost."""
    run = lease.rows().first()
    if run is None or not (changes := smaller_steps(run)):
        runs.fail(lease, reason)
        return
    notes = [*run.notes, *(note.as_json() for note in _notes(run, changes))]
    config = run.config | {name: after for name, (_before, after) in changes.items()}
    runs.retry(lease, reason, activity=ACTIVITY, config=config, notes=notes)


def smaller_steps(run: TrainingRun) -> dict[str, tuple[int, int]]:
    """{setting: (before, after)}; empty where nothing of the run's stage can be smaller."""
    parsed: Any = parse(settings_of(run.stage), run.config)
    changes = {}
    if (tokens := getattr(parsed, "max_tokens_per_forward", 0)) >= 2 * FEWEST_TOKENS:
        changes["max_tokens_per_forward"] = (tokens, tokens // 2)
    # Here it is the number of responses generated at once, and no batch of an optimizer's step.
    if isinstance(parsed, GenerationSettings) and parsed.batch_size > 1:
        changes["batch_size"] = (parsed.batch_size, parsed.batch_size // 2)
    return changes


def _notes(run: TrainingRun, changes: dict[str, tuple[int, int]]) -> list[StoredMessage]:
    notes = []
    for name, (before, after) in changes.items():
        values = {"attempt": run.attempt, "before": before, "after": after}
        if name == "batch_size":
            notes.append(StoredMessage("fewer_responses_at_once", values))
        else:
            notes.append(StoredMessage("smaller_forward_passes", values))
    return notes
