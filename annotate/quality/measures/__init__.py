"""Measures of quality, by period: kept as sums by increments, so that a page costs the same however much was judged.

contributions.py  what the judgments of one task add to the sums
facts.py          reading them
sums.py           rows of sums
row_writes.py     writing many rows by their keys
folding.py        the job that keeps them, and computes them from scratch
report.py         measures of a period: of a project, by labeler, criterion, use case, language
advice.py         signs of haste, pasting and straight-lining
payment.py        hours and counts by labeler, as CSV
"""

from annotate.quality.measures.folding import (
    fold,
    fold_due,
    hand_over,
    judgments_changed,
    request_recompute,
    store_scores,
)

__all__ = ["fold", "fold_due", "hand_over", "judgments_changed", "request_recompute", "store_scores"]
