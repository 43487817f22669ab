"""Answers that say which model wrote them: found, flagged on the page, and masked where the project wishes it."""

import pytest
from django.test import Client

from annotate.models import Project
from annotate.unblinding import MASK, mask_names, names_itself
from tests.cast import Cast, make_comparison


@pytest.mark.parametrize(
    "text",
    [
        "As an AI language model trained by OpenAI, I can't.",
        "I am ChatGPT.",
        "我是通义千问。",
        "I'm Claude, made by Anthropic.",
    ],
)
def test_an_answer_that_speaks_of_itself_is_found_and_masked(text: str) -> None:
    assert names_itself(text)
    masked = mask_names(text)
    assert MASK in masked
    assert not any(name in masked for name in ("OpenAI", "ChatGPT", "通义千问", "Claude"))


@pytest.mark.parametrize(
    "text", ["OpenAI was founded in 2015.", "Claude Monet painted ponds.", "A falcon dives.", "Apple pie needs apples."]
)
def test_an_answer_about_others_gives_nothing_away(text: str) -> None:
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
