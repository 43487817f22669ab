"""The labeling queue: lease a task, keep its draft, submit it, undo that, skip it, end leases that ran out.

Rules that hold at any moment, on PostgreSQL and on SQLite:
- A task is never leased to more labelers than it wants judgments. `Task.slots_free` only changes together with an
  assignment, in one transaction, by an update that checks the changed row.
- A labeler holds at most one current task and one ahead per project; asking again gives the same one.
- No judgment that was sent is refused for being late, and a repeated one is the same one.
- An older draft never takes the place of a newer one.

Locks are taken in the order cursor, assignment, task, project, and no transaction waits for a task while it holds
one with a higher number, so two requests never wait for each other. The cursor serialises a labeler's own requests,
from all their browser tabs.
SQLite takes its one write lock at BEGIN (transaction_mode IMMEDIATE), which makes `select_for_update` needless there.

leases.py         who holds which task, and for how long
work_rules.py     what a labeler may be given: pause, daily limit, languages, skills, reserved tasks, edits
assignments.py    drafts, judgments, skipping, undo
chosen_kinds.py   the kind of task that a labeler asked for
task_creation.py  new comparisons
overlap.py        the number of judgments that they want
task_changes.py   a new priority, reservation, skill or overlap of many tasks
adaptive_overlap.py  more of them where labelers disagree
reordering.py     the order of comparisons that nobody has judged
"""

from annotate.labeling.queue.adaptive_overlap import first_overlap
from annotate.labeling.queue.assignments import (
    DraftReceipt,
    save_draft,
    skip,
    submit,
    submit_and_claim,
    undo,
    unskip,
    withdraw,
)
from annotate.labeling.queue.chosen_kinds import choose_kind, chosen_kind
from annotate.labeling.queue.leases import (
    claim_next,
    lease_ahead,
    lock_claims,
    look_again,
    look_ahead,
    release_expired,
    release_held,
)
from annotate.labeling.queue.overlap import (
    abandoned_overlap_changes,
    begin_overlap_change,
    plan_overlap_change,
    run_overlap_change,
)
from annotate.labeling.queue.reordering import MOST_TASKS, movable, reorder
from annotate.labeling.queue.task_changes import (
    abandoned_task_changes,
    begin_task_change,
    plan_task_change,
    release_reserved,
    run_task_change,
)
from annotate.labeling.queue.task_creation import add_comparison
from annotate.labeling.queue.work_rules import WorkRules, why_no_work
from annotate.labeling.submissions import Receipt, Submission

__all__ = [
    "MOST_TASKS",
    "DraftReceipt",
    "Receipt",
    "Submission",
    "WorkRules",
    "abandoned_overlap_changes",
    "abandoned_task_changes",
    "add_comparison",
    "begin_overlap_change",
    "begin_task_change",
    "choose_kind",
    "chosen_kind",
    "claim_next",
    "first_overlap",
    "lease_ahead",
    "lock_claims",
    "look_again",
    "look_ahead",
    "movable",
    "plan_overlap_change",
    "plan_task_change",
    "release_expired",
    "release_held",
    "release_reserved",
    "reorder",
    "run_overlap_change",
    "run_task_change",
    "save_draft",
    "skip",
    "submit",
    "submit_and_claim",
    "undo",
    "unskip",
    "why_no_work",
    "withdraw",
]
