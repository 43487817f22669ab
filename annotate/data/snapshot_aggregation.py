"""The judgments of a snapshot of rankings weighted by their labelers' reliability, or reduced to a consensus per task.

Reliabilities are estimated from the snapshot's own judgments, as they stood when its keys were read: equal data gives
equal bytes, whatever estimate is stored when. The weights of a snapshot's rows have the mean 1.

    weighted   a judgment's weight is its own times 2 eta - 1 of its labeler, at least 0, divided by the mean
    consensus  a row a task in place of its judgments; its weight is its confidence, divided by the mean

Judgments of AI labelers are rows as they are, with their labeler's weight, where people's have the mean 1: nothing here
is estimated from them.

In every mode an adjudicated task is one row, of the adjudicated order: it counts like a labeler who is never wrong, and
like a certain consensus. The judgments that it stands for still say how reliable their labelers are.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from annotate.data.pseudonyms import labeler_name
from annotate.data.snapshot_selection import Selection, judgments_of_tasks
from annotate.data.stored_messages import refusal
from annotate.models import Demonstration, JudgmentRevision, Project, Snapshot, User
from annotate.quality import consensus as stored_consensus
from annotate.quality.aggregation.task_votes import TaskVotes
from annotate.quality.aggregation.votes import Consensus
from annotate.quality.consensus import LATEST_TASKS, Estimates

Mode = Snapshot.Aggregation
BATCH = 500
DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What the judgments of a task come to.

    labels: as TaskConsensus has them. judge: who judged, if all say the same; else a human. margin: the mean of those
    who order the responses as the consensus does, rounded. adjudicated: a reviewer decided; `judgments` are those that
    the reviewer's stands for.
    """

    consensus: Consensus
    labels: Mapping[str, Any]
    judgments: int
    judge: str
    margin: int | None
    adjudicated: bool = False


@dataclass(frozen=True, kw_only=True)
class Aggregation:
    """How the rows of a snapshot are made of its judgments.

    tasks: in the mode `consensus`, what each task comes to. mean: of the weights before they are divided by it.
    """

    mode: str = Mode.RAW
    method: str = ""
    estimates: Estimates = field(default_factory=Estimates)
    names: Mapping[int, str] = field(default_factory=dict)
    tasks: Mapping[int, TaskResult] = field(default_factory=dict)
    mean: float = 1.0

    def weight(self, labeler: int, own: float | None, *, is_adjudication: bool = False) -> float | None:
        """Of a judgment that came with the weight `own`, or of an edit; None says nothing, which is 1."""
        if self.mode == Mode.RAW:
            return own
        return round(self._unscaled(labeler, own, is_adjudication=is_adjudication) / self.mean, DIGITS)

    def _unscaled(self, labeler: int, own: float | None, *, is_adjudication: bool = False) -> float:
        by_reliability = 1.0
        if self.mode == Mode.WEIGHTED and not is_adjudication:
            by_reliability = self.estimates.crowd_bt.weight(labeler)
        return (1.0 if own is None else own) * by_reliability

    def weight_of_task(self, task_id: int) -> float:
        return round(self.tasks[task_id].consensus.confidence / self.mean, DIGITS)

    def description(self) -> dict[str, Any]:
        """For the manifest."""
        if self.mode == Mode.RAW:
            return {"mode": str(self.mode)}
        model = self.estimates.crowd_bt
        return {
            "mode": str(self.mode),
            **({"method": self.method} if self.method else {}),
            "reliability": {
                self.names[labeler]: {
                    "reliability": round(reliability, DIGITS),
                    "comparisons": model.comparisons[labeler],
                    "weight": round(model.weight(labeler), DIGITS),
                }
                for labeler, reliability in sorted(
                    model.reliability.items(), key=lambda item: (-item[1], self.names[item[0]])
                )
            },
        }


RAW = Aggregation()


