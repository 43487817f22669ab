"""A chat turn by turn: say, choose, write, take back; and what a finished one becomes."""

import pytest

from annotate.data.snapshots import freeze
from annotate.errors import NotYours, Refused, UnknownResponse
from annotate.labeling import queue
from annotate.labeling.chats import live_responses, turns
from annotate.models import Assignment, Demonstration, Judgment, Prompt, Response, ResponseRequest, Task
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, hand_in, make_prompt, make_responses

pytestmark = pytest.mark.django_db
OPENING = "How do I boil an egg?"


@pytest.fixture
def assignment(cast: Cast) -> Assignment:
    edit_project(project=cast.project, by=cast.manager, task_kinds=["chat"])
    cast.project.refresh_from_db()
    Task.objects.create(project=cast.project, kind=Task.Kind.CHAT, prompt=make_prompt(cast.project, OPENING))
    claimed = queue.claim_next(labeler=cast.labeler, project=cast.project)
    assert claimed is not None
    return claimed


def action(assignment: Assignment) -> dict[str, object]:
    return {"assignment_id": assignment.pk, "labeler": assignment.labeler}


def responses_of(assignment: Assignment, *texts: str, after: int = 0) -> list[Response]:
    """Live responses as a model gives them; in the order in which this labeler sees them."""
    chat = turns.ask(**action(assignment), after=after)
    request = chat.request
    assert request is not None
    request.responses.set(make_responses(request.prompt, *texts))
    ResponseRequest.objects.filter(pk=request.pk).update(state=ResponseRequest.State.FULFILLED)
    return turns.Chat.of(assignment).candidates


class TestTurns:
    def test_alternate_and_are_the_chat(self, assignment: Assignment) -> None:
        turns.write(**action(assignment), written=" Eight minutes. ", after=0)
        chat = turns.say(**action(assignment), written="And soft?", after=1)
        assert chat.awaits_response
        assert [message["content"] for message in chat.messages] == [OPENING, " Eight minutes. ", "And soft?"]
        with pytest.raises(Refused, match="assistant's turn"):
            turns.say(**action(assignment), written="Hello?", after=2)
        turns.write(**action(assignment), written="Five.", after=2)
        with pytest.raises(Refused, match="a response to this already"):
            turns.write(**action(assignment), written="Six.", after=3)

    def test_said_twice_by_a_double_click_are_said_once(self, assignment: Assignment) -> None:
        for _ in range(2):
            turns.write(**action(assignment), written="Eight minutes.", after=0)
        for _ in range(2):
            turns.say(**action(assignment), written="And soft?", after=1)
        assert assignment.chat_turns.count() == 2

    def test_of_a_page_that_is_behind_are_refused(self, assignment: Assignment) -> None:
        turns.write(**action(assignment), written="Eight minutes.", after=0)
        with pytest.raises(Refused, match="went on in another window"):
            turns.write(**action(assignment), written="Nine minutes.", after=0)

    def test_are_taken_back_one_by_one(self, assignment: Assignment) -> None:
        turns.write(**action(assignment), written="Eight minutes.", after=0)
        turns.say(**action(assignment), written="And soft?", after=1)
        for after in (2, 2, 1):  # the second is a double click
            turns.take_back(**action(assignment), after=after)
        assert not assignment.chat_turns.exists()
        with pytest.raises(Refused, match="no turn to take back"):
            turns.take_back(**action(assignment), after=0)

    def test_need_words(self, assignment: Assignment) -> None:
        with pytest.raises(Refused, match="nothing written"):
            turns.write(**action(assignment), written=" \n", after=0)

    def test_of_somebody_else_are_his(self, cast: Cast, assignment: Assignment) -> None:
        with pytest.raises(NotYours):
            turns.write(assignment_id=assignment.pk, labeler=cast.second_labeler, written="Mine.", after=0)

    def test_clear_what_was_in_the_box_and_renew_the_lease(self, assignment: Assignment) -> None:
        queue.save_draft(**action(assignment), draft={"text": ["Eight"]}, page="p", version=1)
        before = Assignment.objects.get(pk=assignment.pk).lease_until
        turns.write(**action(assignment), written="Eight minutes.", after=0)
        assignment.refresh_from_db()
        assert assignment.draft is None
        assert assignment.lease_until > before


