"""The labeling queue: lease a task, keep what was entered, submit it, undo that, skip it, reclaim what nobody finished.

Rules that hold at any moment, on PostgreSQL and on SQLite:
- A task is never leased to more labelers than it wants judgments. `Task.slots_free` only changes together with an
  assignment, in one transaction, by an update that checks the changed row.
- A labeler holds at most one current task and one ahead per project; asking again gives the same one.
- No judgment that was sent is refused for being late, and a repeated one is the same one.
- An older draft never takes the place of a newer one.

Locks are taken in the order cursor, assignment, task, project, and nobody waits for a task while he holds another one
with a higher number, so two requests never wait for each other. The cursor makes a labeler's own requests, from all
his browser tabs, go one after the other.
SQLite takes its one write lock at BEGIN (transaction_mode IMMEDIATE), which makes `select_for_update` needless there.

leases.py   who holds what, and for how long
work.py     what a labeler does with what he holds: drafts, judgments, skipping, undo
kinds.py    which kind of task a labeler wants for now
supply.py   new tasks, and how many judgments they want
arrangement.py  which of them come sooner
"""

from annotate.labeling.queue.kinds import choose_kind, chosen_kind
from annotate.labeling.queue.leases import claim_next, lease_ahead, look_ahead, release_expired, release_held
from annotate.labeling.queue.reordering import MOST_TASKS, movable, reorder
from annotate.labeling.queue.task_creation import add_comparison, set_overlap
from annotate.labeling.queue.work import DraftReceipt, save_draft, skip, submit, unskip, withdraw
from annotate.labeling.submissions import Receipt, Submission

__all__ = [
    "MOST_TASKS",
    "DraftReceipt",
    "Receipt",
    "Submission",
    "add_comparison",
    "choose_kind",
    "chosen_kind",
    "claim_next",
    "lease_ahead",
    "look_ahead",
    "movable",
    "release_expired",
    "release_held",
    "reorder",
    "save_draft",
    "set_overlap",
    "skip",
    "submit",
    "unskip",
    "withdraw",
]
