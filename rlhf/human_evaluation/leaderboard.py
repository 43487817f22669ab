"""Ratings of all versions of a project from all its evaluations, and the line over rounds: is the model getting better?

The anchor, with 1000 points, is the oldest version that was ever compared: the base model as a rule.
"""

from typing import Any

from django.db.models import Q
from django.utils import timezone

from annotate.models import Project
from rlhf.human_evaluation import comparisons, figures
from rlhf.human_evaluation.comparisons import JudgedPrompt
from rlhf.models import EvaluationItem, HumanEvaluation, Iteration, Leaderboard, ModelVersion


def refresh_due() -> None:
    """Compute the leaderboards of projects where something was judged since."""
    for project in Project.objects.filter(pk__in=HumanEvaluation.objects.order_by().values("project")):
        refresh(project)


def refresh(project: Project) -> Leaderboard:
    """The leaderboard as it is now, computed again where judgments changed since."""
    board, _made = Leaderboard.objects.get_or_create(project=project)
    items = EvaluationItem.objects.filter(evaluation__project=project)
    state = f"{items.filter(task=None).exclude(responses={}).count()}/" + figures.state_of(
        Q(task__evaluation_item__evaluation__project=project)
    )
    if board.figures_of != state:
        board.figures, board.figures_of, board.figures_at = _compute(project), state, timezone.now()
        board.save()
    return board


def _compute(project: Project) -> dict[str, Any]:
    judged = figures.judged_prompts(EvaluationItem.objects.filter(evaluation__project=project))
    prompts: list[JudgedPrompt] = [prompt for prompt in judged if prompt.orders]
    found = [one for prompt in prompts for one in comparisons.of_prompt(prompt)]
    versions = {version for one in found for version in (one.first, one.second)}
    if not versions:
        return {}
    anchor = min(versions)
    compared: dict[int, set[int]] = {version: set() for version in versions}
    for one in found:
        compared[one.first].add(one.prompt)
        compared[one.second].add(one.prompt)
    return {
        "judgments": sum(len(prompt.orders) for prompt in prompts),
        "prompts": {str(version): len(keys) for version, keys in compared.items()},
        "ratings": figures.rated(found, anchor=anchor, seed=project.pk),
        "controlled": figures.rated(found, anchor=anchor, seed=project.pk, control_length=True),
    }


def rounds(project: Project, board: Leaderboard) -> list[dict[str, Any]]:
    """[{round, version, rating, low, high}] of the policies that rounds brought, after the anchor as round 0.

    Rounds whose policy was never compared are left out.
    """
    ratings = board.figures.get("ratings", {"versions": [], "anchor": None})
    rated = {one["version"]: one for one in ratings["versions"]}
    done = project.iterations.filter(state=Iteration.State.SUCCEEDED, policy_version__in=rated).order_by("number")
    points = [(iteration.number, iteration.policy_version_id) for iteration in done]
    if points and ratings["anchor"] not in dict(points).values():
        points.insert(0, (0, ratings["anchor"]))
    versions = ModelVersion.objects.in_bulk(rated)
    names = ("rating", "low", "high")
    return [
        {"round": number, "version": versions[key], **{name: rated[key][name] for name in names}}
        for number, key in points
        if key is not None
    ]
