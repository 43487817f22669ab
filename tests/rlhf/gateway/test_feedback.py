"""What users say of responses: judgments beside those of labelers, which count where the project says so."""

from typing import Any

import pytest

from annotate.data import snapshots
from annotate.errors import Refused
from annotate.models import (
    Assignment,
    Demonstration,
    GatewayCompletion,
    GatewaySettings,
    Judgment,
    JudgmentRevision,
    Task,
)
from annotate.quality import project_figures
from rlhf.loop.rounds import new_data
from tests.factories.cast import Cast
from tests.rlhf.gateway.conftest import Program, said
from tests.rlhf.gateway.test_kept_conversations import user


@pytest.fixture
def completion(program: Program) -> GatewayCompletion:
    reply = program.ask([user("How?")], n=3, store=True).json()
    return GatewayCompletion.objects.get(key=reply["id"])


def test_a_thumb_is_a_rating(cast: Cast, program: Program, completion: GatewayCompletion) -> None:
    sent = {"id": completion.key, "choice": 1, "rating": "down", "comment": "mail ann@example.org"}
    first = program.send("/v1/feedback", sent)
    assert first.json() == {"id": completion.key, "object": "feedback", "kind": "rating", "repeated": False}
    assert program.send("/v1/feedback", sent).json()["repeated"]
    judgment = Judgment.objects.get()
    latest = judgment.latest
    assert (judgment.completion, judgment.task.kind, judgment.surplus) == (completion, "rate", True)
    assert (latest.source, latest.content, latest.comment) == ("user", {"thumb": "down"}, "mail [EMAIL]")
    assert latest.flags == {str(completion.responses[1]): ["unacceptable"]}
    assert list(judgment.task.responses.values_list("pk", flat=True)) == [completion.responses[1]]
    # Changed one's mind, and back again: each is a revision.
    for rating, number in (("up", 2), ("down", 3)):
        assert not program.send("/v1/feedback", {**sent, "rating": rating}).json()["repeated"]
        judgment.refresh_from_db()
        assert (judgment.latest.number, judgment.latest.content) == (number, {"thumb": rating})
    assert Judgment.objects.count() == 1
    program.send("/v1/feedback", {"id": completion.key, "rating": "up"})
    assert Judgment.objects.count() == 2


def test_a_choice_is_a_comparison(program: Program, completion: GatewayCompletion) -> None:
    assert program.send("/v1/feedback", {"id": completion.key, "chosen": 2}).status_code == 200
    first, second, third = completion.responses
    latest = Judgment.objects.get().latest
    assert latest.tiers == [[third], [first, second]]
    program.send("/v1/feedback", {"id": completion.key, "chosen": 0})
    assert Judgment.objects.get().latest.tiers == [[first], [second, third]]


def test_an_edit_is_a_demonstration_that_began_as_the_response(program: Program, completion: GatewayCompletion) -> None:
    sent = {"id": completion.key, "choice": 1, "edit": "Like this, ann@example.org."}
    for repeated in (False, True):
        assert program.send("/v1/feedback", sent).json()["repeated"] is repeated
    demonstration = Demonstration.objects.get()
    assert demonstration.response.text == "Like this, [EMAIL]."
    assert demonstration.response.edited_from_id == completion.responses[1]
    assert demonstration.response.author.kind == "person"
    assert demonstration.prompt == completion.prompt
    program.send("/v1/feedback", {**sent, "edit": "No, like that."})
    (active,) = Demonstration.objects.filter(withdrawn_at=None)
    assert active.response.text == "No, like that."


