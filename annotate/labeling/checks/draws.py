"""Whether a labeler's next task is a hidden check: one draw a task, of a seed that is stored with their cursor.

The draws are independent of each other, so that no task tells about the next one, and the share of each kind over n
tasks has the standard deviation sqrt(p (1 - p) / n) around its rate. A draw has a number and no clock: asking for the
task again asks for the same draw, and how the next ones will come out can be counted ahead (lane.coming).
"""

from hashlib import blake2b
from struct import pack

from annotate.models import Project, QueueCursor, Task

CALIBRATION_SHARE = 0.5
"""Of the draws that would give an ordinary task, as long as the labeler has not judged the whole calibration set."""


def drawn(cursor: QueueCursor, number: int) -> float:
    """The draw of this number, uniform on [0, 1)."""
    key = pack(">qqq", cursor.draw_seed, cursor.labeler_id, cursor.project_id)
    digest = blake2b(pack(">q", number), digest_size=8, key=key).digest()
    return float((int.from_bytes(digest) >> 11) / 2**53)


def kind(draw: float, *, project: Project, calibrating: bool) -> str:
    """The kind of check that a draw asks for, as a state of its task; empty for an ordinary task."""
    rates = {
        Task.State.GOLD: project.gold_rate,
        Task.State.REPEAT: project.repeat_rate,
        Task.State.EVALUATION: project.evaluation_share,
    }
    for state, rate in rates.items():
        if draw < rate:
            return state
        draw -= rate
    ordinary = 1 - sum(rates.values())
    return Task.State.CALIBRATION if calibrating and draw < CALIBRATION_SHARE * ordinary else ""
