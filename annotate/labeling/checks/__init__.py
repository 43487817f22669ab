"""Hidden checks of quality: tasks that look like all others, given among them, and whose judgments are no data.

    gold         a comparison whose order is known
    repeat       one that the labeler judged before, shown once more in another order
    calibration  one of a set that every labeler judges, early in their work

Comparisons of a head-to-head evaluation (state `evaluate`) come by the same lane, hidden in the same way, and have no
score. rlhf.human_evaluation makes them; each is given to as many labelers as it wants judgments, by its slots.

All of them come by one lane beside the slots of the queue (lane.py): a draw of a stored seed says whether a labeler's
next task is a check (draws.py). An assignment of the lane says so (`is_check`), takes no slot, and can be submitted
like any other, whatever became of the project's rates or of the task meanwhile. Its judgment carries the same mark: it
counts as work of the labeler, and in no snapshot, consensus or progress of the project (`Judgment.COUNTED`).

No page, address, message or order of tasks differs between a check and an ordinary task. What differs happens in a job:
scores.py rates the judgments, thresholds.py acts on the latest scores of a labeler.

draws.py        which draw asks for which kind of check
lane.py         the next check of a labeler, and how many are coming
gold.py         gold tasks: promoted, removed, listed
calibration.py  the calibration set
scores.py       the job: scores of judgments that were given as checks
thresholds.py   warnings, pauses and requalification, and undoing them
"""