def prepared(snapshot: Snapshot, selections: tuple[Selection, ...], *, heartbeat: Callable[[], None]) -> Aggregation:
    """Estimate what the rows need. Raises Refused where all weights are 0."""
    if snapshot.aggregation == Mode.RAW:
        return RAW
    judged, *others = selections
    edits = [selection for selection in others if not selection.stands_apart]
    drops_ties = snapshot.tie_policy == Snapshot.TiePolicy.DROP
    by_labelers = [place for place, decides in enumerate(judged.adjudications) if not decides]
    counts = Counter(judged.tasks[place] for place in by_labelers)
    shared = set(sorted(task for task, count in counts.items() if count > 1)[-LATEST_TASKS:])
    of_shared = [place for place in by_labelers if judged.tasks[place] in shared]
    votes_of_shared = (votes for _, votes, _ in judgments_of_tasks(judged, of_shared, heartbeat=heartbeat))
    estimates = Estimates.from_votes(votes_of_shared, heartbeat=heartbeat)
    editors = [labeler for selection in edits for labeler in _editors(selection)]
    labelers = User.objects.in_bulk(set(judged.labelers) | set(editors))
    found = Aggregation(
        mode=snapshot.aggregation,
        estimates=estimates,
        names={key: labeler_name(user, snapshot.project) for key, user in labelers.items()},
    )
    weights = [found._unscaled(labeler, None) for labeler in editors]
    row_places = [place for place in range(len(judged)) if not judged.is_replaced(place)]
    if snapshot.aggregation == Mode.WEIGHTED:
        for task_id, _, rows in judgments_of_tasks(judged, row_places, heartbeat=heartbeat):
            decided = task_id in judged.adjudicated_tasks
            weights += [
                found._unscaled(row["labeler"], row["content"].get("weight"), is_adjudication=decided)
                for row in rows
                if not drops_ties or len(row["tiers"]) > 1
            ]
        return _scaled(found, weights)
    results_of = _results(
        judged, row_places, counts, project=snapshot.project, estimates=estimates, heartbeat=heartbeat
    )
    tasks = dict(results_of)
    results = [result.consensus for result in tasks.values()]
    weights += [result.confidence for result in results if not drops_ties or len(result.tiers) > 1]
    return _scaled(found, weights, method=snapshot.project.consensus_method, tasks=tasks)


def _scaled(aggregation: Aggregation, weights: list[float], **values: Any) -> Aggregation:
    if weights and not any(weights):
        raise refusal("weights_sum_to_zero")
    return replace(aggregation, **values, mean=fmean(weights) if weights else 1.0)


def _results(
    judged: Selection,
    row_places: list[int],
    counts: Mapping[int, int],
    *,
    project: Project,
    estimates: Estimates,
    heartbeat: Callable[[], None],
) -> Iterator[tuple[int, TaskResult]]:
    batch: list[tuple[int, TaskVotes, list[dict[str, Any]]]] = []

    def computed() -> Iterator[tuple[int, TaskResult]]:
        orders = stored_consensus.orders(
            [votes for _, votes, _ in batch], method=project.consensus_method, estimates=estimates
        )
        for (task_id, votes, rows), order in zip(batch, orders, strict=True):
            labels = stored_consensus.labels(votes, estimates=estimates)
            decided = task_id in judged.adjudicated_tasks
            if decided:
                order, labels = stored_consensus.adjudicated(votes)
            judges = {row["content"].get("judge") or row["source"] for row in rows}
            yield (
                task_id,
                TaskResult(
                    consensus=order,
                    labels=labels,
                    judgments=counts.get(task_id, 0) if decided else len(votes.orderings),
                    adjudicated=decided,
                    judge=judges.pop() if len(judges) == 1 else JudgmentRevision.Source.HUMAN.value,
                    margin=_margin(rows, order),
                ),
            )

    for item in judgments_of_tasks(judged, row_places, heartbeat=heartbeat):
        batch.append(item)
        if len(batch) == BATCH:
            yield from computed()
            batch = []
    yield from computed()


def _margin(rows: list[dict[str, Any]], order: Consensus) -> int | None:
    same = [
        row["margin"]
        for row in rows
        if row["margin"] is not None and [sorted(tier) for tier in row["tiers"]] == [list(tier) for tier in order.tiers]
    ]
    return round(fmean(same)) if same else None


def _editors(edits: Selection) -> list[int]:
    """Who made each edit."""
    found: list[int] = []
    keys = edits.keys.tolist()
    for start in range(0, len(keys), BATCH):
        some = Demonstration.objects.filter(pk__in=keys[start : start + BATCH]).order_by()
        found += some.values_list("assignment__labeler", flat=True)
    return found
