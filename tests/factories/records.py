"""One record of every kind that an address can name, belonging to one person in one project, each with a mark in its
text, so that a page which shows it to somebody else is found out.
"""

import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from annotate.models import (
    AILabeler,
    Assignment,
    ExamAnswer,
    ExamAttempt,
    Invitation,
    JudgmentExclusion,
    Project,
    Prompt,
    QualityAlert,
    Report,
    Response,
    ResponseRequest,
    Snapshot,
    Task,
    TaskConsensus,
    TaskResponse,
    User,
)
from rlhf.ai_feedback import judges
from rlhf.models import (
    Delivery,
    HumanEvaluation,
    Iteration,
    ModelVersion,
    NotificationTarget,
    PlaygroundChat,
    Stage,
    TrainingRun,
)
from tests.factories.cast import judge, make_prompt, make_responses

State = Assignment.State


@dataclass(frozen=True, kw_only=True)
class Records:
    """What a person has in a project, and what the project has besides. `mark` is in every text of it."""

    project: Project
    owner: User
    mark: str
    open: dict[str, Assignment]
    judged: Assignment
    candidates: list[Response]
    adjudication: Assignment
    exclusion: JudgmentExclusion
    report: Report
    alert: QualityAlert
    exam_answer: ExamAnswer
    exam_task: Task
    prompt: Prompt
    snapshot: Snapshot
    invitation: Invitation
    run: TrainingRun
    version: ModelVersion
    iteration: Iteration
    evaluation: HumanEvaluation
    playground_chat: PlaygroundChat
    ai_labeler: AILabeler
    delivery: Delivery

    def named(self, parameter: str) -> list[int]:
        """The numbers that stand for this parameter of an address."""
        return {
            "assignment_id": [*(item.pk for item in self.open.values()), self.judged.pk],
            "answer_id": [self.exam_answer.pk],
            "task_id": [self.exam_task.pk, self.judged.task_id],
            "user_id": [self.owner.pk],
            "judgment_id": [self.judged.judgment.pk],
            "adjudication_id": [self.adjudication.pk],
            "reviewed_task_id": [self.adjudication.task_id],
            "exclusion_id": [self.exclusion.pk],
            "report_id": [self.report.pk],
            "alert_id": [self.alert.pk],
            "prompt_id": [self.prompt.pk],
            "snapshot_id": [self.snapshot.pk],
            "invitation_id": [self.invitation.pk],
            "run_id": [self.run.pk],
            "version_id": [self.version.pk],
            "number": [self.iteration.number],
            "evaluation_number": [self.evaluation.number],
            "labeler_id": [self.ai_labeler.pk],
            "chat_id": [self.playground_chat.pk],
            "target_id": [self.delivery.target_id],
            "delivery_id": [self.delivery.pk],
        }[parameter]


def make_records(project: Project, owner: User, mark: str) -> Records:
    judged = _assignment(project, owner, mark, Task.Kind.COMPARE)
    judge(judged, [[key] for key in judged.presentation], comment=f"{mark} comment")
    judged.refresh_from_db()
    opened = {
        kind.value: _assignment(
            project, owner, mark, kind, state=State.CURRENT if kind == Task.Kind.COMPARE else State.EXPIRED
        )
        for kind in Task.Kind
    }
    prompt = judged.task.prompt
    assert prompt is not None
    run, version, iteration = _training(project, mark)
    exam_answer = _exam(project, owner, mark)
    return Records(
        project=project,
        owner=owner,
        mark=mark,
        open=opened,
        judged=judged,
        candidates=_candidates(opened[Task.Kind.CHAT.value], mark),
        adjudication=_adjudication(project, owner, mark),
        exclusion=JudgmentExclusion.objects.create(
            project=project,
            labeler=owner,
            since=timezone.now(),
            reason=f"{mark} reason",
            created_by=owner,
            state=JudgmentExclusion.State.DONE,
        ),
        report=Report.objects.create(
            assignment=judged, project=project, reason=Report.Reason.BROKEN, note=f"{mark} note"
        ),
        alert=QualityAlert.objects.create(
            project=project, labeler=owner, kind="gold", action="warn", rate=0.5, threshold=0.8, checks=20
        ),
        exam_answer=exam_answer,
        exam_task=exam_answer.task,
        prompt=prompt,
        snapshot=Snapshot.objects.create(
            project=project,
            kind=Snapshot.Kind.RANKINGS,
            state=Snapshot.State.READY,
            sha256="0" * 64,
            files={"x.jsonl": {"rows": 1, "bytes": 1, "sha256": "0" * 64}},
        ),
        invitation=Invitation.objects.create(
            project=project,
            roles=["labeler"],
            label=f"{mark} label",
            token_hash=secrets.token_hex(32),
            created_by=owner,
            expires_at=timezone.now() + timedelta(days=1),
        ),
        run=run,
        version=version,
        iteration=iteration,
        playground_chat=_playground_chat(project, owner, mark),
        ai_labeler=_ai_labeler(project, owner, mark),
        delivery=Delivery.objects.create(
            target=NotificationTarget.objects.create(
                project=project, kind="webhook", address=f"https://{mark}.example/".lower(), events=[], salt=mark
            ),
            key=mark,
            event="run.failed",
            payload={"error": f"{mark} error"},
            state="failed",
        ),
        evaluation=HumanEvaluation.objects.create(
            project=project,
            number=100 + HumanEvaluation.objects.count(),
            # One is open at a time.
            state=HumanEvaluation.State.CANCELLED if project.human_evaluations.exists() else "sampling",
            share=0.2,
            responses_per_version=1,
            failure={"code": "as_written", "values": {"sentence": f"{mark} failure"}},
        ),
    )


