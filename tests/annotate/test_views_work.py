"""Work in the browser without a browser: the board, submit, skip and draft, as a plain form and as htmx."""

import re
import uuid
from typing import Any

import pytest
from django.test import Client

from annotate import queue
from annotate.models import Assignment, Judgment, JudgmentRevision
from annotate.projects import edit_project
from tests.cast import Cast, make_comparison

HTMX = {"HX-Request": "true", "HX-Target": "work"}


@pytest.fixture
def labeler(cast: Cast, client: Client) -> Client:
    client.force_login(cast.labeler)
    return client


def url(assignment: Assignment, deed: str) -> str:
    return f"/p/{assignment.project.slug}/work/{assignment.pk}/{deed}"


def ranked(assignment: Assignment, *ranks: int | str, **fields: Any) -> dict[str, Any]:
    """The board's fields, ranks in the order in which the answers are shown."""
    named = {f"rank-{key}": str(rank) for key, rank in zip(assignment.presentation, ranks, strict=True)}
    return {"client_id": str(uuid.uuid4()), **named, **fields}


def hold(cast: Cast, count: int = 2) -> Assignment:
    for number in range(count):
        make_comparison(cast.project, f"Question {number}?")
    assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
    assert assignment is not None
    return assignment


def latest() -> JudgmentRevision:
    return JudgmentRevision.objects.latest("pk")


