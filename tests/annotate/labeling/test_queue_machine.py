"""The queue as a state machine: whatever labelers, managers, jobs and the clock do in whichever order, its rules hold.

Hypothesis chooses the steps. In an ordinary run it takes the same few hundred each time; for a long search with others:
TEST_QUEUE_EXAMPLES=500 python -m pytest tests/annotate/labeling/test_queue_machine.py
"""

import itertools
import os
import uuid
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from annotate.errors import Refused
from annotate.labeling import queue
from annotate.labeling.checks import gold
from annotate.labeling.queue import overlap, task_changes
from annotate.labeling.queue.work_rules import day_start
from annotate.models import (
    Assignment,
    Author,
    Judgment,
    JudgmentRevision,
    Membership,
    OverlapChange,
    Project,
    Prompt,
    Response,
    Skill,
    Task,
    TaskChange,
    User,
)
from annotate.models.leased_job import LEASE
from annotate.people import members
from annotate.people.projects import create_project, edit_project
from tests.factories.cast import make_responses

State = Assignment.State
# Not HONE_...: those are settings, which tests do without.
EXAMPLES = int(os.environ.get("TEST_QUEUE_EXAMPLES", "0"))
FEW = settings(
    max_examples=10,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
LONG = settings(FEW, max_examples=max(EXAMPLES, 1), stateful_step_count=60, derandomize=False)
LABELERS = ("ann", "ben", "cai", "dee")
MINUTE = timedelta(minutes=1)

people = st.sampled_from(LABELERS)


class Killed(BaseException):
    """The process of a job is gone."""


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 11, 29, 9, tzinfo=UTC)
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(timezone, "now", lambda: self.now)
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        admin = User.objects.create(username=f"admin-{uuid.uuid4().hex}", is_superuser=True)
        self.manager = admin
        slug = f"machine-{uuid.uuid4().hex[:12]}"
        self.project = create_project(by=admin, name="Machine", slug=slug, overlap=2)
        self.people = {name: User.objects.create(username=f"{name}-{slug}") for name in LABELERS}
        Membership.objects.bulk_create(
            Membership(user=user, project=self.project, role="labeler") for user in self.people.values()
        )
        self.law = Skill.objects.create(project=self.project, name="Law")
        self.numbers = itertools.count()
        # What was acknowledged: {client id: (assignment, tiers)}.
        self.acknowledged: dict[uuid.UUID, tuple[int, list[list[int]]]] = {}
        for _ in range(3):
            self.add_task("en", 0, needs_skill=False)

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)
        self.patch.undo()

    # ---- what labelers do

    @rule(name=people, ahead=st.booleans())
    def claim(self, name: str, ahead: bool) -> None:
        before = self.held(name)
        found = queue.claim_next(labeler=self.people[name], project=self.fresh(), ahead=ahead)
        self.check_new(name, before)
        self.check_none_is_left_out(name, found)

    @rule(name=people)
    def lease_ahead(self, name: str) -> None:
        before = self.held(name)
        queue.lease_ahead(labeler=self.people[name], project=self.fresh())
        self.check_new(name, before)

    @rule(name=people, tied=st.booleans(), claims=st.booleans())
    def submit(self, name: str, tied: bool, claims: bool) -> None:
        """What they hold, or something whose lease ran out."""
        own = Assignment.objects.select_related("task", "project", "labeler").filter(labeler=self.people[name])
        open_ones = own.filter(state__in=[*Assignment.HELD, State.EXPIRED]).order_by("state", "pk")
        if (assignment := open_ones.first()) is None:
            return
        tiers = [list(assignment.presentation)] if tied else [[pk] for pk in assignment.presentation]
        submission = queue.Submission(client_id=uuid.uuid4(), tiers=tiers)
        before = self.held(name)
        if claims:
            receipt, following = queue.submit_and_claim(assignment=assignment, submission=submission)
            self.check_new(name, before)
            self.check_none_is_left_out(name, following)
        else:
            receipt = queue.submit(assignment_id=assignment.pk, labeler=self.people[name], submission=submission)
        self.acknowledged[submission.client_id] = (assignment.pk, tiers)
        again = queue.submit(assignment_id=assignment.pk, labeler=self.people[name], submission=submission)
        assert (again.repeated, again.revision) == (True, receipt.revision)

    @rule(name=people)
    def edit(self, name: str) -> None:
        judged = Judgment.objects.filter(labeler=self.people[name], latest__isnull=False).order_by("-pk").first()
        if judged is None:
            return
        tiers = [[pk] for pk in reversed(judged.assignment.presentation)]
        submission = queue.Submission(client_id=uuid.uuid4(), tiers=tiers)
        receipt = queue.submit(assignment_id=judged.assignment_id, labeler=self.people[name], submission=submission)
        assert (receipt.revised, receipt.surplus) == (True, judged.surplus)
        self.acknowledged[submission.client_id] = (judged.assignment_id, tiers)

    @rule(name=people)
    def undo(self, name: str) -> None:
        judged = Judgment.objects.filter(labeler=self.people[name], latest__isnull=False).order_by("-latest").first()
        if judged is not None:
            self.tried(lambda: queue.withdraw(assignment_id=judged.assignment_id, labeler=judged.labeler, draft={}))

    @rule(name=people)
    def skip(self, name: str) -> None:
        held = Assignment.objects.filter(labeler=self.people[name], state=State.CURRENT).first()
        if held is not None:
            queue.skip(assignment_id=held.pk, labeler=self.people[name])

    @rule(name=people)
    def unskip(self, name: str) -> None:
        skipped = Assignment.objects.filter(labeler=self.people[name], state=State.SKIPPED).order_by("-ended_at")
        if (last := skipped.first()) is not None:
            self.tried(lambda: queue.unskip(assignment_id=last.pk, labeler=self.people[name]))

    @rule(name=people, text=st.sampled_from(["a", "b"]))
    def draft(self, name: str, text: str) -> None:
        held = Assignment.objects.filter(labeler=self.people[name], state__in=Assignment.HELD).first()
        if held is not None:
            receipt = queue.save_draft(assignment_id=held.pk, labeler=self.people[name], draft={"comment": [text]})
            assert receipt.kept
            assert Assignment.objects.get(pk=held.pk).draft == {"comment": [text]}

    # ---- what the clock does

    @rule(minutes=st.sampled_from([0.2, 5, 31, 24 * 60]))
    def time_passes(self, minutes: float) -> None:
        self.now += minutes * MINUTE

    @rule()
    def the_clock_jumps_back(self) -> None:
        self.now -= 60 * MINUTE

    @rule()
    def leases_end(self) -> None:
        queue.release_expired()

    @rule()
    def workers_restart(self) -> None:
        """Whatever a dead job left is carried on by another one."""
        self.now += LEASE + timedelta(seconds=1)
        for change in list(queue.abandoned_overlap_changes(now=self.now)):
            queue.run_overlap_change(change.pk)
        while (first := queue.abandoned_task_changes(now=self.now).first()) is not None:
            queue.run_task_change(first.pk)

    # ---- what managers do

    @rule(language=st.sampled_from(["en", "zh", ""]), priority=st.integers(-1, 2), needs_skill=st.booleans())
    def add_task(self, language: str, priority: int, needs_skill: bool) -> None:
        prompt = Prompt.objects.create(
            project=self.project,
            messages=[{"role": "user", "content": f"{next(self.numbers)}?"}],
            language=language,
        )
        self.compare(prompt, make_responses(prompt, "Yes.", "No."), priority, needs_skill)

    @rule(name=people)
    def add_an_edit(self, name: str) -> None:
        """Of a response of the newest task, by this labeler."""
        original = Response.objects.filter(prompt__project=self.project).order_by("-pk")[0]
        edit = Response.objects.create(
            prompt=original.prompt,
            text=f"Better {next(self.numbers)}.",
            author=Author.of(self.people[name]),
            edited_from=original,
        )
        self.compare(original.prompt, [original, edit], 0, False)

    def compare(self, prompt: Prompt, responses: list[Response], priority: int, needs_skill: bool) -> None:
        task = queue.add_comparison(project=self.project, prompt=prompt, responses=responses, priority=priority)
        if needs_skill:
            Task.objects.filter(pk=task.pk).update(skill=self.law)

    @rule(wanted=st.integers(1, 4), killed=st.booleans())
    def change_overlap(self, wanted: int, killed: bool) -> None:
        """Refused while the number of some is being changed."""
        planned: list[OverlapChange] = []
        self.tried(lambda: planned.append(queue.plan_overlap_change(project=self.fresh(), overlap=wanted)))
        with pytest.MonkeyPatch.context() as patch:
            if killed:
                patch.setattr(overlap, "raise_epoch", self.die)
            self.tried(lambda: [queue.run_overlap_change(change.pk) for change in planned], Killed)

    @rule(
        values=st.sampled_from([{"priority": -1}, {"priority": 2}, {"reserved_for": None}, {"skill": None}]),
        killed=st.booleans(),
    )
    def change_tasks(self, values: dict[str, Any], killed: bool) -> None:
        self.start_change({"judgments_given": 0}, values, killed)

    @rule(wanted=st.integers(0, 5), given=st.integers(0, 1), killed=st.booleans())
    def change_judgments_of_some(self, wanted: int, given: int, killed: bool) -> None:
        """Of those with so many judgments; refused beside a new overlap of all, and for more than may judge."""
        self.tried(lambda: self.start_change({"judgments_given": given}, {"judgments_wanted": wanted}, killed))

    @rule(name=people)
    def reserve(self, name: str) -> None:
        if self.labels(name):
            self.start_change({"judgments_given": 0, "priority__lte": 0}, {"reserved_for": self.people[name].pk}, False)

    def start_change(self, selection: dict[str, Any], values: dict[str, Any], killed: bool) -> None:
        change = queue.plan_task_change(project=self.project, by=self.manager, selection=selection, values=values)
        with pytest.MonkeyPatch.context() as patch:
            if killed:
                patch.setattr(task_changes, "raise_epoch", self.die)
            self.tried(lambda: queue.run_task_change(change.pk), Killed)

    @rule(share=st.sampled_from([0.0, 0.4]), repeat=st.sampled_from([0.0, 0.4]))
    def hide_checks(self, share: float, repeat: float) -> None:
        edit_project(project=self.project, by=self.manager, gold_rate=share, repeat_rate=repeat)

    @rule()
    def promote(self) -> None:
        """The newest open task becomes a gold one, whoever holds it."""
        if (task := Task.objects.filter(project=self.project, state=Task.State.OPEN).last()) is not None:
            known = [[pk] for pk in task.responses.order_by("pk").values_list("pk", flat=True)]
            gold.promote(task=task, by=self.manager, tiers=known)

    @rule(name=people)
    def pause(self, name: str) -> None:
        if (membership := self.membership(name)) is not None:
            members.pause(membership=membership, by=None, reason="Too fast.")

    @rule(name=people)
    def resume(self, name: str) -> None:
        if (membership := self.membership(name)) is not None:
            members.resume(membership=membership, by=self.manager)

    @rule(
        name=people,
        limit=st.sampled_from([None, 1, 3]),
        languages=st.sampled_from([[], ["zh"], ["en", "zh"]]),
        skilled=st.booleans(),
    )
    def set_work_rules(self, name: str, limit: int | None, languages: list[str], skilled: bool) -> None:
        if (membership := self.membership(name)) is not None:
            members.set_work_rules(
                membership=membership,
                by=self.manager,
                daily_limit=limit,
                languages=languages,
                skills=["Law"] if skilled else [],
            )

    @rule(limit=st.sampled_from([None, 2]))
    def limit_everybody(self, limit: int | None) -> None:
        edit_project(project=self.project, by=self.manager, daily_limit=limit)

    @rule(name=people)
    def remove(self, name: str) -> None:
        if self.labels(name):
            members.remove_role(user=self.people[name], project=self.project, role="labeler", by=self.manager)
            assert self.held(name) == set()

    @rule(name=people)
    def bring_back(self, name: str) -> None:
        Membership.objects.get_or_create(user=self.people[name], project=self.project, role="labeler")

    # ---- what always holds

    @invariant()
    def places_are_what_a_recount_gives(self) -> None:
        held = Counter(
            Assignment.objects.filter(project=self.project, state__in=Assignment.HELD, is_check=False).values_list(
                "task", flat=True
            )
        )
        counted = Counter(
            Judgment.objects.filter(project=self.project, latest__isnull=False, surplus=False).values_list(
                "task", flat=True
            )
        )
        tasks = Task.objects.filter(project=self.project)
        assert set(tasks.filter(state__in=Task.CHECKS).values_list("slots_free", flat=True)) <= {0}
        for task in tasks.exclude(state__in=Task.CHECKS):
            assert task.judgments_given == counted[task.pk]
            assert task.slots_free == max(0, task.judgments_wanted - counted[task.pk] - held[task.pk])
            enough = task.judgments_given >= task.judgments_wanted
            assert task.state == (Task.State.COMPLETE if enough else Task.State.OPEN)

    @invariant()
    def nothing_is_lost(self) -> None:
        stored = {
            client_id: (assignment, tiers)
            for client_id, assignment, tiers in JudgmentRevision.objects.filter(
                judgment__project=self.project, withdrawn=False
            ).values_list("client_id", "judgment__assignment", "tiers")
        }
        assert stored == self.acknowledged

    @invariant()
    def nobody_holds_more_than_one_task_and_one_ahead(self) -> None:
        held = Assignment.objects.filter(project=self.project, state__in=Assignment.HELD)
        counts = Counter(held.values_list("labeler", "state"))
        assert set(counts.values()) <= {1}

    # ---- for the rules

    def fresh(self) -> Project:
        return Project.objects.get(pk=self.project.pk)

    def labels(self, name: str) -> bool:
        return self.membership(name) is not None

    def membership(self, name: str) -> Membership | None:
        own = Membership.objects.select_related("user", "project").filter(project=self.project)
        return own.filter(user=self.people[name]).first()

    def held(self, name: str) -> set[int]:
        own = Assignment.objects.filter(project=self.project, labeler=self.people[name], state__in=Assignment.HELD)
        return set(own.values_list("pk", flat=True))

    def tried(self, call: Any, *expected: type[BaseException]) -> None:
        # As a process's own transaction would be rolled back.
        with suppress(Refused, *expected), transaction.atomic():
            call()

    def die(self, **_values: Any) -> None:
        raise Killed

    def check_new(self, name: str, before: set[int]) -> None:
        """Whatever was leased just now may be given to this labeler."""
        new = self.held(name) - before
        membership = self.membership(name)
        for assignment in Assignment.objects.select_related("task__prompt").filter(pk__in=new):
            task = assignment.task
            assert membership is not None
            assert membership.paused_at is None
            assert not Judgment.objects.filter(assignment=assignment, latest__isnull=False).exists()
            limit = membership.daily_limit or self.fresh().daily_limit
            assert limit is None or self.judged_today(name) + len(self.held(name)) <= limit
            if assignment.is_check:
                continue
            assert self.may_have(name, task, frozenset(new))
            given = Judgment.objects.filter(task=task, latest__isnull=False, surplus=False).count()
            held = Assignment.objects.filter(task=task, state__in=Assignment.HELD).count()
            assert given + held <= task.judgments_wanted

    def check_none_is_left_out(self, name: str, found: Assignment | None) -> None:
        """Who is given nothing may be given nothing."""
        under_way = OverlapChange.objects.filter(project=self.project, state__in=OverlapChange.UNFINISHED).exists()
        under_way |= TaskChange.objects.filter(project=self.project, state__in=TaskChange.UNFINISHED).exists()
        membership = self.membership(name)
        if found is not None or under_way or membership is None or membership.paused_at is not None:
            return
        limit = membership.daily_limit or self.fresh().daily_limit
        if limit is not None and self.judged_today(name) + len(self.held(name)) >= limit:
            return
        free = Task.objects.filter(project=self.project, state=Task.State.OPEN, slots_free__gt=0)
        seen = Assignment.objects.filter(labeler=self.people[name]).exclude(state=State.EXPIRED).values("task")
        left = [task for task in free.exclude(pk__in=seen) if self.may_have(name, task)]
        assert left == []

    def may_have(self, name: str, task: Task, new: frozenset[int] = frozenset()) -> bool:
        """By the rules, written down a second time."""
        user, membership = self.people[name], self.membership(name)
        if membership is None:
            return False
        if task.reserved_for_id not in (None, user.pk):
            done = Assignment.objects.filter(task=task, labeler=task.reserved_for_id)
            if not done.filter(state__in=[State.SUBMITTED, State.SKIPPED]).exists():
                return False
        if task.skill_id is not None and task.skill not in membership.skills.all():
            return False
        assert task.prompt is not None
        if membership.languages and task.prompt.language and task.prompt.language not in membership.languages:
            return False
        for edit in task.responses.exclude(edited_from=None):
            had = Assignment.objects.filter(labeler=user, task__task_responses__response=edit.edited_from_id)
            if edit.author.user_id == user.pk or had.exclude(pk__in=new).exclude(task=task).exists():
                return False
        return True

    def judged_today(self, name: str) -> int:
        own = Judgment.objects.filter(project=self.project, labeler=self.people[name], latest__isnull=False)
        return own.filter(created_at__gte=day_start()).count()


@pytest.mark.django_db
@pytest.mark.timeout(3_600)
def test_its_rules_hold_in_whichever_order() -> None:
    run_state_machine_as_test(QueueMachine, settings=LONG if EXAMPLES else FEW)
