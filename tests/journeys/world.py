"""Projects in every state that a page can show: full, empty, of each kind of task, with runs that went every way."""

import uuid
from datetime import timedelta
from typing import Any

from django.utils import timezone

from annotate.data.sharing import links
from annotate.data.stored_messages import StoredMessage
from annotate.labeling import ai_judgments, exam, queue
from annotate.labeling.checks import calibration, gold
from annotate.labeling.few_shot import FewShot
from annotate.labeling.submissions import Submission
from annotate.models import (
    Assignment,
    GatewaySettings,
    Guidelines,
    Membership,
    Project,
    Prompt,
    QualityAlert,
    Response,
    Snapshot,
    Task,
)
from annotate.people import invitations
from annotate.people.projects import create_project, edit_project
from annotate.quality import ai_agreement, consensus, measures, review
from annotate.quality.review import adjudication, reopening
from annotate.quality.review.reopening import TaskFilter
from models_core.contract.settings.ai_feedback import JUDGE_INSTRUCTIONS, JUDGE_RUBRIC
from rlhf.loop import versions
from rlhf.models import (
    AIJudge,
    Delivery,
    Iteration,
    JudgePrompt,
    LoopSettings,
    ModelVersion,
    NotificationTarget,
    RollingUpdate,
    RunMetric,
    Stage,
    TrainingRun,
)
from tests.factories import head_to_head, policy_runs, reports
from tests.factories.cast import Cast, judge, make_comparison, make_prompt, make_responses, response_ids

RICH = """Put the eggs in **cold water**, bring it to the boil, and then:

1. take the pot off the heat
2. wait ten minutes

| size | minutes |
|---|---|
| small | 8 |
| large | 11 |

```python
def boil(eggs: list[Egg]) -> list[Egg]:
    return [egg for egg in eggs if egg.fresh]
```

Ten minutes suit $m = 60 \\cdot \\sqrt[3]{w}$ grams:

$$t = \\frac{m^{2/3}}{\\alpha} \\ln\\left(2 \\frac{T_w - T_0}{T_w - T_y}\\right)$$
"""
RESPONSES = (
    RICH,
    "As an AI language model developed by OpenAI, I would say ten minutes. Then peel them under water.",
    "把鸡蛋放进**冷水**里，煮开后关火，焖十分钟，再放入冰水。",
    "ضع البيض في ماء بارد ثم اغله عشر دقائق.",
)
CRITERIA = [{"name": "overall", "label": "Overall quality", "min": 1, "max": 7}]
FLAGS = [{"name": "hallucination", "label": "Makes things up"}, {"name": "opinion", "label": "Expresses an opinion"}]


