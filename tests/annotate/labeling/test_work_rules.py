"""What a labeler may be given: pauses, daily limits, languages, skills, reserved tasks, nothing with an edit of what
they have judged; and the one sentence that says why they get nothing."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone, translation

from annotate.data.stored_messages import StoredMessage
from annotate.errors import NotYours, Refused
from annotate.labeling import queue
from annotate.labeling.queue import work_rules
from annotate.models import (
    Assignment,
    AuditEvent,
    Author,
    Judgment,
    Membership,
    Project,
    Prompt,
    Response,
    Skill,
    Task,
    User,
)
from annotate.people import members
from annotate.people.projects import edit_project
from annotate.quality.labeler_progress import LabelerProgress
from tests.factories.cast import Cast, judge, make_comparison, make_prompt, make_responses

State = Assignment.State


def membership(cast: Cast, user: User | None = None) -> Membership:
    return Membership.objects.select_related("user", "project").get(user=user or cast.labeler, project=cast.project)


def claim(cast: Cast, user: User | None = None, *, ahead: bool = False) -> Assignment | None:
    project = Project.objects.get(pk=cast.project.pk)
    return queue.claim_next(labeler=user or cast.labeler, project=project, ahead=ahead)


def claimed(cast: Cast, user: User | None = None) -> Task:
    assignment = claim(cast, user)
    assert assignment is not None
    return assignment.task


def why(cast: Cast, user: User | None = None) -> str:
    return queue.why_no_work(labeler=user or cast.labeler, project=Project.objects.get(pk=cast.project.pk))


def give_rules(cast: Cast, **values: object) -> None:
    members.set_work_rules(membership=membership(cast), by=cast.manager, **{"daily_limit": None, **values})


def judge_next(cast: Cast) -> None:
    assignment = claim(cast)
    assert assignment is not None
    judge(assignment, [[response] for response in assignment.presentation])


class TestPause:
    def test_who_is_paused_keeps_and_submits_what_they_hold_and_gets_nothing_new(self, cast: Cast) -> None:
        for number in range(4):
            make_comparison(cast.project, f"Question {number}")
        current = claim(cast, ahead=True)
        ahead = queue.look_ahead(labeler=cast.labeler, project=cast.project)
        assert current is not None
        assert ahead is not None
        members.pause(membership=membership(cast), by=cast.manager, reason=" You are too fast. ")
        assert claim(cast) == current
        submission = queue.Submission(client_id=uuid4(), tiers=[[pk] for pk in current.presentation])
        receipt, following = queue.submit_and_claim(assignment=current, submission=submission)
        assert (receipt.surplus, following) == (False, ahead)
        assert queue.lease_ahead(labeler=cast.labeler, project=cast.project) is None
        judge(ahead, [ahead.presentation])
        assert claim(cast) is None
        assert why(cast) == "You are paused in this project: You are too fast."
        assert claim(cast, cast.second_labeler) is not None

    def test_resumed_they_get_tasks_again_and_both_are_in_the_audit_log(self, cast: Cast) -> None:
        make_comparison(cast.project)
        own = membership(cast)
        members.pause(membership=own, by=cast.manager, reason="Too fast.")
        members.pause(membership=own, by=cast.manager, reason="Still too fast.")
        assert own.paused_at is not None
        assert claim(cast) is None
        members.resume(membership=own, by=cast.manager)
        members.resume(membership=own, by=cast.manager)
        assert (own.paused_at, own.paused_reason, why(cast)) == (None, {}, "")
        assert claim(cast) is not None
        events = AuditEvent.objects.filter(verb__startswith="labeler.").order_by("pk")
        reason = {"code": "as_written", "values": {"sentence": "Too fast."}}
        assert [(event.verb, event.actor, event.detail) for event in events] == [
            ("labeler.paused", cast.manager, {"person": cast.labeler.pk, "reason": reason}),
            ("labeler.resumed", cast.manager, {"person": cast.labeler.pk}),
        ]

    def test_hone_itself_pauses_for_a_reason_that_is_read_in_the_labelers_language(self, cast: Cast) -> None:
        own = membership(cast)
        members.pause(membership=own, by=None, reason=StoredMessage("disk_full"))
        assert AuditEvent.objects.get(verb="labeler.paused").actor is None
        with translation.override("zh-hans"):
            assert why(cast).endswith("磁盘已满。请在数据文件夹中腾出空间，然后重新开始。")

    def test_holds_in_every_role_and_for_a_role_that_comes_later(self, cast: Cast) -> None:
        make_comparison(cast.project)
        members.pause(membership=membership(cast), by=cast.manager, reason="Too fast.")
        Membership.objects.create(user=cast.labeler, project=cast.project, role="reviewer")
        members.remove_role(user=cast.labeler, project=cast.project, role="labeler", by=cast.manager)
        assert claim(cast) is None
        assert membership(cast).paused_at is not None

    @pytest.mark.parametrize(
        ("reason", "sentence"),
        [
            ("  ", "Say why: the labeler reads the reason on the work page."),
            ("x" * 501, "The reason is longer than 500 characters."),
        ],
    )
    def test_wants_a_reason(self, cast: Cast, reason: str, sentence: str) -> None:
        with pytest.raises(Refused, match=sentence):
            members.pause(membership=membership(cast), by=cast.manager, reason=reason)
        assert membership(cast).paused_at is None

    def test_is_for_managers(self, cast: Cast) -> None:
        with pytest.raises(NotYours):
            members.pause(membership=membership(cast), by=cast.reviewer, reason="Too fast.")
        with pytest.raises(NotYours):
            members.resume(membership=membership(cast), by=cast.reviewer)

    def test_of_a_task_in_hand_loses_no_draft_and_a_late_judgment_is_taken(self, cast: Cast) -> None:
        make_comparison(cast.project)
        held = claim(cast)
        assert held is not None
        queue.save_draft(assignment_id=held.pk, labeler=cast.labeler, draft={"comment": ["begun"]})
        members.pause(membership=membership(cast), by=cast.manager, reason="Too fast.")
        Assignment.objects.update(lease_until=timezone.now() - timedelta(minutes=1))
        queue.release_expired()
        assert Assignment.objects.get().draft == {"comment": ["begun"]}
        assert not judge(held, [held.presentation]).surplus
        assert Task.objects.get().state == Task.State.COMPLETE


class TestDailyLimit:
    def test_counts_what_is_held_and_ends_with_a_sentence_that_says_when_it_goes_on(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(5):
            make_comparison(cast.project, f"Question {number}")
        edit_project(project=cast.project, by=cast.manager, daily_limit=2)
        first = claim(cast, ahead=True)
        ahead = queue.look_ahead(labeler=cast.labeler, project=cast.project)
        assert first is not None
        assert ahead is not None
        judge(first, [first.presentation])
        assert claim(cast) == ahead
        assert queue.lease_ahead(labeler=cast.labeler, project=Project.objects.get(pk=cast.project.pk)) is None
        judge(ahead, [ahead.presentation])
        assert claim(cast) is None
        tomorrow = work_rules.next_day_start()
        said = f"{tomorrow:%-d %b %Y}, 00:00 UTC"
        assert why(cast) == (
            f"You have given the 2 judgments that one person may give a day here. It goes on at {said}."
        )
        assert claim(cast, cast.second_labeler) is not None
        monkeypatch.setattr(timezone, "now", lambda: tomorrow + timedelta(seconds=1))
        assert claim(cast) is not None

    def test_ones_own_goes_before_the_projects(self, cast: Cast) -> None:
        for number in range(3):
            make_comparison(cast.project, f"Question {number}")
        edit_project(project=cast.project, by=cast.manager, daily_limit=2)
        give_rules(cast, daily_limit=1)
        judge_next(cast)
        assert claim(cast) is None
        give_rules(cast)
        assert claim(cast) is not None

    def test_takes_a_judgment_that_comes_late(self, cast: Cast) -> None:
        make_comparison(cast.project, priority=1)
        make_comparison(cast.project, "Another?")
        give_rules(cast, daily_limit=1)
        late = claim(cast)
        assert late is not None
        queue.release_held(labeler=cast.labeler, project=cast.project)
        assert claimed(cast, cast.second_labeler) == late.task
        judge_next(cast)
        assert claim(cast) is None
        assert judge(late, [late.presentation]).surplus
        assert Judgment.objects.filter(labeler=cast.labeler, latest__isnull=False).count() == 2

    def test_an_undone_judgment_is_counted_once(self, cast: Cast) -> None:
        make_comparison(cast.project)
        make_comparison(cast.project, "Another?")
        give_rules(cast, daily_limit=2)
        first = claim(cast)
        assert first is not None
        judge(first, [first.presentation])
        queue.withdraw(assignment_id=first.pk, labeler=cast.labeler, draft={})
        assert queue.lease_ahead(labeler=cast.labeler, project=cast.project) is not None

    @pytest.mark.parametrize("limit", [0, 10_001])
    def test_out_of_range_is_refused(self, cast: Cast, limit: int) -> None:
        with pytest.raises(Refused, match=r"^A daily limit is a number from 1 to 10000, or empty for none\.$"):
            give_rules(cast, daily_limit=limit)

    def test_days_begin_at_midnight_of_the_server_whatever_the_reader_has_on(self) -> None:
        with timezone.override("Asia/Shanghai"):
            night = datetime(2026, 11, 29, 20, 30, tzinfo=UTC)
            assert work_rules.day_start(night) == datetime(2026, 11, 29, tzinfo=UTC)
            assert work_rules.next_day_start(night) == datetime(2026, 11, 30, tzinfo=UTC)


class TestLanguages:
    def test_are_matched_by_the_primary_subtag_and_an_unknown_one_is_for_everybody(self, cast: Cast) -> None:
        tags = {"en": 9, "enm": 8, "EN-GB": 7, "zh-Hans": 6, "": 5, "und": 4, "de": 3}
        for tag, priority in tags.items():
            task = make_comparison(cast.project, f"In {tag}?", ("Yes.", "No."), priority=priority)
            Prompt.objects.filter(pk=task.prompt_id).update(language=tag)
        give_rules(cast, languages=["en-US", "ZH"])
        assert membership(cast).languages == ["en", "zh"]
        came = []
        while (assignment := claim(cast)) is not None:
            assert assignment.task.prompt is not None
            came.append(assignment.task.prompt.language)
            judge(assignment, [assignment.presentation])
        assert came == ["en", "EN-GB", "zh-Hans", "", "und"]
        assert why(cast) == "2 tasks are left, none in a language that you read."

    def test_that_are_added_bring_tasks_that_were_passed_by(self, cast: Cast) -> None:
        task = make_comparison(cast.project)
        give_rules(cast, languages=["zh"])
        assert claim(cast) is None
        assert why(cast) == "1 task is left, and it isn’t in a language that you read."
        give_rules(cast, languages=["zh", "en"])
        assert claimed(cast) == task

    def test_of_the_home_page_are_those_of_the_queue(self, cast: Cast) -> None:
        make_comparison(cast.project)
        give_rules(cast, languages=["zh"])
        assert LabelerProgress(labeler=cast.labeler, project=cast.project).open_tasks == []

    def test_that_are_none_are_refused(self, cast: Cast) -> None:
        with pytest.raises(Refused, match=r"^“english” isn’t a language tag such as en or zh\.$"):
            give_rules(cast, languages=["english"])


class TestSkillsAndReservations:
    def test_a_task_that_needs_a_skill_goes_to_those_who_have_it(self, cast: Cast) -> None:
        task, plain = make_comparison(cast.project, priority=1), make_comparison(cast.project, "Plain?")
        give_rules(cast, skills=["Python", "python", "Law"])
        Membership.objects.create(user=cast.labeler, project=cast.project, role="reviewer")
        members.remove_role(user=cast.labeler, project=cast.project, role="labeler", by=cast.manager)
        assert list(Skill.objects.values_list("name", flat=True)) == ["Law", "python"]
        Task.objects.filter(pk=task.pk).update(skill=Skill.objects.get(name="python"))
        assert claimed(cast, cast.second_labeler) == plain
        assert claim(cast, cast.reviewer) is None
        assert why(cast, cast.reviewer) == "1 task is left, and it needs a skill that you aren’t listed with."
        assert claimed(cast) == task

    def test_a_reserved_task_goes_to_its_labeler_and_to_others_when_they_leave(self, cast: Cast) -> None:
        task = make_comparison(cast.project)
        Task.objects.update(reserved_for=cast.labeler)
        assert claim(cast, cast.second_labeler) is None
        assert why(cast, cast.second_labeler) == "1 task is left, and it is reserved for somebody else."
        assert claimed(cast) == task
        members.remove_role(user=cast.labeler, project=cast.project, role="labeler", by=cast.manager)
        assert claimed(cast, cast.second_labeler) == task

    @pytest.mark.parametrize("by", ["submit", "skip"])
    def test_a_reserved_task_is_everybodys_once_it_was_judged_or_skipped(self, cast: Cast, by: str) -> None:
        edit_project(project=cast.project, by=cast.manager, overlap=2)
        task = make_comparison(cast.project)
        Task.objects.update(reserved_for=cast.labeler)
        for _ in range(2):  # the second labeler has come to the end
            assert claim(cast, cast.second_labeler) is None
        held = claim(cast)
        assert held is not None
        if by == "submit":
            judge(held, [held.presentation])
        else:
            queue.skip(assignment_id=held.pk, labeler=cast.labeler)
        assert claimed(cast, cast.second_labeler) == task

    def test_several_reasons_are_told_in_one_sentence(self, cast: Cast) -> None:
        first, _second = make_comparison(cast.project), make_comparison(cast.project, "Another?")
        Task.objects.filter(pk=first.pk).update(reserved_for=cast.second_labeler)
        give_rules(cast, languages=["zh"])
        assert claim(cast) is None
        assert why(cast).startswith("2 tasks are left, none for you: they are in other languages")

    def test_no_more_than_the_first_tasks_are_counted(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(work_rules, "MOST_COUNTED", 2)
        for number in range(3):
            make_comparison(cast.project, f"Question {number}", ("Yes.", "No."))
        give_rules(cast, languages=["zh"])
        assert why(cast) == "2+ tasks are left, none in a language that you read."


class TestEdits:
    def edited(self, cast: Cast, original: Response, by: User) -> Task:
        """A comparison of a response with an edit of it."""
        edit = Response.objects.create(
            prompt=original.prompt, text="Better.", author=Author.of(by), edited_from=original
        )
        return queue.add_comparison(project=cast.project, prompt=original.prompt, responses=[original, edit])

    def test_who_judged_the_original_gets_no_task_with_anothers_edit_and_nobody_judges_their_own(
        self, cast: Cast
    ) -> None:
        prompt = make_prompt(cast.project)
        responses = make_responses(prompt, "In water.", "Slowly.")
        queue.add_comparison(project=cast.project, prompt=prompt, responses=responses)
        judge_next(cast)
        task = self.edited(cast, responses[0], cast.second_labeler)
        assert task.has_edits
        assert claim(cast) is None
        assert why(cast) == "1 task is left, and it has an edit of a response that you wrote or have judged."
        assert claim(cast, cast.second_labeler) is None
        assert claimed(cast, cast.reviewer) == task

    def test_of_responses_that_they_did_not_judge_come_to_them(self, cast: Cast) -> None:
        make_comparison(cast.project)
        judge_next(cast)
        task = self.edited(cast, make_responses(make_prompt(cast.project, "Another?"), "Yes.")[0], cast.reviewer)
        assert claimed(cast) == task


def test_the_work_page_says_why_there_is_nothing(cast: Cast, client: Client) -> None:
    make_comparison(cast.project)
    client.force_login(cast.manager)
    path = f"/p/kindness/people/{cast.labeler.pk}"
    assert client.post(f"{path}/pause", {"reason": "Too <fast>."}).status_code == 302
    assert "Too &lt;fast&gt;." in client.get("/p/kindness/people/").content.decode()
    wrong = client.post(f"{path}/work", {"daily_limit": "0", "languages": "zh"})
    assert wrong.status_code == 400
    assert 'value="zh"' in wrong.content.decode()
    assert client.post(f"{path}/work", {"daily_limit": "7", "languages": "en，zh", "skills": "Law"}).status_code == 302
    own = membership(cast)
    assert (own.daily_limit, own.languages, own.skills.get().name) == (7, ["en", "zh"], "Law")
    client.force_login(cast.labeler)
    page = client.get("/p/kindness/work/").content.decode()
    assert "You are paused in this project: Too &lt;fast&gt;." in page
    client.force_login(cast.manager)
    assert client.post(f"{path}/pause", {"resume": "yes"}).status_code == 302
    assert membership(cast).paused_at is None