class TestLiveResponses:
    def test_are_asked_for_once_as_many_as_the_project_compares(self, cast: Cast, assignment: Assignment) -> None:
        for _ in range(2):
            turns.ask(**action(assignment), after=0)
        request = ResponseRequest.objects.get()
        assert (request.responses_wanted, request.purpose, request.requested_by) == (4, "chat", cast.labeler)
        assert request.prompt == assignment.task.prompt

    def test_to_a_later_turn_belong_to_a_prompt_on_the_openings_side(self, cast: Cast, assignment: Assignment) -> None:
        turns.write(**action(assignment), written="Eight minutes.", after=0)
        turns.say(**action(assignment), written="And soft?", after=1)
        turns.ask(**action(assignment), after=2)
        prompt = ResponseRequest.objects.get().prompt
        opening = assignment.task.prompt
        assert opening is not None
        assert [message["content"] for message in prompt.messages] == [OPENING, "Eight minutes.", "And soft?"]
        assert (prompt.opening, prompt.split) == (opening, opening.split)

    def test_come_without_doubles_in_an_order_of_the_labelers_own_that_stays(self, assignment: Assignment) -> None:
        candidates = responses_of(assignment, "A", "B", " A ", "C", "")
        assert sorted(candidate.text for candidate in candidates) == ["A", "B", "C"]
        assert turns.Chat.of(assignment).candidates == candidates

    def test_that_failed_can_be_asked_for_again_and_others_in_the_place_of_good_ones(
        self, assignment: Assignment
    ) -> None:
        turns.ask(**action(assignment), after=0)
        ResponseRequest.objects.update(state=ResponseRequest.State.FAILED)
        responses_of(assignment, "A", "B")
        first = ResponseRequest.objects.latest("pk")
        for _ in range(2):
            turns.ask(**action(assignment), after=0, instead_of=first.pk)
        assert ResponseRequest.objects.count() == 3

    def test_that_another_labeler_waits_for_are_waited_for_together(self, cast: Cast, assignment: Assignment) -> None:
        task = Task.objects.create(project=cast.project, kind=Task.Kind.CHAT, prompt=assignment.task.prompt)
        other = queue.claim_next(labeler=cast.second_labeler, project=cast.project)
        assert other is not None
        assert other.task == task
        assert turns.ask(**action(assignment), after=0).request == turns.ask(**action(other), after=0).request

    def test_without_machines_are_said_not_to_come(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(live_responses, "_status_sources", [])
        response_status = live_responses.response_status(cast.project)
        assert not response_status.is_available
        assert "Write the response yourself" in response_status.message

    def test_are_chosen_only_among_what_was_offered(self, assignment: Assignment) -> None:
        responses_of(assignment, "A", "B")
        stranger = make_responses(assignment.task.prompt, "C")[0]
        with pytest.raises(UnknownResponse):
            turns.pick(**action(assignment), response_id=stranger.pk, after=0)
        with pytest.raises(UnknownResponse):
            turns.write(**action(assignment), written="C!", after=0, edited_from=stranger.pk)


class TestAFinishedChat:
    def chat(self, assignment: Assignment) -> list[Response]:
        """Choose among three, ask on, and write the second response from one of two."""
        first = responses_of(assignment, "Eight minutes.", "Ask a hen.", "No idea.")
        turns.pick(**action(assignment), response_id=first[1].pk, after=0)
        turns.say(**action(assignment), written="And soft?", after=1)
        second = responses_of(assignment, "Five.", "Four.", after=2)
        turns.write(**action(assignment), written="Five minutes.", after=2, edited_from=second[0].pk)
        return [*first, *second]

    def test_is_a_demonstration_of_each_response_and_a_comparison_of_each_choice(
        self, cast: Cast, assignment: Assignment
    ) -> None:
        a, chosen, c, original, _ = self.chat(assignment)
        receipt = hand_in(assignment)
        assert [turn["role"] for turn in receipt.revision.content["turns"]] == ["assistant", "user", "assistant"]

        first, last = Demonstration.objects.order_by("pk")
        assert (first.prompt, first.response) == (assignment.task.prompt, chosen)
        assert [message["content"] for message in last.prompt.messages] == [OPENING, chosen.text, "And soft?"]
        assert last.response.text == "Five minutes."
        assert last.response.edited_from == original
        assert last.response.author.user == cast.labeler

        comparison = Judgment.objects.get(task__kind=Task.Kind.COMPARE)
        assert comparison.latest is not None
        assert comparison.latest.tiers == [[chosen.pk], [a.pk, c.pk]]
        assert comparison.assignment.presentation == [a.pk, chosen.pk, c.pk]
        assert (comparison.task.state, comparison.task.judgments_given) == ("complete", 1)

    def test_has_to_end_with_a_response(self, assignment: Assignment) -> None:
        with pytest.raises(Refused, match="Choose or write a response first"):
            hand_in(assignment)
        turns.write(**action(assignment), written="Eight.", after=0)
        turns.say(**action(assignment), written="And soft?", after=1)
        with pytest.raises(Refused, match="ends with a response"):
            hand_in(assignment)

    def test_undone_takes_everything_back_and_keeps_the_turns(self, cast: Cast, assignment: Assignment) -> None:
        self.chat(assignment)
        hand_in(assignment)
        queue.withdraw(assignment_id=assignment.pk, labeler=cast.labeler, draft={})
        assert not Demonstration.objects.filter(withdrawn_at=None).exists()
        assert not Judgment.objects.filter(latest__isnull=False).exists()
        assert assignment.chat_turns.count() == 3
        hand_in(assignment)
        assert Demonstration.objects.filter(withdrawn_at=None).count() == 2
        comparison = Judgment.objects.get(task__kind=Task.Kind.COMPARE)
        assert comparison.latest is not None
        assert len(comparison.latest.tiers) == 2
        assert comparison.task.state == "complete"

    def test_changed_afterwards_counts_as_it_is_then(self, assignment: Assignment) -> None:
        self.chat(assignment)
        hand_in(assignment)
        turns.take_back(**action(assignment), after=3)
        turns.write(**action(assignment), written="Six minutes.", after=2)
        hand_in(assignment)
        kept = Demonstration.objects.filter(withdrawn_at=None)
        assert {item.response.text for item in kept} >= {"Six minutes."}
        assert "Five minutes." not in {item.response.text for item in kept}
        assert Judgment.objects.filter(task__kind=Task.Kind.COMPARE).count() == 1

    def test_reaches_the_files_that_models_learn_from(self, cast: Cast, assignment: Assignment) -> None:
        Prompt.objects.update(split="train")
        self.chat(assignment)
        hand_in(assignment)
        demonstrations = freeze(project=cast.project, kind="demonstrations")
        rankings = freeze(project=cast.project, kind="rankings")
        assert demonstrations.rows == 2
        # The choice, and the response that was bettered.
        assert rankings.rows == 2
