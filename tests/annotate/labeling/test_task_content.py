"""Demonstrations, written prompts and ratings: what is handed in, what is refused, what it becomes, and its undoing."""

from typing import Any

import pytest

from annotate.errors import Refused
from annotate.labeling import queue
from annotate.labeling.few_shot import FewShot
from annotate.models import Assignment, Demonstration, Judgment, Prompt, Task
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, hand_in, make_prompt, make_responses

pytestmark = pytest.mark.django_db

FEW_SHOT = FewShot(instruction="Name the capital.", pairs=(("France", "Paris"), ("Peru", "Lima")), query="Japan")


def claim(cast: Cast, kind: str, prompt: Prompt | None = None, **values: Any) -> Assignment:
    """Make a task of a kind and give it to the labeler."""
    edit_project(project=cast.project, by=cast.manager, task_kinds=[kind])
    task = Task.objects.create(project=cast.project, kind=kind, prompt=prompt, **values)
    for number, response in enumerate(prompt.responses.all() if prompt and kind == Task.Kind.RATE else []):
        task.task_responses.create(response=response, number=number)
    cast.project.refresh_from_db()
    assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
    assert assignment is not None
    assert assignment.task == task
    return assignment


class TestADemonstration:
    def test_is_the_labelers_own_response_to_the_prompt(self, cast: Cast) -> None:
        assignment = claim(cast, Task.Kind.DEMONSTRATE, make_prompt(cast.project))
        receipt = hand_in(assignment, {"text": "  Eight minutes,\r\nthen cold water.\n"}, seconds=40.0)
        demonstration = Demonstration.objects.get()
        assert demonstration.response.text == "  Eight minutes,\nthen cold water.\n"
        assert demonstration.response.author.user == cast.labeler
        assert demonstration.response.finish_reason == "written"
        assert demonstration.prompt == assignment.task.prompt
        assert receipt.revision.content == {"text": "  Eight minutes,\nthen cold water.\n"}
        assignment.task.refresh_from_db()
        assert assignment.task.state == Task.State.COMPLETE

    @pytest.mark.parametrize("content", [{}, {"text": " \n "}, {"text": 3}, {"text": "a\0"}, {"text": "a", "x": 1}, []])
    def test_that_says_nothing_is_refused(self, cast: Cast, content: Any) -> None:
        assignment = claim(cast, Task.Kind.DEMONSTRATE, make_prompt(cast.project))
        with pytest.raises(Refused) as refusal:
            hand_in(assignment, content)
        assert refusal.value.status == 400
        assert not Judgment.objects.exists()

    def test_has_no_order(self, cast: Cast) -> None:
        assignment = claim(cast, Task.Kind.DEMONSTRATE, make_prompt(cast.project))
        with pytest.raises(Refused, match="Only comparisons"):
            hand_in(assignment, {"text": "a"}, tiers=[[1]])

    def test_revised_is_another_response_and_the_former_is_withdrawn(self, cast: Cast) -> None:
        assignment = claim(cast, Task.Kind.DEMONSTRATE, make_prompt(cast.project))
        for text in ("First.", "Second.", "Second."):
            hand_in(assignment, {"text": text})
        stored = [(item.response.text, item.withdrawn_at is None) for item in Demonstration.objects.all()]
        assert stored == [("First.", False), ("Second.", True)]

    def test_undone_is_withdrawn(self, cast: Cast) -> None:
        assignment = claim(cast, Task.Kind.DEMONSTRATE, make_prompt(cast.project))
        hand_in(assignment, {"text": "First."})
        queue.withdraw(assignment_id=assignment.pk, labeler=cast.labeler, draft={"text": ["First."]})
        assert not Demonstration.objects.filter(withdrawn_at=None).exists()

    def test_of_a_few_shot_prompt_with_changed_pairs_responds_to_the_prompt_with_these_pairs(self, cast: Cast) -> None:
        prompt = Prompt.objects.create(
            project=cast.project, messages=FEW_SHOT.messages, kind=Prompt.Kind.FEW_SHOT, language="en"
        )
        assignment = claim(cast, Task.Kind.DEMONSTRATE, prompt)
        hand_in(assignment, {"text": "Tokyo", "pairs": [["France", "Paris"], ["Peru", "Lima"]]})
        assert Demonstration.objects.get().prompt == prompt
        hand_in(assignment, {"text": "Tokyo", "pairs": [["France", "Paris"], ["", ""], ["Chad", "N'Djamena"]]})
        changed = Demonstration.objects.get(withdrawn_at=None).prompt
        assert changed.messages == [
            {"role": "system", "content": "Name the capital."},
            {"role": "user", "content": "France"},
            {"role": "assistant", "content": "Paris"},
            {"role": "user", "content": "Chad"},
            {"role": "assistant", "content": "N'Djamena"},
            {"role": "user", "content": "Japan"},
        ]
        assert (changed.opening, changed.split, changed.kind) == (prompt, prompt.split, "few_shot")


