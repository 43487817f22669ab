"""Simulated labelers: a scoring function with human-like noise, working through the same queue as people.

Their preferences are known, so a whole loop can be measured against them. A simulated labeler perceives each response
as score / noise plus a Gumbel sample and ranks by that (Plackett-Luce): they prefer one of two responses with the
Bradley-Terry probability sigmoid(difference / noise). Their judgments are marked as an AI's, and their accounts can't
sign in.
"""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, cycle

import numpy as np
from django.db import transaction

from annotate.errors import Refused
from annotate.labeling import queue
from annotate.labeling.ordering import Ordering
from annotate.models import Assignment, JudgmentRevision, Membership, Project, Response, Task, TaskResponse, User
from annotate.people import audit, stand_in_accounts
from annotate.quality import measures
from annotate.quality.intervals import Share
from annotate.quality.measures.report import Period, PeriodReport

Judge = Callable[[str], float]
# InstructGPT's labelers agreed on 72.6% of pairs (Ouyang et al. 2022, section 3.4).
HUMAN_AGREEMENT = 0.73
LARGEST_NOISE = 1e3
CALIBRATION_TASKS = 5_000


def positivity() -> Judge:
    """Likes responses that sound positive: VADER's compound score, from -1 to 1 (Hutto and Gilbert 2014)."""
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        raise Refused("The positivity judge needs vaderSentiment: pip install vaderSentiment.") from None
    analyser = SentimentIntensityAnalyzer()
    return lambda text: float(analyser.polarity_scores(text)["compound"])


JUDGES: dict[str, Callable[[], Judge]] = {"positivity": positivity}


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What a simulation did.

    expected: agreement of two such labelers by the noise, None where nothing was judged yet.
    measured: strict agreement of all labelers of the project, where two judged a task.
    """

    judgments: int
    labelers: int
    noise: float
    expected: float | None
    measured: Share


def simulate(
    *,
    project: Project,
    judge: str = "positivity",
    labelers: int = 2,
    noise: float | None = None,
    agreement: float = HUMAN_AGREEMENT,
    judgments: int | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Let `labelers` simulated labelers judge by turns until the queue is empty or `judgments` are given.

    noise: of their perception, in units of the judge's score; None calibrates it so that two of them agree on the share
    `agreement` of strict pairs. The same seed, labeler and responses give the same ordering. Raises Refused (400).
    """
    if judge not in JUDGES:
        raise Refused(f"There is no judge {judge!r}; there are {', '.join(JUDGES)}.", status=400)
    if not 1 <= labelers <= 100:
        raise Refused("Simulate 1 to 100 labelers.", status=400)
    score = JUDGES[judge]()
    differences = score_differences(project=project, score=score)
    if noise is None:
        noise = calibrated_noise(differences, agreement=agreement)
    elif not 0 < noise <= LARGEST_NOISE:
        raise Refused(f"The noise lies between 0 and {LARGEST_NOISE:g}.", status=400)
    people = [_simulated_labeler(project=project, number=number) for number in range(1, labelers + 1)]
    given = 0
    waiting = set(range(len(people)))
    for index in cycle(range(len(people))):
        if not waiting or (judgments is not None and given >= judgments):
            break
        assignment = queue.claim_next(labeler=people[index], project=project)
        if assignment is None:
            waiting.discard(index)
            continue
        waiting.add(index)
        _judge(assignment, score=score, noise=noise, seed=seed, number=index)
        given += 1
        if progress is not None:
            progress(given)
    for person in people:
        queue.release_held(labeler=person, project=project)
    measures.fold(project)
    return Simulation(
        judgments=given,
        labelers=labelers,
        noise=noise,
        expected=expected_agreement(differences, noise=noise) if len(differences) else None,
        measured=PeriodReport(project, Period.everything(project)).total.strict_agreement,
    )


def perceived_ordering(scores: dict[int, float], *, noise: float, generator: np.random.Generator) -> Ordering:
    """How a labeler ranks responses of these scores, by response id."""
    ids = sorted(scores)
    perceived = np.array([scores[response_id] for response_id in ids]) / noise + generator.gumbel(size=len(ids))
    return Ordering(tuple((ids[place],) for place in np.argsort(-perceived)))


def score_differences(*, project: Project, score: Judge) -> np.ndarray:
    """Of every two responses of the project's latest comparisons, shape (pairs,)."""
    tasks = Task.objects.filter(project=project, kind=Task.Kind.COMPARE).order_by("-pk")[:CALIBRATION_TASKS]
    by_task: dict[int, list[float]] = {}
    texts = TaskResponse.objects.filter(task__in=list(tasks.values_list("pk", flat=True)))
    for task_id, text in texts.values_list("task", "response__text"):
        by_task.setdefault(task_id, []).append(score(text))
    return np.array([abs(a - b) for scores in by_task.values() for a, b in combinations(scores, 2)])


def expected_agreement(differences: np.ndarray, *, noise: float) -> float:
    """The mean chance that two labelers prefer the same response: p squared plus (1 - p) squared."""
    prefer = 1 / (1 + np.exp(-np.minimum(np.abs(differences) / noise, 700)))
    return float(np.mean(prefer**2 + (1 - prefer) ** 2))


def calibrated_noise(differences: np.ndarray, *, agreement: float) -> float:
    """The noise at which the expected agreement is `agreement`, by bisection: it falls as the noise grows.

    Raises Refused when no noise gives it: too few responses differ for the judge.
    """
    if not 0.5 < agreement < 1:
        raise Refused("Labelers agree on more than half and less than all pairs.", status=400)
    if not len(differences):
        raise Refused("There are no comparisons in this project to judge.")
    low, high = 1e-6, LARGEST_NOISE
    best = expected_agreement(differences, noise=low)
    if best < agreement:
        raise Refused(
            f"Two labelers can agree on {best:.0%} of these pairs at most, because many responses score the same. "
            "Give a lower agreement, or the noise itself."
        )
    while high / low > 1 + 1e-9:
        middle = float(np.sqrt(low * high))
        if expected_agreement(differences, noise=middle) > agreement:
            low = middle
        else:
            high = middle
    return low


def _judge(assignment: Assignment, *, score: Judge, noise: float, seed: int, number: int) -> None:
    texts = dict(Response.objects.filter(pk__in=assignment.presentation).values_list("pk", "text"))
    # Of what is judged and not of row numbers, so that the same responses are ranked the same in another database.
    digest = hashlib.sha256("\0".join([str(seed), str(number), *sorted(texts.values())]).encode()).digest()
    generator = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    ordering = perceived_ordering(
        {response_id: score(text) for response_id, text in texts.items()}, noise=noise, generator=generator
    )
    submission = queue.Submission(
        client_id=uuid.UUID(bytes=digest[16:]), tiers=ordering.tiers, source=JudgmentRevision.Source.AI
    )
    queue.submit(assignment_id=assignment.pk, labeler=assignment.labeler, submission=submission)


def _simulated_labeler(*, project: Project, number: int) -> User:
    """The project's simulated labeler of this number: an account that can't sign in."""
    with transaction.atomic():
        user = stand_in_accounts.account(
            f"simulated:{project.slug}:{number}", first_name="Simulated", last_name=f"labeler {number}"
        )
        membership, made = Membership.objects.get_or_create(user=user, project=project, role=Membership.Role.LABELER)
        if made:
            audit.record(verb="membership.created", actor=None, subject=membership, project=project, person=user)
    return user
