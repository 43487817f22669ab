"""Work in the browser without a browser: the board, submit, skip and draft, as a plain form and as htmx."""

import re
import uuid
from typing import Any

import pytest
from django.test import Client

from annotate.labeling import queue
from annotate.models import Assignment, Judgment, JudgmentReturn, JudgmentRevision, Report, Rubric
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, key_of, keys_of, make_comparison
from tests.harness.markup import markup

HTMX = {"HX-Request": "true", "HX-Target": "work"}


@pytest.fixture
def labeler(cast: Cast, client: Client) -> Client:
    client.force_login(cast.labeler)
    return client


def url(assignment: Assignment, action: str) -> str:
    return f"/p/{assignment.project.slug}/work/{assignment.pk}/{action}"


def ranked(assignment: Assignment, *ranks: int | str, **fields: Any) -> dict[str, Any]:
    """The board's fields, ranks in the order in which the responses are shown."""
    named = {f"rank-{key}": str(rank) for key, rank in zip(keys_of(assignment), ranks, strict=True)}
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
    def test_shows_the_responses_in_the_labelers_own_order_and_again_the_same(
        self, cast: Cast, labeler: Client
    ) -> None:
        assignment = hold(cast)
        for _ in range(2):
            page = labeler.get("/p/kindness/work/").content.decode()
            assert re.findall(r'class="response" data-id="(\w+)"', markup(page)) == keys_of(assignment)
            assert re.findall(r'data-letter="(\w)"', page) == ["A", "B", "C", "D"]

    def test_names_no_model_and_preselects_nothing(self, cast: Cast, labeler: Client) -> None:
        hold(cast)
        page = labeler.get("/p/kindness/work/").content.decode()
        assert "a-model" not in page
        chosen = re.findall(r'name="rank-\w+" value="(\d*)"[^>]* checked', page)
        assert chosen == ["", "", "", ""]

    def test_is_a_plain_form_whose_every_action_has_an_address(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        page = markup(labeler.get("/p/kindness/work/"))
        assert f'method="post" action="{url(assignment, "submit")}"' in page
        for action in ("skip", "report"):
            assert f'formaction="{url(assignment, action)}" hx-post="{url(assignment, action)}"' in page

    def test_asks_what_the_rubric_asks(self, cast: Cast, labeler: Client) -> None:
        criteria = [{"name": "warmth", "label": "Warmth", "min": 1, "max": 3}]
        flags = [{"name": "rude", "label": "Is rude"}]
        edit_project(project=cast.project, by=cast.manager, criteria=criteria, flags=flags)
        assignment = hold(cast)
        page = labeler.get("/p/kindness/work/").content.decode()
        first, second = assignment.presentation[:2]
        assert f'name="rating-{key_of(assignment, first)}-warmth"' in page
        fields = ranked(
            assignment,
            1,
            2,
            3,
            4,
            **{f"rating-{key_of(assignment, first)}-warmth": "3", f"flag-{key_of(assignment, second)}": ["rude"]},
        )
        labeler.post(url(assignment, "submit"), fields)
        assert latest().ratings == {str(first): {"warmth": 3}}
        assert latest().flags == {str(second): ["rude"]}

    def test_says_when_nothing_is_left(self, cast: Cast, labeler: Client) -> None:
        assert "Nothing to do right now" in labeler.get("/p/kindness/work/").content.decode()

    def test_warns_before_a_prompt_that_may_upset(self, cast: Cast, labeler: Client) -> None:
        task = hold(cast).task
        assert task.prompt is not None
        task.prompt.sensitive = True
        task.prompt.save()
        assert "may be upsetting" in labeler.get("/p/kindness/work/").content.decode()

    def test_shows_a_response_as_text_that_can_do_nothing(self, cast: Cast, labeler: Client) -> None:
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
        assert page.redirect_chain == [(f"/p/kindness/work/?done={assignment.pk}", 302)]
        assert "Saved." in page.content.decode()
        assert f'action="{url(assignment, "undo")}"' in page.content.decode()
        assert page.context["form"].assignment.pk != assignment.pk

    def test_by_htmx_replies_with_the_task_leased_ahead(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        ahead = queue.look_ahead(labeler=cast.labeler, project=cast.project)
        assert ahead is not None
        reply = labeler.post(url(assignment, "submit"), ranked(assignment, 1, 1, 2, 2), headers=HTMX)
        fragment = reply.content.decode()
        assert reply.status_code == 200
        assert f'<section id="work" aria-label="Work" data-task="{ahead.pk}"' in markup(fragment)
        assert url(ahead, "submit") in fragment
        assert url(assignment, "undo") in fragment
        assert reply["X-Hone-Task"] == str(ahead.pk)
        assert "<html" not in fragment

    def test_sends_the_receipt_alone_when_the_page_shows_the_next_task_already(
        self, cast: Cast, labeler: Client
    ) -> None:
        assignment = hold(cast)
        ahead = queue.look_ahead(labeler=cast.labeler, project=cast.project)
        assert ahead is not None
        fields = ranked(assignment, 1, 2, 3, 4, shown=str(ahead.pk))
        reply = labeler.post(url(assignment, "submit"), fields, headers=HTMX)
        assert reply["X-Hone-Task"] == str(ahead.pk)
        assert "Saved." in reply.content.decode()
        assert 'id="work"' not in reply.content.decode()

    def test_sends_the_task_when_the_page_shows_one_that_is_not_his_any_more(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        fields = ranked(assignment, 1, 2, 3, 4, shown=str(assignment.pk))
        reply = labeler.post(url(assignment, "submit"), fields, headers=HTMX)
        assert 'id="work"' in reply.content.decode()

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

    def test_one_scale_for_a_pair_says_which_and_by_how_much(self, cast: Cast, labeler: Client) -> None:
        edit_project(project=cast.project, by=cast.manager, margin_input="slider")
        for preference, tiers, margin in (("b:2", "b>a", 2), ("a:0", "a>b", 0), ("tie", "a=b", 0)):
            make_comparison(cast.project, f"Which? {preference}", texts=("yes", "no"))
            assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
            assert assignment is not None
            page = labeler.get("/p/kindness/work/").content.decode()
            assert "Which one is better, and by how much?" in page
            assert not re.search(r'name="preference"[^>]* checked', page)
            a, b = assignment.presentation
            letter, _, size = preference.partition(":")
            value = f"{key_of(assignment, a if letter == 'a' else b)}:{size}" if size else preference
            labeler.post(url(assignment, "submit"), ranked(assignment, "", "", preference=value))
            assert latest().tiers == {"b>a": [[b], [a]], "a>b": [[a], [b]], "a=b": [[a, b]]}[tiers]
            assert latest().margin == margin

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
        reply = labeler.post(url(assignment, "submit"), ranked(assignment, 1, 2, 3, 4), headers=HTMX)
        assert "yours is kept" in reply.content.decode()
        assert Judgment.objects.get().surplus


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({}, "Rank at least two responses"),
            ({"rank-ANOTHERS": "1"}, "doesn&#x27;t belong to this task"),
            ({"rank-x": "1"}, "doesn&#x27;t belong to this task"),
            ({"client_id": "no-uuid"}, "The form came incomplete."),
            ({"seconds": "soon"}, "The form came incomplete."),
        ],
    )
    def test_show_the_form_again_with_the_sentence_and_all_that_was_entered(
        self, cast: Cast, labeler: Client, changes: dict[str, str], sentence: str
    ) -> None:
        assignment = hold(cast, count=3)
        # A response of a colleague's page, by the key that this page has for it.
        theirs = queue.claim_next(labeler=cast.second_labeler, project=cast.project)
        key = key_of(theirs, theirs.presentation[0])
        changes = {name.replace("ANOTHERS", key): value for name, value in changes.items()}
        fields = ranked(assignment, 3, "", "", "", comment="half-way <b>") | changes
        reply = labeler.post(url(assignment, "submit"), fields)
        page = reply.content.decode()
        assert reply.status_code == 400
        assert sentence in page
        assert f'name="rank-{key_of(assignment, assignment.presentation[0])}" value="3" checked' in page
        assert "half-way &lt;b&gt;" in page
        assert not Judgment.objects.exists()

    @pytest.mark.parametrize(
        "changes",
        [
            {"margin": "9"},
            {"margin": "-1"},
            {"seconds": "nan"},
            {"comment": "a\0b"},
            {"rubric": "ELSEWHERES"},
            {"rating-1-x": "1"},
            {"flag-1": "x"},
        ],
    )
    def test_of_what_no_page_sends_are_a_clear_400(self, cast: Cast, labeler: Client, changes: dict[str, str]) -> None:
        elsewhere = Rubric.objects.create(project=cast.other_project, version=9, criteria=[], flags=[])
        changes = {name: value.replace("ELSEWHERES", str(elsewhere.pk)) for name, value in changes.items()}
        assignment = hold(cast)
        reply = labeler.post(url(assignment, "submit"), ranked(assignment, 1, 2, 3, 4) | changes)
        assert reply.status_code == 400
        assert not Judgment.objects.exists()

    def test_by_htmx_are_one_plain_sentence_beside_the_board(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        reply = labeler.post(url(assignment, "submit"), ranked(assignment, 1, "", "", ""), headers=HTMX)
        assert reply.status_code == 400
        assert reply["HX-Retarget"] == "#refusal"
        assert reply["HX-Reswap"] == "textContent"
        assert reply["Content-Type"].startswith("text/plain")
        assert reply.content.decode().startswith("Rank at least two responses")

    def test_anothers_assignment_stays_his(self, cast: Cast, client: Client) -> None:
        assignment = hold(cast)
        client.force_login(cast.second_labeler)
        for action in ("submit", "skip", "draft"):
            assert client.post(url(assignment, action), ranked(assignment, 1, 2, 3, 4)).status_code == 403
        assert not Judgment.objects.exists()

    def test_an_assignment_isnt_reached_through_another_project(self, cast: Cast, client: Client) -> None:
        assignment = hold(cast)
        client.force_login(cast.outsider)
        path = url(assignment, "submit").replace("kindness", cast.other_project.slug)
        assert client.post(path, ranked(assignment, 1, 2, 3, 4)).status_code == 404

    def test_without_a_session_htmx_gets_a_sentence_and_no_sign_in_page(self, cast: Cast, client: Client) -> None:
        assignment = hold(cast)
        reply = client.post(url(assignment, "submit"), ranked(assignment, 1, 2, 3, 4), headers=HTMX)
        assert reply.status_code == 401
        assert "still on this page" in reply.content.decode()


class TestSkipAndDraft:
    def test_skip_keeps_the_reason_and_goes_on(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        fields = {"skip_reason": "broken", "skip_note": "two responses are cut"}
        reply = labeler.post(url(assignment, "skip"), fields, headers=HTMX)
        assignment.refresh_from_db()
        assert (assignment.state, assignment.skip_reason) == ("skipped", "broken: two responses are cut")
        assert url(assignment, "submit") not in reply.content.decode()

    def test_a_submitted_task_cant_be_skipped(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        labeler.post(url(assignment, "submit"), ranked(assignment, 1, 2, 3, 4))
        reply = labeler.post(url(assignment, "skip"), {}, headers=HTMX)
        assert reply.status_code == 409
        assert "Your judgment is kept" in reply.content.decode()

    def test_a_skip_for_being_upsetting_marks_the_prompt(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        labeler.post(url(assignment, "skip"), {"skip_reason": "upsetting"}, headers=HTMX)
        prompt = assignment.task.prompt
        assert prompt is not None
        prompt.refresh_from_db()
        assert prompt.sensitive

    def test_a_draft_comes_back_with_the_page(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        first = assignment.presentation[0]
        fields = ranked(assignment, 2, "", 1, "", comment="so far", all_unacceptable="1", seconds="40")
        fields |= {
            f"note-{key_of(assignment, first)}": "dry",
            "improved_from": key_of(assignment, first),
            "improved_text": "In hot water.",
        }
        reply = labeler.post(url(assignment, "draft"), fields, headers=HTMX)
        assert reply.json() == {
            "kept": True, "conflict": False, "over": False, "expired": False, "version": 1, "draft": None
        }  # fmt: skip
        assignment.refresh_from_db()
        assert assignment.draft is not None
        assert "client_id" not in assignment.draft
        page = labeler.get("/p/kindness/work/").content.decode()
        assert f'name="rank-{key_of(assignment, assignment.presentation[2])}" value="1" checked' in page
        assert "so far</textarea>" in page
        assert "dry</textarea>" in page
        assert f'<option value="{key_of(assignment, first)}" selected>' in page
        assert "In hot water.</textarea>" in page
        assert 'name="seconds" value="40"' in page
        assert 'name="all_unacceptable" value="1" checked' in page
        assert 'data-draft-version="1"' in page

    def test_a_draft_that_another_page_has_overtaken_is_told_so(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)

        def save(comment: str, page: str, version: int, base: int) -> Any:
            numbers = {"draft_page": page, "draft_version": version, "draft_base": base}
            return labeler.post(url(assignment, "draft"), {"comment": comment, **numbers}, headers=HTMX).json()

        assert save("office", "one", 1, 0)["kept"]
        refused = save("home", "two", 1, 0)
        assert (refused["conflict"], refused["version"], refused["draft"]) == (True, 1, {"comment": ["office"]})
        kept = labeler.get(url(assignment, "draft")).json()
        assert kept == {
            "version": 1, "page": "one", "draft": {"comment": ["office"]}, "state": "current", "judged": False
        }  # fmt: skip

    def test_a_draft_with_a_broken_number_is_refused(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        for number in ("-1", "x", "1" * 20, "²"):
            reply = labeler.post(url(assignment, "draft"), {"comment": "a", "draft_version": number}, headers=HTMX)
            assert reply.status_code == 400
            assert reply.json()["error"].endswith(".")

    def test_a_draft_of_any_shape_breaks_no_page(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        Assignment.objects.filter(pk=assignment.pk).update(draft={"comment": 3, "rank-1": [None], "x": []})
        assert labeler.get("/p/kindness/work/").status_code == 200

    def test_a_draft_of_a_skipped_task_is_over(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        labeler.post(url(assignment, "skip"), {})
        assert labeler.post(url(assignment, "draft"), {"comment": "late"}, headers=HTMX).json()["over"]


class TestTheTaskAhead:
    def test_is_leased_and_rendered_before_it_is_needed(self, cast: Cast, labeler: Client) -> None:
        hold(cast)
        reply = labeler.get("/p/kindness/work/ahead", headers=HTMX)
        ahead = queue.look_ahead(labeler=cast.labeler, project=cast.project)
        assert ahead is not None
        assert reply["X-Hone-Task"] == str(ahead.pk)
        assert markup(reply).startswith(f'<section id="work" aria-label="Work" data-task="{ahead.pk}"')

    def test_is_nothing_when_nothing_is_left(self, cast: Cast, labeler: Client) -> None:
        hold(cast, count=1)
        assert labeler.get("/p/kindness/work/ahead", headers=HTMX).status_code == 204

    def test_is_leased_anew_after_each_submit(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast, count=3)
        labeler.post(url(assignment, "submit"), ranked(assignment, 1, 2, 3, 4), headers=HTMX)
        assert queue.look_ahead(labeler=cast.labeler, project=cast.project) is None
        assert labeler.get("/p/kindness/work/ahead", headers=HTMX).status_code == 200
        assert queue.look_ahead(labeler=cast.labeler, project=cast.project) is not None


class TestUndo:
    def test_brings_the_task_back_with_all_that_was_said(self, cast: Cast, labeler: Client) -> None:
        criteria = [{"name": "warmth", "label": "Warmth", "min": 1, "max": 3}]
        edit_project(
            project=cast.project, by=cast.manager, criteria=criteria, flags=[{"name": "rude", "label": "Rude"}]
        )
        assignment = hold(cast)
        a, b, c, d = assignment.presentation
        fields = ranked(assignment, 2, 1, 2, "", comment="close", seconds="12.5")
        fields |= {
            f"rating-{key_of(assignment, a)}-warmth": "3",
            f"flag-{key_of(assignment, b)}": ["rude"],
            f"note-{key_of(assignment, c)}": "odd",
            "improved_from": key_of(assignment, b),
        }
        labeler.post(url(assignment, "submit"), fields | {"improved_text": "In hot water."}, headers=HTMX)
        reply = labeler.post(url(assignment, "undo"), headers=HTMX)
        page = reply.content.decode()
        assert reply["X-Hone-Task"] == str(assignment.pk)
        assert "Taken back" in page
        for field in (
            f'"rank-{key_of(assignment, a)}" value="2"',
            f'"rank-{key_of(assignment, b)}" value="1"',
            f'"rank-{key_of(assignment, c)}" value="2"',
            f'"rank-{key_of(assignment, d)}" value=""',
        ):
            assert re.search(f"name={field}[^>]* checked", page)
        for field in (
            f'"rating-{key_of(assignment, a)}-warmth" value="3"',
            f'"flag-{key_of(assignment, b)}" value="rude"',
        ):
            assert f"name={field} checked" in page
        for said in ("close</textarea>", "odd</textarea>", "In hot water.</textarea>", 'name="seconds" value="12.5"'):
            assert said in page
        assert Judgment.objects.get().latest is None

    def test_as_a_plain_form_leads_to_the_task(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        labeler.post(url(assignment, "submit"), ranked(assignment, 1, 2, 3, 4))
        page = labeler.post(url(assignment, "undo"), follow=True)
        assert page.redirect_chain == [(f"/p/kindness/work/{assignment.pk}/", 302)]
        assert (
            f'name="rank-{key_of(assignment, assignment.presentation[3])}" value="4" checked' in page.content.decode()
        )

    def test_too_late_says_where_to_go(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        Assignment.objects.update(state=Assignment.State.EXPIRED)
        reply = labeler.post(url(assignment, "undo"), headers=HTMX)
        assert reply.status_code == 409
        assert "nothing to undo" in reply.content.decode()


class TestReport:
    def test_reaches_those_who_manage_and_leaves_the_task(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        fields = {"report_reason": "personal", "report_note": "a phone number <b>"}
        for _ in range(2):
            reply = labeler.post(url(assignment, "report"), fields, headers=HTMX)
        assert "Reported" in reply.content.decode()
        report = Report.objects.get()
        assert (report.reason, report.note, report.assignment) == ("personal", "a phone number <b>", assignment)
        assignment.refresh_from_db()
        assert assignment.state == "current"
        labeler.force_login(cast.reviewer)
        page = labeler.get("/p/kindness/review/").content.decode()
        assert "a phone number &lt;b&gt;" in page
        labeler.post(f"/p/kindness/review/reports/{report.pk}/resolve")
        assert "phone number" not in labeler.get("/p/kindness/review/").content.decode()

    def test_needs_a_reason(self, cast: Cast, labeler: Client) -> None:
        assignment = hold(cast)
        assert labeler.post(url(assignment, "report"), {}, headers=HTMX).status_code == 400


class TestMyWork:
    def judged(self, cast: Cast, labeler: Client, question: str, **fields: Any) -> Assignment:
        make_comparison(cast.project, question)
        assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
        assert assignment is not None
        labeler.post(url(assignment, "submit"), ranked(assignment, 2, 1, 1, "", **fields))
        return assignment

    def found(self, labeler: Client, **query: str) -> list[str]:
        return [entry.question for entry in labeler.get("/p/kindness/mine/", query).context["entries"]]

    def test_is_found_by_words_in_any_language_and_by_kind(self, cast: Cast, labeler: Client) -> None:
        self.judged(cast, labeler, "How do I boil an egg?", comment="Too close to call")
        self.judged(cast, labeler, "怎么煮鸡蛋？", all_unacceptable="1")
        third = self.judged(cast, labeler, 'What is "al dente"?')
        labeler.post(url(third, "submit"), ranked(third, 1, 2, 3, 4))
        skipped = hold(cast, count=1)
        labeler.post(url(skipped, "skip"), {"skip_reason": "broken"})
        assert len(self.found(labeler)) == 4
        assert self.found(labeler, words="EGG boil") == ["How do I boil an egg?"]
        assert self.found(labeler, words="鸡蛋") == ["怎么煮鸡蛋？"]
        assert self.found(labeler, words='"al') == ['What is "al dente"?']
        assert self.found(labeler, words="close") == ["How do I boil an egg?"]
        assert self.found(labeler, words="nothing of the sort") == []
        assert self.found(labeler, show="commented") == ["How do I boil an egg?"]
        assert self.found(labeler, show="unacceptable") == ["怎么煮鸡蛋？"]
        assert self.found(labeler, show="revised") == ['What is "al dente"?']
        assert self.found(labeler, show="skipped") == ["Question 0?"]

    def test_shows_the_order_in_the_letters_of_the_board(self, cast: Cast, labeler: Client) -> None:
        self.judged(cast, labeler, "Eggs?")
        assert "B = C &gt; A" in labeler.get("/p/kindness/mine/").content.decode()

    def test_is_ones_own_alone(self, cast: Cast, labeler: Client) -> None:
        assignment = self.judged(cast, labeler, "Eggs?")
        labeler.force_login(cast.second_labeler)
        assert self.found(labeler) == []
        assert labeler.get(f"/p/kindness/work/{assignment.pk}/").status_code == 403

    def test_a_revision_starts_from_what_was_said_and_leads_back(self, cast: Cast, labeler: Client) -> None:
        assignment = self.judged(cast, labeler, "Eggs?", comment="first thought")
        page = labeler.get(f"/p/kindness/work/{assignment.pk}/", {"back": "mine"}).content.decode()
        assert "Save the revision" in page
        assert "first thought</textarea>" in page
        assert f'name="rank-{key_of(assignment, assignment.presentation[0])}" value="2" checked' in page
        reply = labeler.post(url(assignment, "submit"), ranked(assignment, 1, 2, 3, 4, back="mine"), headers=HTMX)
        assert (reply.status_code, reply["HX-Redirect"]) == (200, "/p/kindness/mine/")
        assert latest().number == 2

    def test_what_a_reviewer_returned_waits_with_his_comment_until_it_is_revised(
        self, cast: Cast, labeler: Client
    ) -> None:
        assignment = self.judged(cast, labeler, "Eggs?")
        judgment = Judgment.objects.get()
        labeler.force_login(cast.reviewer)
        path = f"/p/kindness/review/{judgment.pk}/"
        assert labeler.post(path, {"comment": " "}).status_code == 400
        assert labeler.post(path, {"comment": "C makes things up <i>"}).status_code == 302
        assert labeler.post(path, {"comment": "again"}).status_code == 409
        labeler.force_login(cast.labeler)
        assert self.found(labeler, show="returned") == ["Eggs?"]
        for address in ("/p/kindness/mine/", f"/p/kindness/work/{assignment.pk}/"):
            assert "C makes things up &lt;i&gt;" in labeler.get(address).content.decode()
        assert "1 returned to you" in labeler.get("/p/kindness/work/").content.decode()
        labeler.post(url(assignment, "submit"), ranked(assignment, 1, 2, 3, 4))
        assert self.found(labeler, show="returned") == []
        assert JudgmentReturn.objects.count() == 1


def test_submit_with_the_next_task_costs_few_queries(
    cast: Cast, client: Client, django_assert_max_num_queries: Any
) -> None:
    """Counted with BEGIN and COMMIT: who submits, the judgment, and the task that was leased ahead."""
    for number in range(3):
        make_comparison(cast.project, f"Question {number}")
    client.force_login(cast.labeler)
    client.get(f"/p/{cast.project.slug}/work/")
    client.get(f"/p/{cast.project.slug}/work/ahead", headers={"HX-Request": "true"})
    held = queue.claim_next(labeler=cast.labeler, project=cast.project, ahead=False)
    assert held is not None
    fields = {f"rank-{key}": str(rank) for rank, key in enumerate(keys_of(held), start=1)}
    fields |= {"client_id": str(uuid.uuid4()), "seconds": "3", "comment": ""}
    with django_assert_max_num_queries(19):
        reply = client.post(f"/p/{cast.project.slug}/work/{held.pk}/submit", fields, headers={"HX-Request": "true"})
    assert reply.status_code == 200
    assert reply["X-Hone-Task"]
