"""One judgment out of several labelers' judgments of a task, and how reliable each labeler is.

The algorithms are pure (`votes`, `majority`, `borda`, `crowd_bt`, `dawid_skene`): orderings and labels in, tiers,
confidences and reliabilities out. `task_votes` reads them from judgments, and `annotate.quality.consensus` stores what
comes out.
docs/aggregation.md has the equations and says when to use which.
"""
