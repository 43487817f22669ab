"""As many judgments of a task as its labelers' agreement asks for, where a project has that switched on.

A comparison begins with the least number of judgments. Whenever it has as many as it wants, this asks: do they agree?
If so, it stays complete. If not, it wants one more, up to the project's cap. So a task on which the first labelers
agree is done early, before the project's usual number, and a disputed one gets more than that.

A submit marks the task in an update that it makes anyway; the job that scores hidden checks calls `adapt`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from annotate.data.pacing import Pace
from annotate.labeling.ordering import Ordering
from annotate.labeling.queue.leases import reopen
from annotate.models import Assignment, Judgment, Project, Task
from annotate.people import permissions
from annotate.quality.agreement import pairwise_agreement

BATCH = 50


def first_overlap(project: Project) -> int:
    """How many judgments a new comparison wants."""
    return project.overlap_least if project.adaptive_overlap else project.overlap


def adapt(project: Project, tasks: Iterable[int]) -> int:
    """Let complete comparisons on which labelers disagree want one more judgment; returns how many do."""
    complete = Task.objects.filter(
        pk__in=list(tasks),
        state=Task.State.COMPLETE,
        kind=Task.Kind.COMPARE,
        judgments_given__lt=min(project.overlap_most, permissions.count_people_who_judge(project)),
    )
    said = _said(list(complete.order_by("pk").values_list("pk", flat=True)))
    disputed = sorted(task for task, votes in said.items() if votes.agreement < project.overlap_agreement)
    pace, more = Pace(largest=BATCH), 0
    for batch in pace.batches(disputed):
        with pace.transaction():
            locked = complete.select_for_update(no_key=True).filter(pk__in=batch).order_by("pk")
            for task in list(locked):
                # One that came meanwhile has marked the task again, and is looked at then.
                if said[task.pk].counted != task.judgments_given:
                    continue
                held = task.assignments.filter(state__in=Assignment.HELD, is_check=False).count()
                task.judgments_wanted = task.judgments_given + 1
                task.slots_free = max(0, 1 - held)
                task.state = Task.State.OPEN
                task.save(update_fields=["judgments_wanted", "slots_free", "state"])
                reopen(task)
                more += 1
    return more


@dataclass(kw_only=True)
class _Votes:
    """Of one task. counted: without those that came beyond the overlap."""

    orderings: list[Ordering] = field(default_factory=list)
    none_acceptable: list[bool] = field(default_factory=list)
    counted: int = 0

    @property
    def agreement(self) -> float:
        """The share of pairs, over all two labelers, on which they agree; 1 where all say that none is acceptable."""
        share = pairwise_agreement(self.orderings)
        return float(all(self.none_acceptable)) if share is None else share


def _said(tasks: list[int]) -> Mapping[int, _Votes]:
    found: dict[int, _Votes] = defaultdict(_Votes)
    judged = Judgment.objects.filter(Judgment.COUNTED, task__in=tasks).order_by("pk")
    rows = judged.values_list("task", "surplus", "latest__tiers", "latest__all_unacceptable")
    for task, surplus, tiers, none in list(rows):
        votes = found[task]
        votes.orderings.append(Ordering.stored(tiers))
        votes.none_acceptable.append(none)
        votes.counted += not surplus
    return found