class TestNobodysWork:
    @pytest.fixture(autouse=True)
    def feedback(self, program: Program, completion: GatewayCompletion) -> None:
        for values in ({"rating": "up"}, {"chosen": 1}, {"edit": "Better."}):
            assert program.send("/v1/feedback", {"id": completion.key, **values}).status_code == 200

    def test_it_is_in_no_figure_of_labelers_and_in_nobodys_queue(self, cast: Cast) -> None:
        assert Judgment.objects.count() == 3
        assert not Judgment.objects.filter(Judgment.WORK).exists()
        assert Judgment.objects.filter(Judgment.BY_USERS).count() == 3
        figures = project_figures.of(cast.project)
        assert figures is not None
        assert (figures.judgments, figures.wanted) == (0, 0)
        assert not Task.objects.filter(state=Task.State.OPEN).exists()
        assert not Assignment.objects.filter(state__in=Assignment.HELD).exists()

    def test_it_counts_where_the_project_says_so(self, cast: Cast, completion: GatewayCompletion) -> None:
        def rows(kind: str, **filters: Any) -> int:
            try:
                return snapshots.freeze(project=cast.project, kind=kind, filters=filters).rows
            except Refused:  # there are none
                return 0

        assert [rows(kind) for kind in ("rankings", "ratings", "demonstrations")] == [0, 0, 0]
        prompt = completion.prompt
        type(prompt).objects.filter(pk=prompt.pk).update(split="train")
        assert new_data.new_demonstrations(cast.project) == 0
        GatewaySettings.objects.update(counts_feedback=True)
        # The choice, and the edit above what it began as.
        assert [rows(kind) for kind in ("rankings", "ratings", "demonstrations")] == [2, 1, 1]
        assert new_data.new_demonstrations(cast.project) == 1
        assert rows("rankings", sources=["human", "ai"]) == 0
        assert rows("rankings", sources=["user"]) == 2

    def test_exports_say_whose_it_is(self, cast: Cast) -> None:
        GatewaySettings.objects.update(counts_feedback=True)
        snapshot = snapshots.freeze(project=cast.project, kind="rankings")
        found = [row for name in snapshot.files if name.endswith(".jsonl") for row in read(snapshot, name)]
        assert [row["judge"] for row in found] == ["user", "user"]
        assert [[one["rank"] for one in row["responses"]] for row in found] == [[2, 1, 2], [1, 2]]


def read(snapshot: Any, name: str) -> list[dict[str, Any]]:
    import json

    path = snapshots.path_of(snapshot, name)
    assert path is not None
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("values", "status", "sentence"),
    [
        ({}, 400, "one of “rating”, “chosen” and “edit”"),
        ({"rating": "up", "chosen": 1}, 400, "one of"),
        ({"rating": "sideways"}, 400, "“up” or “down”"),
        ({"rating": 1}, 400, "“up” or “down”"),
        ({"rating": ["up"]}, 400, "“up” or “down”"),
        ({"rating": "up", "choice": 3}, 404, "Choice 3"),
        ({"rating": "up", "choice": -1}, 404, "Choice -1"),
        ({"rating": "up", "choice": "0"}, 400, "number of a choice"),
        ({"rating": "up", "choice": True}, 400, "number of a choice"),
        ({"chosen": 10**30}, 404, "was not kept"),
        ({"edit": ""}, 400, "empty, or the same"),
        ({"edit": "You  said: How? (0)"}, 400, "empty, or the same"),
        ({"edit": 7}, 400, "must be text"),
        ({"edit": "x" * 100_001}, 400, "longer than"),
        ({"rating": "up", "comment": 7}, 400, "“comment” must be a text"),
        ({"rating": "up", "comment": "x" * 20_001}, 400, "“comment” must be a text"),
        ({"rating": "up", "stars": 5}, 400, "no field “stars”"),
        ({"rating": "up", "id": "chatcmpl-0"}, 404, "No completion of this id"),
        ({"rating": "up", "id": None}, 400, "“id” is missing"),
        ({"rating": "up", "id": {}}, 400, "“id” is missing"),
        ({"rating": "up", "id": "x" * 10_000}, 404, "No completion of this id"),
    ],
)
def test_odd_feedback(
    program: Program, completion: GatewayCompletion, values: dict[str, Any], status: int, sentence: str
) -> None:
    found, message = said(program.send("/v1/feedback", {"id": completion.key, **values}))
    assert (found, sentence in message) == (status, True), message
    assert not JudgmentRevision.objects.exists()


def test_one_response_is_no_choice(program: Program) -> None:
    key = program.ask(store=True).json()["id"]
    assert "no two different responses" in said(program.send("/v1/feedback", {"id": key, "chosen": 0}))[1]
    assert said(program.send("/v1/feedback", []))[0] == 400


def test_of_another_project_there_is_no_completion(
    cast: Cast, program: Program, completion: GatewayCompletion, gateway: GatewaySettings
) -> None:
    GatewayCompletion.objects.update(project=cast.other_project)
    status, _message = said(program.send("/v1/feedback", {"id": completion.key, "rating": "up"}))
    assert status == 404
