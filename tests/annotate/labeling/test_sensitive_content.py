"""Upsetting prompts: who is spared them, who marks them, and what happens to leases then."""

import pytest

from annotate.errors import NotYours
from annotate.labeling import queue
from annotate.labeling.sensitive_content import marking, visibility
from annotate.models import Assignment, AuditEvent, Prompt, Task, User
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, make_comparison

pytestmark = pytest.mark.django_db


@pytest.fixture
def upsetting(cast: Cast) -> Task:
    task = make_comparison(cast.project, "Something cruel?")
    Prompt.objects.filter(pk=task.prompt_id).update(sensitive=True)
    return Task.objects.get(pk=task.pk)


def choose(user: User, choice: str) -> None:
    user.sensitive_choice = choice
    user.save()
    marking.apply_choice(user)


def set_rule(cast: Cast, rule: str) -> None:
    edit_project(project=cast.project, by=cast.manager, sensitive_rule=rule)
    cast.project.refresh_from_db()


@pytest.mark.parametrize(
    ("rule", "choice", "gets_it"),
    [
        ("warn", "", True),
        ("warn", "willing", True),
        ("warn", "never", False),
        ("volunteers", "", False),
        ("volunteers", "willing", True),
        ("volunteers", "never", False),
        ("nobody", "", False),
        ("nobody", "willing", False),
        ("nobody", "never", False),
    ],
)
def test_who_is_given_them(cast: Cast, upsetting: Task, rule: str, choice: str, gets_it: bool) -> None:
    set_rule(cast, rule)
    choose(cast.labeler, choice)
    assert (queue.claim_next(labeler=cast.labeler, project=cast.project) is not None) == gets_it


def test_one_who_opted_out_gets_the_others_and_prompts_to_write(cast: Cast, upsetting: Task) -> None:
    choose(cast.labeler, "never")
    edit_project(project=cast.project, by=cast.manager, task_kinds=["compare", "write_prompt"])
    cast.project.refresh_from_db()
    calm = make_comparison(cast.project, "Something calm?")
    write = Task.objects.create(project=cast.project, kind=Task.Kind.WRITE_PROMPT)
    got = {queue.claim_next(labeler=cast.labeler, project=cast.project).task}
    got.add(queue.look_ahead(labeler=cast.labeler, project=cast.project).task)
    assert got == {calm, write}


def test_opting_out_takes_back_what_is_held_and_opting_in_brings_it_again(cast: Cast, upsetting: Task) -> None:
    held = queue.claim_next(labeler=cast.labeler, project=cast.project)
    assert held is not None
    queue.save_draft(assignment_id=held.pk, labeler=cast.labeler, draft={"comment": ["so far"]})
    choose(cast.labeler, "never")
    held.refresh_from_db()
    assert held.state == Assignment.State.EXPIRED
    assert Task.objects.get(pk=upsetting.pk).slots_free == 1
    assert queue.claim_next(labeler=cast.labeler, project=cast.project) is None
    choose(cast.labeler, "")
    again = queue.claim_next(labeler=cast.labeler, project=cast.project)
    assert again == held
    assert again.draft == {"comment": ["so far"]}


def test_a_stricter_rule_takes_them_back_from_those_it_spares(cast: Cast, upsetting: Task) -> None:
    held = queue.claim_next(labeler=cast.labeler, project=cast.project)
    assert held is not None
    set_rule(cast, "volunteers")
    held.refresh_from_db()
    assert held.state == Assignment.State.EXPIRED


class TestMarks:
    def test_by_a_report_cover_the_prompt_and_leave_it_with_the_reporter(self, cast: Cast) -> None:
        edit_project(project=cast.project, by=cast.manager, overlap=2)
        cast.project.refresh_from_db()
        task = make_comparison(cast.project, "Something cruel?")
        choose(cast.second_labeler, "never")
        mine, theirs = (
            queue.claim_next(labeler=labeler, project=cast.project) for labeler in (cast.labeler, cast.second_labeler)
        )
        assert task.prompt is not None
        assert marking.report(prompt=task.prompt, by=cast.labeler, reason=" cruel ")
        assert not marking.report(prompt=task.prompt, by=cast.labeler)
        assert Prompt.objects.get(pk=task.prompt_id).sensitive
        mine.refresh_from_db()
        theirs.refresh_from_db()
        assert (mine.state, theirs.state) == ("current", "expired")
        event = AuditEvent.objects.get(verb="prompt.reported")
        assert (event.actor, event.detail) == (cast.labeler, {"sensitive": True, "reason": "cruel"})

    def test_are_taken_away_by_a_manager_and_everybody_gets_it_again(self, cast: Cast, upsetting: Task) -> None:
        choose(cast.labeler, "never")
        assert queue.claim_next(labeler=cast.labeler, project=cast.project) is None
        assert upsetting.prompt is not None
        marking.mark(prompt=upsetting.prompt, sensitive=False, by=cast.manager)
        assert queue.claim_next(labeler=cast.labeler, project=cast.project) is not None

    def test_are_not_for_outsiders_nor_labelers_to_set(self, cast: Cast, upsetting: Task) -> None:
        assert upsetting.prompt is not None
        with pytest.raises(NotYours):
            marking.report(prompt=upsetting.prompt, by=cast.outsider)
        with pytest.raises(NotYours):
            marking.mark(prompt=upsetting.prompt, sensitive=False, by=cast.labeler)


@pytest.mark.parametrize(
    ("rule", "words"),
    [("warn", "opt out"), ("volunteers", "said on their account page"), ("nobody", "given to nobody")],
)
def test_the_projects_promise_is_a_sentence(cast: Cast, rule: str, words: str) -> None:
    set_rule(cast, rule)
    assert words in visibility.rule_statement(cast.project)
