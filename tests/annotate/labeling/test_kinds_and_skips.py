"""A labeler chooses the kind of task for now, and takes a skip back."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from annotate.errors import Refused
from annotate.labeling import queue
from annotate.models import Assignment, Project, Task, User
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, make_comparison, make_prompt

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def labeler(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.labeler, backend="annotate.people.backends.PasswordBackend")
    return client


def claim(cast: Cast, who: User | None = None) -> Assignment | None:
    return queue.claim_next(labeler=who or cast.labeler, project=Project.objects.get(pk=cast.project.pk))


class TestOneKind:
    @pytest.fixture(autouse=True)
    def tasks(self, cast: Cast) -> None:
        edit_project(project=cast.project, by=cast.manager, task_kinds=["compare", "demonstrate"])
        cast.project.refresh_from_db()
        for number in range(2):
            make_comparison(cast.project, f"Which of {number}?")
            prompt = make_prompt(cast.project, f"Say {number}.")
            Task.objects.create(project=cast.project, kind="demonstrate", prompt=prompt, priority=-5)

    def test_is_given_alone_and_what_was_held_goes_back_with_its_draft(self, cast: Cast) -> None:
        first = claim(cast)
        assert first is not None
        assert first.task.kind == "compare"
        queue.save_draft(assignment_id=first.pk, labeler=cast.labeler, draft={"comment": ["begun"]})
        queue.choose_kind(labeler=cast.labeler, project=cast.project, kind="demonstrate")
        now = claim(cast)
        assert now is not None
        assert now.task.kind == "demonstrate"
        first.refresh_from_db()
        assert (first.state, first.draft) == ("expired", {"comment": ["begun"]})
        assert Task.objects.get(pk=first.task_id).slots_free == 1
        queue.choose_kind(labeler=cast.labeler, project=cast.project, kind="")
        for _ in range(4):
            current = claim(cast)
            assert current is not None
            queue.skip(assignment_id=current.pk, labeler=cast.labeler)
        assert claim(cast) is None

    def test_that_is_done_leaves_nothing_though_others_wait(self, cast: Cast, labeler: Client) -> None:
        queue.choose_kind(labeler=cast.labeler, project=cast.project, kind="demonstrate")
        for _ in range(2):
            current = claim(cast)
            assert current is not None
            queue.skip(assignment_id=current.pk, labeler=cast.labeler)
        assert claim(cast) is None
        assert "Work on any kind" in labeler.get("/p/kindness/work/").content.decode()
        assert labeler.post("/p/kindness/work/kind", {"kind": ""}).status_code == 302
        assert claim(cast) is not None

    def test_that_is_done_while_one_works_offers_the_others(self, cast: Cast, labeler: Client) -> None:
        queue.choose_kind(labeler=cast.labeler, project=cast.project, kind="demonstrate")
        Task.objects.filter(project=cast.project, kind="demonstrate").update(state=Task.State.WITHDRAWN)
        fragment = labeler.get("/p/kindness/work/", headers=HTMX).content.decode()
        assert "Nothing to do right now" in fragment
        assert "Work on any kind" in fragment

    def test_of_another_person_is_theirs(self, cast: Cast) -> None:
        queue.choose_kind(labeler=cast.labeler, project=cast.project, kind="demonstrate")
        other = claim(cast, cast.second_labeler)
        assert other is not None
        assert other.task.kind == "compare"

    def test_that_the_project_has_not_is_refused(self, cast: Cast, labeler: Client) -> None:
        with pytest.raises(Refused, match="no tasks of that kind"):
            queue.choose_kind(labeler=cast.labeler, project=cast.project, kind="chat")
        page = labeler.post("/p/kindness/work/kind", {"kind": "x" * 40}, follow=True)
        assert "no tasks of that kind" in page.content.decode()

    def test_and_how_far_one_is_stand_above_the_work(self, cast: Cast, labeler: Client) -> None:
        page = labeler.get("/p/kindness/work/").content.decode()
        assert "of 4" in page
        assert "Compare responses (2)" in page
        labeler.post("/p/kindness/work/kind", {"kind": "demonstrate"})
        assert "of 2" in labeler.get("/p/kindness/work/").content.decode()


class TestASkip:
    @pytest.fixture
    def skipped(self, cast: Cast, labeler: Client) -> Assignment:
        for number in range(3):
            make_comparison(cast.project, f"Which of {number}?")
        current = claim(cast)
        assert current is not None
        queue.save_draft(assignment_id=current.pk, labeler=cast.labeler, draft={"comment": ["begun"]})
        reply = labeler.post(f"/p/kindness/work/{current.pk}/skip", {"skip_reason": "broken"}, headers=HTMX)
        assert f"/work/{current.pk}/undo" in reply.content.decode()
        current.refresh_from_db()
        return current

    def test_is_taken_back_as_it_was(self, cast: Cast, labeler: Client, skipped: Assignment) -> None:
        reply = labeler.post(f"/p/kindness/work/{skipped.pk}/undo", headers=HTMX).content.decode()
        assert "The task that you skipped is back." in reply
        assert "begun" in reply
        skipped.refresh_from_db()
        assert (skipped.state, skipped.skip_reason, skipped.ended_at) == ("current", "", None)
        assert Task.objects.get(pk=skipped.task_id).slots_free == 0
        assert claim(cast) == skipped
        states = Assignment.objects.filter(labeler=cast.labeler, state__in=Assignment.HELD)
        assert sorted(states.values_list("state", flat=True)) == ["ahead", "current"]

    def test_whose_place_is_taken_can_be_judged_all_the_same(self, cast: Cast, skipped: Assignment) -> None:
        Task.objects.filter(pk=skipped.task_id).update(slots_free=0)
        assert queue.unskip(assignment_id=skipped.pk, labeler=cast.labeler).state == "expired"

    def test_is_not_taken_back_for_ever(self, cast: Cast, skipped: Assignment) -> None:
        Assignment.objects.filter(pk=skipped.pk).update(ended_at=timezone.now() - timedelta(minutes=1))
        with pytest.raises(Refused, match="too late"):
            queue.unskip(assignment_id=skipped.pk, labeler=cast.labeler)

    def test_without_a_script_has_a_button_to_undo_it(self, cast: Cast, labeler: Client) -> None:
        make_comparison(cast.project)
        current = claim(cast)
        assert current is not None
        page = labeler.post(f"/p/kindness/work/{current.pk}/skip", {}, follow=True).content.decode()
        assert f"/work/{current.pk}/undo" in page