class World:
    """What the paths of pages are made of: `world["kindness"]` is a project's slug, `world["run failed"]` a key."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast
        self.keys: dict[str, Any] = {}
        self._main_project()
        self._training()
        self._projects_of_each_kind()
        self._disputed()
        self._evaluations()
        self._ai_feedback()
        self._measured()

    def path(self, pattern: str) -> str:
        return pattern.format_map(self.keys)

    def _project(self, slug: str, **values: Any) -> Project:
        project = create_project(by=self.cast.admin, name=slug.title(), slug=slug, **values)
        people = {"manager": self.cast.manager, "labeler": self.cast.labeler}
        for role, user in people.items():
            Membership.objects.create(project=project, user=user, role=role)
        return project

    def _main_project(self) -> None:
        project, labeler, second = self.cast.project, self.cast.labeler, self.cast.second_labeler
        edit_project(
            project=project, by=self.cast.manager, overlap=2, criteria=CRITERIA, flags=FLAGS,
            description="Responses that are kind to the reader.",
            guidelines="# Be kind\n\nRank by **kindness**, then by truth.\n\n- short words\n- no scorn\n",
        )  # fmt: skip
        Guidelines.objects.create(
            project=project, version=9, text="# Be kind\n\nRank by **truth**, then by kindness.\n"
        )
        _, self.keys["invitation"] = invitations.invite(
            project=project, by=self.cast.manager, roles=["labeler", "reviewer"], label="Nora, from Monday"
        )
        for number in range(8):
            make_comparison(project, f"How do I boil {number + 1} eggs?", texts=RESPONSES)
        for person in (labeler, second):
            for number in range(3):
                assignment = queue.claim_next(labeler=person, project=project)
                assert assignment is not None
                if number == 2:
                    queue.skip(assignment_id=assignment.pk, labeler=person, reason="broken")
                    continue
                a, b, c, d = sorted(assignment.presentation)
                judge(assignment, [[b], [a, c], [d]], comment="The second explains more.", seconds=40.0)
        first = Assignment.objects.filter(labeler=labeler, project=project, state="submitted").earliest("pk")
        review.send_back(judgment=first.judgment, by=self.cast.reviewer, comment="Look at the third response again.")
        last = Assignment.objects.filter(labeler=second, project=project).latest("pk")
        review.report(assignment=last, by=second, reason="harmful", note="The response insults.")
        self.keys |= {"judgment": first.judgment.pk, "task": first.pk, "comparison": first.task_id}
        self.keys |= {"second_labeler": second.pk, "blank_labeler": labeler.pk}
        states = Snapshot.State
        files = {"train.jsonl": {"rows": 12, "bytes": 34_567, "sha256": "0" * 64}}
        for state in (states.READY, states.BUILDING, states.PENDING, states.FAILED):
            Snapshot.objects.create(
                project=project, kind=Snapshot.Kind.RANKINGS, state=state, progress=0.4, created_by=self.cast.manager,
                rows=12, sha256="0" * 64, files=files if state == states.READY else {},
                error="The disk is full." if state == states.FAILED else "",
            )  # fmt: skip
        ready = Snapshot.objects.get(project=project, state=states.READY)
        self.keys["shared"] = links.make_link(snapshot=ready, days=7, by=self.cast.manager)

    def _measured(self) -> None:
        """What jobs compute: a reward model's scores of all responses, and the sums that pages of measures show."""
        responses = Response.objects.filter(prompt__project=self.cast.project).values_list("pk", flat=True)
        measures.store_scores({key: key % 7 / 3 for key in responses}, scorer="Reward model 1")
        measures.fold_due(seconds=60)

    def _training(self) -> None:
        project = self.cast.project
        version = ModelVersion.objects.create(project=project, kind="base", number=1, base_model="tiny")
        tuned = ModelVersion.objects.create(project=project, kind="sft", number=1, folder="runs/2/model")
        for used in (version, tuned):
            versions.promote(used, by=self.cast.manager)
        reward = ModelVersion.objects.create(
            project=project,
            kind="reward",
            number=1,
            folder="runs/1/model",
            metrics={"accuracy": 0.71, "loss": 0.61},
            tags=["candidate", "week 48"],
        )
        for status in TrainingRun.Status.values:
            is_running = status == TrainingRun.Status.RUNNING
            run = TrainingRun.objects.create(
                project=project, stage=Stage.REWARD, status=status, progress=0.42 if is_running else 0,
                activity="training on judgments" if is_running else "", created_by=self.cast.manager,
                lease_token="00000000-0000-0000-0000-000000000000" if is_running else None,
                lease_until=timezone.now() if is_running else None, config={"epochs": 2}, folder="runs/7",
                error="Memory ran out." if status == "failed" else "", log="step 1\nstep 2\n",
                result={"accuracy": 0.71, "notes": ["Two rows were cut."]} if status == "succeeded" else {},
                produced=reward if status == "succeeded" else None,
            )  # fmt: skip
            run.run_inputs.create(version=version, role="model")
            for step in range(1, 30):
                for name, value in (("loss", 1 / step), ("accuracy", 1 - 1 / step)):
                    RunMetric.objects.create(run=run, step=step, name=name, value=value)
            self.keys[f"run_{status}"] = run.pk
            if status == TrainingRun.Status.SUCCEEDED:
                ids = [f"judgment-{key}" for key in project.judgments.values_list("pk", flat=True)]
                reports.leave_report(run, reports.made_up(ids=ids), newest=reports.NEWEST)
        self.keys |= {"candidate": reward.pk, "policy": tuned.pk}
        target = NotificationTarget.objects.create(
            project=project, kind="webhook", address="https://hooks.example/hone", events=["run.failed"], salt="s"
        )
        refused = {"code": "webhook_refused", "values": {"status": 503}}
        for number, (state, attempts) in enumerate((("delivered", 1), ("waiting", 2), ("failed", 6))):
            Delivery.objects.create(
                target=target, key=f"run-{number}", event="run.failed", payload={"run": number, "stage": "sft"},
                state=state, attempts=attempts, failure=refused if attempts > 1 else {},
                next_attempt_at=timezone.now() if state == "waiting" else None,
            )  # fmt: skip
        self.keys["run_policy"] = policy_runs.made(project).pk
        for number, state in enumerate(("succeeded", "stopped", "failed", "active"), start=1):
            is_active = state == "active"
            Iteration.objects.create(
                project=project, number=number, state=state, policy_version=version if number == 1 else None,
                numbers={"judgments": 60, "reward_accuracy": 0.68, "kl": 4.2, "score": 0.3, "tasks": 16},
                reason="Cancelled by hand." if state == "stopped" else "",
                step="ppo" if is_active else "done" if number == 1 else "reward", judgments_wanted=20, rounds_left=2,
                gates=[
                    {"name": "reward_accuracy", "value": 0.68, "bound": 0.6, "verdict": "passed"},
                    {"name": "newest_accuracy", "value": 0.64, "bound": 0.6, "verdict": "passed"},
                ] if is_active else [],
            )  # fmt: skip
        for state, run in (("in_use", "succeeded"), ("failed", "failed"), ("training", "queued")):
            RollingUpdate.objects.create(
                project=project, run_id=self.keys[f"run_{run}"], state=state, new_judgments=50,
                reason={"code": "rolling_not_measured", "values": {}} if state == "failed" else {},
            )  # fmt: skip
        LoopSettings.objects.create(
            project=project, enabled=True, rolling=True,
            gates={"reward_accuracy": 0.6, "newest_accuracy": 0.6, "kl": 10.0},
            sampling_mix=[
                {"version": "policy", "temperature": None, "prompts": "least_compared", "share": 0.75},
                {"version": "reference", "temperature": 0.7, "prompts": "random", "share": 0.25},
            ],
        )  # fmt: skip

    def _projects_of_each_kind(self) -> None:
        self._project("blank")
        pair, slider, nine = (
            self._project("pair", responses_per_task=2),
            self._project("slider", responses_per_task=2),
            self._project("nine", responses_per_task=9),
        )
        Project.objects.filter(pk=slider.pk).update(margin_input=Project.MarginInput.SLIDER)
        for project, texts in ((pair, RESPONSES[:2]), (slider, RESPONSES[:2]), (nine, RESPONSES * 2 + ("Nine.",))):
            make_comparison(project, texts=texts)
        upsetting = make_comparison(self._project("upsetting"), texts=RESPONSES)
        Prompt.objects.filter(pk=upsetting.prompt_id).update(sensitive=True)
        for kind in ("demonstrate", "write_prompt", "rate", "chat"):
            project = self._project(kind.replace("_", "-"), task_kinds=[kind], criteria=CRITERIA, flags=FLAGS)
            pairs = (("France", "Paris"), ("Peru", "Lima"))
            shots = FewShot(instruction="Name the capital.", pairs=pairs, query="Japan")
            prompt = None
            if kind == "demonstrate":
                prompt = Prompt.objects.create(project=project, messages=shots.messages, kind="few_shot")
            elif kind != "write_prompt":
                prompt = make_prompt(project)
            task = Task.objects.create(project=project, kind=kind, prompt=prompt)
            if kind == "rate" and prompt:
                task.task_responses.create(response=make_responses(prompt, RICH)[0], number=0)
        checked = self._project("checked", gold_rate=0.1, repeat_rate=0.05)
        for number in range(3):
            task = make_comparison(
                checked, f"Which is better, number {number}?", texts=RESPONSES[: 2 + 2 * (number > 0)]
            )
            if number < 2:
                gold.promote(task=task, tiers=[[key] for key in response_ids(task)], by=self.cast.admin)
            else:
                calibration.add(task=task, by=self.cast.admin)
        known_order = make_comparison(checked, "Which comes first?", texts=RESPONSES)
        Task.objects.filter(pk=known_order.pk).update(gold_tiers=[[key] for key in response_ids(known_order)])
        alert = {"project": checked, "labeler": self.cast.labeler, "kind": "gold", "rate": 0.55, "threshold": 0.8}
        for action in ("warn", "pause"):
            QualityAlert.objects.create(**alert, action=action, checks=20)
        gated = self._project("gated")
        make_comparison(gated, texts=RESPONSES[:2])
        known = make_comparison(gated, "Which comes first?", texts=("Hen.", "Egg."))
        Task.objects.filter(pk=known.pk).update(gold_tiers=[[key] for key in response_ids(known)])
        exam.add_item(task=Task.objects.get(pk=known.pk), by=self.cast.admin)
        edit_project(project=gated, by=self.cast.admin, exam_threshold=0.5, exam_attempts=2)

    def _disputed(self) -> None:
        """Two labelers contradict each other on each task; the manager has adjudicated the first one."""
        cast, project = self.cast, self._project("disputed", criteria=CRITERIA, flags=FLAGS, adjudication_view="choice")
        Membership.objects.create(project=project, user=cast.second_labeler, role="labeler")
        edit_project(project=project, by=cast.admin, overlap=2)
        for number in range(4):
            make_comparison(project, f"How do I poach {number + 1} eggs?", texts=RESPONSES)
        for person, step in ((cast.labeler, 1), (cast.second_labeler, -1)):
            while (given := queue.claim_next(labeler=person, project=project)) is not None:
                order = sorted(given.presentation)[::step]
                judge(given, [[key] for key in order], comment="The first one is best.", seconds=40.0)
        consensus.refresh(project)
        first = adjudication.claim_next(reviewer=cast.manager, project=project)
        assert first is not None
        decided = Submission(client_id=uuid.uuid4(), tiers=[[key] for key in first.presentation], comment="B, clearly.")
        receipt = adjudication.submit(assignment_id=first.pk, reviewer=cast.manager, submission=decided)
        since = timezone.now() - timedelta(days=1)
        undone = review.leave_out(
            project=project, labeler=cast.labeler, since=since, reason="Clicked through.", by=cast.manager
        )
        review.count_again(exclusion=undone, by=cast.manager)
        review.leave_out(
            project=self.cast.project, labeler=cast.second_labeler, since=since, reason="In a hurry.", by=cast.manager
        )
        reopening.reopen(project=self.cast.project, chosen=TaskFilter(use_case="other"), judgments=1, by=cast.manager)
        consensus.refresh(project)
        self.keys |= {"adjudication": first.pk, "adjudicated": receipt.judgment.pk}

    def _evaluations(self) -> None:
        project = self._project("compared", responses_per_task=3)
        ended, going = head_to_head.made(project, manager=self.cast.manager, labeler=self.cast.labeler)
        self.keys |= {"evaluation": ended.number, "evaluation_open": going.number}
        Iteration.objects.create(project=project, number=3, step="evaluate", evaluation=going, judgments_wanted=20)
        for name, is_blind in (("playground", False), ("playground_blind", True)):
            self.keys[name] = head_to_head.chat(project, user=self.cast.manager, is_blind=is_blind).pk

    def _ai_feedback(self) -> None:
        """An AI labeler agrees with people on chats well enough, and on summaries not; one run failed."""
        project = self._project("aided", responses_per_task=2)
        labeler = ai_judgments.create(
            project=project, name="Fair judge", by=self.cast.manager, least_agreement=0.5, least_tasks=4
        )
        judge_row = AIJudge.objects.create(labeler=labeler, endpoint="local", config={"max_requests": 500})
        JudgePrompt.objects.create(
            judge=judge_row, version=1, instructions=JUDGE_INSTRUCTIONS, rubric=JUDGE_RUBRIC, constitution="Be kind."
        )
        for number in range(16):
            make_comparison(project, f"How do I fry {number + 1} eggs?", texts=("In butter.", "In oil, of course."))
        Prompt.objects.filter(project=project).update(use_case="chat")
        summaries = list(Prompt.objects.filter(project=project).order_by("pk").values_list("pk", flat=True)[:6])
        Prompt.objects.filter(project=project, pk__in=summaries).update(use_case="summarisation")
        while (given := queue.claim_next(labeler=self.cast.labeler, project=project)) is not None:
            shown = sorted(given.presentation)
            judge(given, [[key] for key in shown])
            is_chat = given.task.prompt is not None and given.task.prompt.use_case == "chat"
            tiers = [[key] for key in shown[:: 1 if is_chat else -1]]
            ai_judgments.store(
                labeler=labeler,
                task=given.task,
                presentation=shown,
                tiers=tiers,
                details={"pairs": 1, "consistent": int(is_chat)},
            )
        ai_agreement.count(labeler, by=self.cast.manager)
        failed = StoredMessage("process_message", {"message": "The server was asked 7 times and broke off."})
        TrainingRun.objects.create(
            project=project,
            stage=Stage.JUDGE,
            status=TrainingRun.Status.FAILED,
            options={"ai_labeler": labeler.pk, "version": 1, "tasks": [1, 2, 3]},
            failure=failed.as_json(),
        )
        self.keys["ai_labeler"] = labeler.pk
        GatewaySettings.objects.create(
            project=project,
            enabled=True,
            endpoint="local",
            served_model="aided/policy-1",
            routes={"large": {"endpoint": "local", "model": "organisation/a-large-model"}},
            stores=True,
        )
