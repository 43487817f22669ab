"""Runs in which an AI labeler judges: which tasks, what may be spent, and what becomes of the verdicts.

A run is paused by cancelling it and goes on by resuming it, like every other run. Its verdicts are in a file beside its
other files as they come, so that a killed run asks nothing twice; they become judgments at its end, each task's once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet, TextChoices
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.data.pacing import Pace
from annotate.data.stored_messages import refusal
from annotate.errors import Refused
from annotate.labeling import ai_judgments, queue
from annotate.models import AILabeler, Judgment, Response, Task, TaskResponse, User
from annotate.people import audit
from annotate.quality import ai_agreement
from models_core.contract.rows import json_lines
from models_core.contract.settings import JudgeConfig, parse
from rlhf.ai_feedback import endpoints, judges
from rlhf.models import AIJudge, ModelVersion, RunInput, Stage, TrainingRun
from rlhf.runs import runs
from rlhf.runs.runs import Lease
from rlhf.runs.storage import run_artefacts

MOST_TASKS = 5_000
"""Tasks of one run."""
OUTPUT = "judgments.jsonl"
MILLION = 1_000_000
Row = dict[str, Any]


class Choice(TextChoices):
    """Which tasks a run is for."""

    JUDGED = "judged", gettext_lazy("Tasks that people have judged: to measure its agreement")
    UNJUDGED = "unjudged", gettext_lazy("Tasks that nobody has judged yet")
    ALL = "all", gettext_lazy("All tasks")


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What all runs of an AI labeler did cost, those that were killed among them."""

    requests: int = 0
    tokens: int = 0
    cost: float = 0.0


def candidates(labeler: AILabeler, choice: str) -> QuerySet[Task]:
    """Comparisons that its latest version has not judged, in random order, the same each time."""
    done = Judgment.objects.filter(
        task=OuterRef("pk"), ai_labeler=labeler, latest__content__judge_version=labeler.version
    )
    tasks = Task.objects.filter(
        ~Exists(done),
        project=labeler.project,
        kind=Task.Kind.COMPARE,
        state__in=[Task.State.OPEN, Task.State.COMPLETE],
    )
    if choice != Choice.ALL:
        by_people = Exists(Judgment.objects.filter(Judgment.COUNTED, task=OuterRef("pk")))
        tasks = tasks.filter(by_people if choice == Choice.JUDGED else ~by_people)
    return tasks.order_by("random_key", "pk")


def spent(labeler: AILabeler) -> Spent:
    requests, read, written = 0, 0, 0
    for run in judges.runs_of(labeler):
        for usage in _usage(run):
            requests += int(usage.get("requests") or 0)
            read += int(usage.get("input_tokens") or 0)
            written += int(usage.get("output_tokens") or 0)
    settings = parse(JudgeConfig, labeler.judge.config)
    cost = (read * settings.input_token_cost + written * settings.output_token_cost) / MILLION
    return Spent(requests=requests, tokens=read + written, cost=cost)


def _usage(run: TrainingRun) -> Iterator[Row]:
    """What a run used: its result, or what the file of a run without one says."""
    if run.status == TrainingRun.Status.SUCCEEDED:
        yield run.result
        return
    partial = run_artefacts.shown(run).path / f"{OUTPUT}.partial"
    yield from (entry["usage"] for entry in json_lines.written(partial) if isinstance(entry.get("usage"), dict))


def start(labeler: AILabeler, *, choice: str, most: int, adds_comparisons: bool = True, by: User | None) -> TrainingRun:
    """Queue a run that judges up to `most` tasks. Raises Refused with a sentence."""
    judge: AIJudge = labeler.judge
    if not 1 <= most <= MOST_TASKS:
        raise Refused(_("Choose 1 to %(most)s tasks.") % {"most": MOST_TASKS}, status=400)
    if choice not in Choice.values:
        raise Refused(_("Choose which tasks it is to judge."), status=400)
    if (unfinished := judges.unfinished_run(labeler)) is not None:
        raise Refused(_("Run %(run)d judges already. Wait until it ends, or pause it.") % {"run": unfinished.pk})
    runs.refuse_too_many(labeler.project)
    tasks = list(candidates(labeler, choice).values_list("pk", flat=True)[:most])
    if not tasks:
        raise Refused(_("There are no such tasks that it has not judged already."))
    config = dict(judge.config) | _budget_left(labeler)
    inputs: dict[str, ModelVersion] = {}
    if judge.kind == AIJudge.Kind.REWARD:
        assert judge.reward_model is not None  # by a constraint
        inputs[RunInput.Role.MODEL] = judge.reward_model
    else:
        endpoints.find(judge.endpoint)
        prompt = judges.current_prompt(judge)
        assert prompt is not None  # made with the judge
        config |= {
            "judge_instructions": prompt.instructions,
            "judge_rubric": prompt.rubric,
            "constitution": prompt.constitution,
        }
    return runs.enqueue(
        project=labeler.project,
        stage=Stage.JUDGE,
        config=config,
        options={
            "ai_labeler": labeler.pk,
            "version": labeler.version,
            "tasks": tasks,
            "adds_comparisons": adds_comparisons,
        },
        inputs=inputs,
        by=by,
    )