class TestAWrittenPrompt:
    PLAIN = {"kind": "plain", "query": "Why is the sky blue?", "use_case": "open_qa", "language": "en"}

    def test_is_a_prompt_of_the_project_by_its_writer(self, cast: Cast) -> None:
        hand_in(claim(cast, Task.Kind.WRITE_PROMPT), self.PLAIN | {"sensitive": True})
        prompt = Prompt.objects.get()
        assert prompt.messages == [{"role": "user", "content": "Why is the sky blue?"}]
        assert (prompt.kind, prompt.use_case, prompt.language, prompt.sensitive) == ("plain", "open_qa", "en", True)
        assert prompt.author is not None
        assert prompt.author.user == cast.labeler

    def test_of_few_shots_is_a_chat_of_them(self, cast: Cast) -> None:
        content = {
            "kind": "few_shot",
            "instruction": "Name the capital.",
            "pairs": [["France", "Paris"], ["Peru", "Lima"]],
            "query": "Japan",
        }
        hand_in(claim(cast, Task.Kind.WRITE_PROMPT), content)
        prompt = Prompt.objects.get()
        assert FewShot.of(prompt.messages) == FEW_SHOT
        assert prompt.use_case == "other"

    def test_that_is_there_already_is_refused_with_a_reason(self, cast: Cast) -> None:
        make_prompt(cast.project, "Why is the sky blue?")
        assignment = claim(cast, Task.Kind.WRITE_PROMPT)
        with pytest.raises(Refused, match="has this very prompt already"):
            hand_in(assignment, self.PLAIN | {"query": " Why is the sky blue?\n"})

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"query": " "}, "Write the prompt first"),
            ({"kind": "poem"}, "which kind"),
            ({"use_case": "poem"}, "what the prompt is for"),
            ({"kind": "few_shot"}, "an instruction, at least one example"),
            ({"kind": "few_shot", "instruction": "Go", "pairs": [["a", ""]]}, "both its query and its response"),
            ({"kind": "few_shot", "instruction": "Go", "pairs": [["a"]]}, "a query and its response"),
            ({"kind": "few_shot", "instruction": "Go", "pairs": [["a", "b"]] * 21}, "at most 20"),
        ],
    )
    def test_that_is_incomplete_says_what_is_missing(self, cast: Cast, changes: dict[str, Any], sentence: str) -> None:
        assignment = claim(cast, Task.Kind.WRITE_PROMPT)
        with pytest.raises(Refused, match=sentence):
            hand_in(assignment, self.PLAIN | changes)
        assert not Prompt.objects.exists()

    def test_revised_takes_the_place_of_the_first_unless_somebody_relies_on_it(self, cast: Cast) -> None:
        assignment = claim(cast, Task.Kind.WRITE_PROMPT)
        hand_in(assignment, self.PLAIN)
        hand_in(assignment, self.PLAIN | {"use_case": "closed_qa"})
        assert Prompt.objects.get().use_case == "closed_qa"
        hand_in(assignment, self.PLAIN | {"query": "Why is the sea blue?"})
        second = Prompt.objects.get()
        assert second.question == "Why is the sea blue?"
        make_responses(second, "It isn't.")
        hand_in(assignment, self.PLAIN | {"query": "Why is the grass green?"})
        assert {prompt.question for prompt in Prompt.objects.all()} == {
            "Why is the sea blue?",
            "Why is the grass green?",
        }

    def test_undone_is_gone(self, cast: Cast) -> None:
        assignment = claim(cast, Task.Kind.WRITE_PROMPT)
        hand_in(assignment, self.PLAIN)
        queue.withdraw(assignment_id=assignment.pk, labeler=cast.labeler, draft={})
        assert not Prompt.objects.exists()


class TestARating:
    def rated(self, cast: Cast) -> tuple[Assignment, str]:
        criteria = [{"name": name, "label": name.title(), "min": 0, "max": 4} for name in ("help", "truth")]
        flags = [{"name": "rude", "label": "Is rude"}]
        edit_project(project=cast.project, by=cast.manager, criteria=criteria, flags=flags)
        prompt = make_prompt(cast.project)
        make_responses(prompt, "In water.")
        assignment = claim(cast, Task.Kind.RATE, prompt)
        return assignment, str(assignment.presentation[0])

    def test_is_kept_with_the_rubric_it_was_made_by(self, cast: Cast) -> None:
        assignment, key = self.rated(cast)
        receipt = hand_in(assignment, ratings={key: {"help": 4, "truth": 0}}, flags={key: ["rude"]})
        assert receipt.revision.ratings == {key: {"help": 4, "truth": 0}}
        assert receipt.revision.flags == {key: ["rude"]}
        assert receipt.revision.rubric == cast.project.rubric
        assert receipt.revision.tiers == []

    def test_names_what_is_still_to_rate(self, cast: Cast) -> None:
        assignment, key = self.rated(cast)
        with pytest.raises(Refused, match=r"Still to rate: Truth\."):
            hand_in(assignment, ratings={key: {"help": 4}})
        with pytest.raises(Refused, match="rated from 0 to 4"):
            hand_in(assignment, ratings={key: {"help": 4, "truth": 5}})
