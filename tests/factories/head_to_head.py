"""Three policies of two rounds, compared by people: an evaluation that has ended and one that is being judged."""

from typing import Any

from annotate.labeling import queue
from annotate.models import Author, Project, Response, User
from rlhf.human_evaluation import evaluations, leaderboard
from rlhf.human_evaluation.evaluations import Plan
from rlhf.models import (
    HumanEvaluation,
    Iteration,
    ModelVersion,
    PlaygroundChat,
    PlaygroundReply,
    PlaygroundTurn,
    RunInput,
    Stage,
    TrainingRun,
)
from tests.factories.cast import judge, make_prompt

PROMPTS = 24


def make_policies(project: Project, count: int) -> list[ModelVersion]:
    """Policies, each with an author; those that are there are kept."""
    made = []
    for number in range(1, count + 1):
        author, _ = Author.objects.get_or_create(
            kind=Author.Kind.MODEL, name=f"{project.slug}/policy-{number}", user=None
        )
        version, _ = ModelVersion.objects.get_or_create(
            project=project, kind="policy", number=number, defaults={"author": author, "folder": f"runs/p{number}"}
        )
        made.append(version)
    return made


def made(project: Project, *, manager: User, labeler: User) -> tuple[HumanEvaluation, HumanEvaluation]:
    """(ended, being judged) in a project of its own. The labeler prefers the later policy three times of four."""
    policies = make_policies(project, 3)
    for number in range(PROMPTS):
        prompt = make_prompt(project, f"Why is the {number + 1}th egg harder than the first?")
        prompt.use_case = ("open_qa", "chat", "brainstorming")[number % 3]
        prompt.language = ("en", "zh")[number % 2]
        prompt.save()
        for place, policy in enumerate(policies):
            text = f"Because it was boiled {'much ' * place}longer, for {number + 3} minutes."
            Response.objects.create(prompt=prompt, author=policy.author, text=text)
    for number, policy in enumerate(policies[1:], start=1):
        Iteration.objects.create(project=project, number=number, state="succeeded", policy_version=policy)
    plan = Plan(versions=policies, split="", response_source="present", share=0.5)
    ended = evaluations.start(plan, project=project, by=manager)
    evaluations.advance(ended.pk)
    _judge(project, labeler, policies, most=PROMPTS)
    evaluations.advance(ended.pk)
    going = evaluations.start(
        Plan(versions=policies[1:], split="", response_source="present"), project=project, by=manager
    )
    evaluations.advance(going.pk)
    _judge(project, labeler, policies[1:], most=5)
    evaluations.advance(going.pk)
    leaderboard.refresh(project)
    return ended, going


def _judge(project: Project, labeler: User, policies: list[ModelVersion], *, most: int) -> None:
    for number in range(most):
        project.refresh_from_db()
        held = queue.claim_next(labeler=labeler, project=project, ahead=False)
        assert held is not None
        author_of = dict(Response.objects.filter(pk__in=held.presentation).values_list("author", "pk"))
        keys = [author_of[policy.author_id] for policy in policies]
        judge(held, [[key] for key in (keys if number % 4 == 0 else keys[::-1])], seconds=20.0)


def chat(project: Project, *, user: User, is_blind: bool) -> PlaygroundChat:
    """A chat with two policies of which one turn is answered; the next one of an open chat is under way."""
    chat = PlaygroundChat.objects.create(project=project, user=user, is_blind=is_blind)
    columns = [
        chat.columns.create(version=policy, place=place) for place, policy in enumerate(make_policies(project, 2))
    ]
    first = chat.turns.create(number=1, messages=[{"role": "user", "content": "How do I **peel** an egg?"}])
    _replied(first, columns, status="succeeded", texts=("Under cold water.", "1. Crack it.\n2. Roll it.\n3. Peel it."))
    if not is_blind:
        messages = [*first.messages, {"role": "assistant", "content": "Under cold water."}]
        second = chat.turns.create(number=2, messages=[*messages, {"role": "user", "content": "Why cold?"}])
        _replied(second, columns, status="queued", texts=("", ""))
    return chat


def _replied(turn: PlaygroundTurn, columns: list[Any], *, status: str, texts: tuple[str, ...]) -> None:
    for column, text in zip(columns, texts, strict=True):
        run = TrainingRun.objects.create(
            project=turn.chat.project, stage=Stage.SAMPLE, status=status, queue="live", options={"playground": True}
        )
        run.run_inputs.create(version=column.version, role=RunInput.Role.MODEL)
        PlaygroundReply.objects.create(turn=turn, column=column, run=run, text=text, finish_reason="eos", score=0.4)
