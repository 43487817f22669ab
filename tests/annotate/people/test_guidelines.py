"""Changes of the guidelines since a labeler last worked: lines, words, and notices."""

import time
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from annotate.labeling import queue
from annotate.models import Assignment, Guidelines
from annotate.people import guidelines
from annotate.people.guidelines import DiffHunk, Line
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, judge, make_comparison


def same(text: str) -> Line:
    return Line("same", (DiffHunk("same", text),))


def test_a_word_put_in_is_found_within_its_line() -> None:
    assert guidelines.compared("Be kind.\nBe short.", "Be kind.\nBe very short.") == [
        same("Be kind."),
        Line("rewritten", (DiffHunk("same", "Be "), DiffHunk("added", "very "), DiffHunk("same", "short."))),
    ]


def test_lines_that_share_little_are_one_gone_and_one_come() -> None:
    assert guidelines.compared("Never lie.", "Prefer examples to rules!") == [
        Line("removed", (DiffHunk("removed", "Never lie."),)),
        Line("added", (DiffHunk("added", "Prefer examples to rules!"),)),
    ]


def test_thousands_of_words_in_one_line_are_compared_within_a_second() -> None:
    words = [f"word{number}" for number in range(8_000)]
    start = time.thread_time()
    moved = guidelines.compared(" ".join(words), " ".join(reversed(words)))
    added = guidelines.compared(" ".join(words), " ".join([*words[:4_000], "more", *words[4_000:]]))
    assert time.thread_time() - start < 1
    assert [line.change for line in moved] == ["removed", "added"]
    assert [(hunk.change, len(hunk.text.split())) for line in added for hunk in line.hunks] == [
        ("same", 4_000),
        ("added", 1),
        ("same", 4_000),
    ]


def test_every_line_of_long_guidelines_is_compared() -> None:
    old = [f"Rule {number}." for number in range(10_000)]
    assert guidelines.compared("\n".join(old), "\n".join([*old[:-1], "Rule nine."]))[-2:] == [
        same("Rule 9998."),
        Line(
            "rewritten",
            (DiffHunk("same", "Rule "), DiffHunk("removed", "9999"), DiffHunk("added", "nine"), DiffHunk("same", ".")),
        ),
    ]


def test_far_unchanged_lines_become_one_gap() -> None:
    old = [f"Rule {number}." for number in range(9)]
    lines = guidelines.compared("\n".join(old), "\n".join([*old, "Rule 9."]))
    assert lines == [Line("gap"), same("Rule 8."), Line("added", (DiffHunk("added", "Rule 9."),))]


@pytest.mark.django_db
class TestSinceOneLastWorked:
    def work(self, cast: Cast, question: str = "One?") -> None:
        make_comparison(cast.project, question)
        assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
        assert assignment is not None
        judge(assignment, [[key] for key in assignment.presentation])

    def test_nothing_for_somebody_who_has_not_begun(self, cast: Cast) -> None:
        edit_project(project=cast.project, by=cast.manager, guidelines="Rank by warmth.")
        assert guidelines.changes_since_last_work(labeler=cast.labeler, project=cast.project) is None

    def test_nothing_while_they_are_as_they_were(self, cast: Cast) -> None:
        self.work(cast)
        assert guidelines.changes_since_last_work(labeler=cast.labeler, project=cast.project) is None

    def test_the_version_of_then_against_the_newest_of_several(self, cast: Cast) -> None:
        self.work(cast)
        for text in ("Rank by warmth.", "Rank by **kindness** and warmth."):
            edit_project(project=cast.project, by=cast.manager, guidelines=text)
        changes = guidelines.changes_since_last_work(labeler=cast.labeler, project=cast.project)
        assert changes is not None
        assert (changes.before.version, changes.after.version) == (1, 3)
        assert changes.lines == (
            Line(
                "rewritten",
                (DiffHunk("same", "Rank by **kindness**"), DiffHunk("added", " and warmth"), DiffHunk("same", ".")),
            ),
        )
        self.work(cast, "Two?")
        assert guidelines.changes_since_last_work(labeler=cast.labeler, project=cast.project) is None

    def test_a_lease_that_ran_out_is_no_work(self, cast: Cast) -> None:
        make_comparison(cast.project)
        assert queue.claim_next(labeler=cast.labeler, project=cast.project)
        Assignment.objects.update(lease_until=timezone.now() - timedelta(days=1))
        queue.release_expired()
        edit_project(project=cast.project, by=cast.manager, guidelines="Rank by warmth.")
        assert guidelines.changes_since_last_work(labeler=cast.labeler, project=cast.project) is None

    def test_a_change_taken_back_is_none(self, cast: Cast) -> None:
        first = cast.project.guidelines
        assert first is not None
        back = Guidelines.objects.create(project=cast.project, version=2, text=first.text)
        assert guidelines.between(first, back) is None


def test_lines_that_their_author_wrapped_are_one_on_the_page(cast: Cast, client: Client) -> None:
    edit_project(project=cast.project, by=cast.manager, guidelines="Rank by\nkindness.\n\nThen by\nlength.")
    make_comparison(cast.project)
    client.force_login(cast.labeler)
    for page in ("guidelines", "work"):
        shown = client.get(f"/p/kindness/{page}/").content.decode()
        assert '<p dir="auto">Rank by kindness.</p>\n<p dir="auto">Then by length.</p>' in shown