class TestTheBoard:
    def test_shows_the_answers_in_the_labelers_own_order_and_again_the_same(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        for _ in range(2):
            page = labeler.get("/p/kindness/work/").content.decode()
            assert [int(key) for key in re.findall(r'class="answer" data-id="(\d+)"', page)] == assignment.presentation
            assert re.findall(r'data-letter="(\w)"', page) == ["A", "B", "C", "D"]

    def test_names_no_model_and_preselects_nothing(self, cast: Cast, labeler: Client) -> None:
        hold(cast)
        page = labeler.get("/p/kindness/work/").content.decode()
        assert "a-model" not in page
        assert set(re.findall(r'name="rank-\d+" value="(\d*)" ?checked', page)) == {""}

    def test_is_a_plain_form_as_well_as_an_htmx_one(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        page = labeler.get("/p/kindness/work/").content.decode()
        submit = url(assignment, "submit")
        assert f'action="{submit}"' in page
        assert f'hx-post="{submit}"' in page
        assert f'formaction="{url(assignment, "skip")}"' in page

    def test_asks_what_the_rubric_asks(self, cast: Cast, labeler: Client) -> None:
        criteria = [{"name": "warmth", "label": "Warmth", "min": 1, "max": 3}]
        flags = [{"name": "rude", "label": "Is rude"}]
        edit_project(project=cast.project, by=cast.manager, criteria=criteria, flags=flags)
        assignment = hold(cast)
        page = labeler.get("/p/kindness/work/").content.decode()
        first, second = assignment.presentation[:2]
        assert f'name="rating-{first}-warmth"' in page
        fields = ranked(assignment, 1, 2, 3, 4, **{f"rating-{first}-warmth": "3", f"flag-{second}": ["rude"]})
        labeler.post(url(assignment, "submit"), fields)
        assert latest().ratings == {str(first): {"warmth": 3}}
        assert latest().flags == {str(second): ["rude"]}

    def test_says_when_nothing_is_left(self, cast: Cast, labeler: Client) -> None:
        assert "Nothing to rank right now" in labeler.get("/p/kindness/work/").content.decode()

    def test_warns_before_a_prompt_that_may_upset(self, cast: Cast, labeler: Client) -> None:
        task = hold(cast).task
        assert task.prompt is not None
        task.prompt.sensitive = True
        task.prompt.save()
        assert "may upset" in labeler.get("/p/kindness/work/").content.decode()

    def test_shows_an_answer_as_text_that_can_do_nothing(self, cast: Cast, labeler: Client) -> None:
        make_comparison(cast.project, texts=("<script>alert(1)</script>", "fine"))
        page = labeler.get("/p/kindness/work/").content.decode()
        assert "&lt;script&gt;alert(1)" in page
        assert "<script>alert" not in page


class TestSubmit:
    def test_stores_tiers_by_rank_with_ties_and_gaps(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        a, b, c, d = assignment.presentation
        labeler.post(url(assignment, "submit"), ranked(assignment, 4, 1, 4, "", seconds="12.5", comment=" too long "))
        assert latest().tiers == [[b], [a, c]]
        assert latest().seconds == 12.5
        assert latest().comment == "too long"
        assert all(d not in tier for tier in latest().tiers)

    def test_as_a_plain_form_leads_back_to_the_next_task(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        page = labeler.post(url(assignment, "submit"), ranked(assignment, 1, 2, 3, 4), follow=True)
        assert page.redirect_chain == [("/p/kindness/work/", 302)]
        assert "Saved." in page.content.decode()
        assert page.context["board"].assignment.pk != assignment.pk

    def test_by_htmx_answers_with_the_task_leased_ahead(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        ahead = queue.look_ahead(labeler=cast.labeler, project=cast.project)
        assert ahead is not None
        answer = labeler.post(url(assignment, "submit"), ranked(assignment, 1, 1, 2, 2), headers=HTMX)
        fragment = answer.content.decode()
        assert answer.status_code == 200
        assert fragment.strip().startswith('<section id="work"')
        assert url(ahead, "submit") in fragment
        assert "<html" not in fragment

    def test_sent_twice_is_one_judgment(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        fields = ranked(assignment, 1, 2, 3, 4)
        labeler.post(url(assignment, "submit"), fields, headers=HTMX)
        again = labeler.post(url(assignment, "submit"), fields, headers=HTMX)
        assert "submitted already" in again.content.decode()
        assert JudgmentRevision.objects.count() == 1

    def test_all_unacceptable_needs_no_ranks(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        labeler.post(url(assignment, "submit"), ranked(assignment, "", "", "", "", all_unacceptable="1"))
        assert latest().all_unacceptable
        assert latest().tiers == []

    def test_margin_of_a_pair(self, cast: Cast, labeler: Client) -> None:
        make_comparison(cast.project, texts=("yes", "no"))
        assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
        assert assignment is not None
        assert "How much better" in labeler.get("/p/kindness/work/").content.decode()
        labeler.post(url(assignment, "submit"), ranked(assignment, 2, 1, margin="3"))
        assert latest().margin == 3

    def test_after_the_lease_ran_out_is_kept_and_said(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        queue.release_held(labeler=cast.labeler, project=cast.project)
        other = queue.claim_next(labeler=cast.second_labeler, project=cast.project)
        while other is not None and other.task_id != assignment.task_id:
            queue.skip(assignment_id=other.pk, labeler=cast.second_labeler)
            other = queue.claim_next(labeler=cast.second_labeler, project=cast.project)
        answer = labeler.post(url(assignment, "submit"), ranked(assignment, 1, 2, 3, 4), headers=HTMX)
        assert "yours is kept" in answer.content.decode()
        assert Judgment.objects.get().surplus


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({}, "Rank at least two answers"),
            ({"rank-999999": "1"}, "doesn&#x27;t belong to this task"),
            ({"rank-x": "1"}, "An answer is named by a whole number."),
            ({"client_id": "no-uuid"}, "The form came incomplete."),
            ({"seconds": "soon"}, "The form came incomplete."),
        ],
    )
    def test_show_the_form_again_with_the_sentence_and_all_that_was_entered(
        self, cast: Cast, labeler: Client, changes: dict[str, str], sentence: str
    ) -> None:
        assignment = hold(cast)
        fields = ranked(assignment, 3, "", "", "", comment="half-way <b>") | changes
        answer = labeler.post(url(assignment, "submit"), fields)
        page = answer.content.decode()
        assert answer.status_code == 400
        assert sentence in page
        assert f'name="rank-{assignment.presentation[0]}" value="3" checked' in page
        assert "half-way &lt;b&gt;" in page
        assert not Judgment.objects.exists()

    @pytest.mark.parametrize(
        "changes",
        [
            {"margin": "9"},
            {"margin": "-1"},
            {"seconds": "nan"},
            {"comment": "a\0b"},
            {"rubric": "999999"},
            {"rating-1-x": "1"},
            {"flag-1": "x"},
        ],
    )
    def test_of_what_no_page_sends_are_a_clear_400(self, cast: Cast, labeler: Client, changes: dict[str, str]) -> None:
        assignment = hold(cast)
        answer = labeler.post(url(assignment, "submit"), ranked(assignment, 1, 2, 3, 4) | changes)
        assert answer.status_code == 400
        assert not Judgment.objects.exists()

    def test_by_htmx_are_one_plain_sentence_beside_the_board(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        answer = labeler.post(url(assignment, "submit"), ranked(assignment, 1, "", "", ""), headers=HTMX)
        assert answer.status_code == 400
        assert answer["HX-Retarget"] == "#refusal"
        assert answer["HX-Reswap"] == "textContent"
        assert answer["Content-Type"].startswith("text/plain")
        assert answer.content.decode().startswith("Rank at least two answers")

    def test_anothers_assignment_stays_his(self, cast: Cast, client: Client) -> None:
        assignment = hold(cast)
        client.force_login(cast.second_labeler)
        for deed in ("submit", "skip", "draft"):
            assert client.post(url(assignment, deed), ranked(assignment, 1, 2, 3, 4)).status_code == 403
        assert not Judgment.objects.exists()

    def test_an_assignment_isnt_reached_through_another_project(self, cast: Cast, client: Client) -> None:
        assignment = hold(cast)
        client.force_login(cast.outsider)
        path = url(assignment, "submit").replace("kindness", cast.other_project.slug)
        assert client.post(path, ranked(assignment, 1, 2, 3, 4)).status_code == 404

    def test_without_a_session_htmx_gets_a_sentence_and_no_sign_in_page(self, cast: Cast, client: Client) -> None:
        assignment = hold(cast)
        answer = client.post(url(assignment, "submit"), ranked(assignment, 1, 2, 3, 4), headers=HTMX)
        assert answer.status_code == 401
        assert "still on this page" in answer.content.decode()


class TestSkipAndDraft:
    def test_skip_keeps_the_reason_and_goes_on(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        fields = {"skip_reason": "broken", "skip_note": "two answers are cut"}
        answer = labeler.post(url(assignment, "skip"), fields, headers=HTMX)
        assignment.refresh_from_db()
        assert (assignment.state, assignment.skip_reason) == ("skipped", "broken: two answers are cut")
        assert url(assignment, "submit") not in answer.content.decode()

    def test_a_submitted_task_cant_be_skipped(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        labeler.post(url(assignment, "submit"), ranked(assignment, 1, 2, 3, 4))
        answer = labeler.post(url(assignment, "skip"), {}, headers=HTMX)
        assert answer.status_code == 409
        assert "Your judgment is kept" in answer.content.decode()

    def test_a_draft_comes_back_with_the_page(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        fields = ranked(assignment, 2, "", 1, "", comment="so far", all_unacceptable="1", seconds="40")
        assert labeler.post(url(assignment, "draft"), fields, headers=HTMX).content == b"Draft saved"
        assignment.refresh_from_db()
        assert assignment.draft is not None
        assert "client_id" not in assignment.draft
        page = labeler.get("/p/kindness/work/").content.decode()
        assert f'name="rank-{assignment.presentation[2]}" value="1" checked' in page
        assert "so far</textarea>" in page
        assert 'name="seconds" value="40"' in page
        assert 'name="all_unacceptable" value="1" checked' in page

    def test_a_draft_of_any_shape_breaks_no_page(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        Assignment.objects.filter(pk=assignment.pk).update(draft={"comment": 3, "rank-1": [None], "x": []})
        assert labeler.get("/p/kindness/work/").status_code == 200

    def test_a_draft_after_the_end_says_so(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        labeler.post(url(assignment, "submit"), ranked(assignment, 1, 2, 3, 4))
        assert b"is over" in labeler.post(url(assignment, "draft"), ranked(assignment, 2, 1, 3, 4)).content
