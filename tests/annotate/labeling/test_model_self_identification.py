"""Responses that say which model wrote them: found, flagged on the page, and masked where the project wishes it."""

import unicodedata

import pytest
from django.test import Client

from annotate.data import text
from annotate.errors import Refused
from annotate.labeling import queue
from annotate.labeling.model_self_identification import MASK, mask_names, names_itself
from annotate.models import Demonstration, JudgmentRevision, Project
from tests.factories.cast import Cast, judge, make_comparison


@pytest.mark.parametrize(
    "text",
    [
        "As an AI language model trained by OpenAI, I can't.",
        "I am ChatGPT.",
        "我是通义千问。",
        "I'm Claude, made by Anthropic.",
    ],
)
def test_a_response_that_speaks_of_itself_is_found_and_masked(text: str) -> None:
    assert names_itself(text)
    masked = mask_names(text)
    assert MASK in masked
    assert not any(name in masked for name in ("OpenAI", "ChatGPT", "通义千问", "Claude"))


@pytest.mark.parametrize(
    "text", ["OpenAI was founded in 2015.", "Claude Monet painted ponds.", "A falcon dives.", "Apple pie needs apples."]
)
def test_a_response_about_others_gives_nothing_away(text: str) -> None:
    assert not names_itself(text)
    assert mask_names(text) == text


@pytest.mark.django_db
def test_the_board_flags_it_and_shows_the_name_only_where_the_project_lets_it(cast: Cast, client: Client) -> None:
    make_comparison(cast.project, texts=("I am ChatGPT.", "In water."))
    client.force_login(cast.labeler)
    page = client.get("/p/kindness/work/").content.decode()
    assert page.count("Names its model") == 1
    assert "ChatGPT" in page
    Project.objects.filter(pk=cast.project.pk).update(mask_model_names=True)
    page = client.get("/p/kindness/work/").content.decode()
    assert page.count("Names its model") == 1
    assert "ChatGPT" not in page


MASKED = ("I am ChatGPT, made by OpenAI.\n\nBoil it for\nsix minutes.", "In water.")


@pytest.fixture
def board(cast: Cast):
    """A comparison of a project that hides names, in a labeler's hands, and its self-naming response."""
    Project.objects.filter(pk=cast.project.pk).update(mask_model_names=True)
    task = make_comparison(cast.project, texts=MASKED)
    assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
    return assignment, task.responses.get(text=MASKED[0])


def improve(board, written: str):
    assignment, response = board
    tiers = [[key] for key in assignment.presentation]
    return judge(assignment, tiers, content={"improved": {"response": response.pk, "text": written}})


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        lambda shown: shown,
        lambda shown: shown.replace("\n", "\r\n"),
        lambda shown: f"  {shown.replace(' ', '  ')}\n\n",
        lambda shown: shown.replace("\n\n", "\n"),
        lambda shown: unicodedata.normalize("NFD", shown),
    ],
)
def test_a_masked_response_that_was_opened_and_left_as_it_was_is_no_edit(board, change) -> None:
    improve(board, change(mask_names(board[1].text)))
    assert not Demonstration.objects.exists()
    assert JudgmentRevision.objects.get().content == {}


@pytest.mark.django_db
def test_an_edit_of_a_masked_response_has_its_names_again(board) -> None:
    improve(board, mask_names(MASKED[0]).replace("six", "ten"))
    assert Demonstration.objects.get().response.text == MASKED[0].replace("six", "ten")


@pytest.mark.django_db
def test_an_edit_that_loses_one_of_two_hidden_names_is_refused(board) -> None:
    with pytest.raises(Refused, match="stands for a hidden name"):
        improve(board, mask_names(MASKED[0]).replace(MASK, "a model", 1))
    improve(board, mask_names(MASKED[0]).replace(MASK, "a model"))
    assert Demonstration.objects.get().response.text.startswith("I am a model, made by a model.")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("caf\u00e9", "cafe\u0301", True),
        ("a\r\nb", "a\n\n b ", True),
        ("x = 1", "x = 2", False),
        ("```\nif x:\n    y()\n```", "```\nif x:\ny()\n```", False),
        ("```\nif x:\n    y()  \n```", "```\nif x:\n    y()\n```\n", True),
        ("\u2460", "1", False),
    ],
)
def test_texts_are_the_same_in_substance(one: str, other: str, same: bool) -> None:
    assert text.same_in_substance(one, other) is same