def _budget_left(labeler: AILabeler) -> Row:
    """The limits of a further run. Raises Refused where nothing is left."""
    settings, used = parse(JudgeConfig, labeler.judge.config), spent(labeler)
    left: Row = {}
    for name, limit, amount in (
        ("max_requests", settings.max_requests, used.requests),
        ("max_tokens", settings.max_tokens, used.tokens),
        ("max_cost", settings.max_cost, used.cost),
    ):
        if not limit:
            continue
        if limit - amount <= 0:
            raise Refused(_("Its budget is spent. Raise it under Settings to go on."))
        left[name] = limit - amount
    return left


def labeler_of(run: TrainingRun) -> AILabeler:
    """Raises Refused where what it judges with was changed since the run began."""
    labeler = AILabeler.objects.select_related("project", "user", "author", "judge").get(pk=run.options["ai_labeler"])
    if labeler.version != run.options["version"]:
        raise refusal("ai_judge_changed", labeler=labeler.name)
    return labeler


def rows_of(run: TrainingRun) -> list[Row]:
    """The comparisons of a run. Raises Refused where there are none any more."""
    labeler_of(run)
    found = Task.objects.filter(pk__in=run.options["tasks"]).select_related("prompt")
    rows = [
        {
            "id": str(task.pk),
            "prompt": task.prompt.messages,
            "responses": [{"text": item.response.text} for item in task.task_responses.all()],
        }
        for task in found.prefetch_related("task_responses__response").order_by("pk")
        if task.prompt is not None
    ]
    if not rows:
        raise refusal("too_few_comparisons")
    return rows


def store(run: TrainingRun, lease: Lease, path: Path) -> Row:
    """Keep the verdicts as judgments, and revisions as responses; measure again. Idempotent. Raises LeaseLost."""
    labeler = labeler_of(run)
    judged = [row for row in json_lines.whole(path) if row["tiers"] is not None]
    counts = {"judgments": 0, "revised_responses": 0}
    pace = Pace()
    for batch in pace.batches(judged):
        with pace.transaction():
            runs.renew(lease)
            keys = [int(row["id"]) for row in batch]
            tasks = Task.objects.select_related("prompt", "project").in_bulk(keys)
            shown: dict[int, list[int]] = {key: [] for key in keys}
            places = TaskResponse.objects.filter(task__in=keys).order_by("task", "number")
            for task_id, response_id in places.values_list("task", "response"):
                shown[task_id].append(response_id)
            for row in batch:
                if (task := tasks.get(int(row["id"]))) is not None:
                    _store_row(row, run=run, labeler=labeler, task=task, shown=shown[task.pk], counts=counts)
    detail: dict[str, Any] = {"run": run.pk, **counts}
    audit.record(verb="ai_labeler.judged", actor=run.created_by, subject=labeler, project=labeler.project, **detail)
    ai_agreement.measure(labeler)
    return counts


def _store_row(
    row: Row, *, run: TrainingRun, labeler: AILabeler, task: Task, shown: list[int], counts: dict[str, int]
) -> None:
    details: Row = {name: row[name] for name in ("pairs", "consistent") if name in row}
    scores = row.get("scores")
    if scores is not None:
        details["scores"] = {str(key): score for key, score in zip(shown, scores, strict=True)}
    tiers = [[shown[place] for place in tier] for tier in row["tiers"]]
    receipt = ai_judgments.store(
        labeler=labeler, task=task, presentation=shown, tiers=tiers, details=details | {"run": run.pk}
    )
    counts["judgments"] += not receipt.repeated
    revision = row.get("revision")
    if revision is None or receipt.repeated:
        return
    original = Response.objects.select_related("prompt").get(pk=shown[revision["response"]])
    revised = ai_judgments.revise_response(labeler=labeler, original=original, written=revision["text"], run=run.pk)
    if revised is None:
        return
    counts["revised_responses"] += 1
    if run.options.get("adds_comparisons") and not revised.tasks.exists():
        queue.add_comparison(project=labeler.project, prompt=original.prompt, responses=[original, revised])