def _assignment(project: Project, owner: User, mark: str, kind: Task.Kind, state: str = State.CURRENT) -> Assignment:
    prompt = None if kind == Task.Kind.WRITE_PROMPT else make_prompt(project, f"{mark} {secrets.token_hex(4)}?")
    task = Task.objects.create(
        project=project, kind=kind, prompt=prompt, task_instructions={"instructions": f"{mark} brief"}, slots_free=0
    )
    count = {Task.Kind.COMPARE: 2, Task.Kind.RATE: 1}.get(kind, 0)
    texts = [f"{mark} response {number}" for number in range(count)]
    responses = make_responses(prompt, *texts) if prompt is not None else []
    for number, response in enumerate(responses):
        TaskResponse.objects.create(task=task, response=response, number=number)
    return Assignment.objects.create(
        task=task,
        labeler=owner,
        project=project,
        state=state,
        lease_until=timezone.now() + timedelta(hours=1),
        seed=secrets.randbits(63),
        presentation=[response.pk for response in responses],
        draft={"comment": [f"{mark} draft"]},
    )


def _adjudication(project: Project, owner: User, mark: str) -> Assignment:
    """A complete task that the person decides, with the order of a labeler who is nobody here."""
    assignment = _assignment(project, owner, mark, Task.Kind.COMPARE, state=State.REVIEWING)
    Assignment.objects.filter(pk=assignment.pk).update(is_adjudication=True)
    Task.objects.filter(pk=assignment.task_id).update(state=Task.State.COMPLETE)
    TaskConsensus.objects.create(
        task=assignment.task,
        project=project,
        method=project.consensus_method,
        confidence=0.1,
        certainty=0.1,
        for_review=True,
        judgments=2,
        computed_at=timezone.now(),
        reviewer=owner,
        review_until=timezone.now() + timedelta(hours=1),
    )
    assignment.refresh_from_db()
    return assignment


def _candidates(chat: Assignment, mark: str) -> list[Response]:
    prompt = chat.task.prompt
    assert prompt is not None
    request = ResponseRequest.objects.create(
        project=chat.project,
        prompt=prompt,
        responses_wanted=2,
        purpose=ResponseRequest.Purpose.CHAT,
        state=ResponseRequest.State.FULFILLED,
        requested_by=chat.labeler,
    )
    candidates = make_responses(prompt, f"{mark} offer one", f"{mark} offer two")
    request.responses.set(candidates)
    return candidates


def _exam(project: Project, owner: User, mark: str) -> ExamAnswer:
    prompt = make_prompt(project, f"{mark} exam?")
    responses = make_responses(prompt, f"{mark} known one", f"{mark} known two")
    keys = [response.pk for response in responses]
    gold = [[key] for key in keys]
    task = Task.objects.create(project=project, prompt=prompt, state=Task.State.EXAM, gold_tiers=gold, slots_free=0)
    for number, response in enumerate(responses):
        TaskResponse.objects.create(task=task, response=response, number=number)
    attempt = ExamAttempt.objects.create(project=project, labeler=owner, number=1, threshold=0.5)
    return ExamAnswer.objects.create(
        attempt=attempt, task=task, number=1, presentation=keys, gold_tiers=gold, draft={"comment": [f"{mark} draft"]}
    )


def _training(project: Project, mark: str) -> tuple[TrainingRun, ModelVersion, Iteration]:
    number = 1 + ModelVersion.objects.count()
    version = ModelVersion.objects.create(project=project, kind="reward", number=number, folder=f"runs/{mark}/model")
    iteration = Iteration.objects.create(project=project, number=100 + number, state=Iteration.State.STOPPED)
    run = TrainingRun.objects.create(
        project=project,
        stage=Stage.REWARD,
        status=TrainingRun.Status.QUEUED,
        error=f"{mark} error",
        log=f"{mark} log",
        folder=f"runs/{mark}",
    )
    return run, version, iteration


def _playground_chat(project: Project, owner: User, mark: str) -> PlaygroundChat:
    chat = PlaygroundChat.objects.create(project=project, user=owner)
    chat.turns.create(number=1, messages=[{"role": "user", "content": f"{mark} message"}])
    return chat


def _ai_labeler(project: Project, owner: User, mark: str) -> AILabeler:
    """One that judges by a reward model, which needs no server."""
    number = 100 + ModelVersion.objects.filter(project=project).count()
    reward = ModelVersion.objects.create(project=project, kind="reward", number=number, base_model="a-model")
    return judges.create(project=project, name=f"{mark} judge", reward_model=reward, by=owner)
