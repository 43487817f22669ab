"""A new comparison that is joined from pieces is what its template would have made of it."""

import re

import pytest
from django.test import Client

from annotate.models import Project, Prompt, Rubric, User
from annotate.views.work import untouched_board
from tests.factories.cast import Cast, make_comparison

CRITERIA = [{"name": "overall", "label": "Overall", "min": 1, "max": 7, "anchors": {"1": "<Bad>", "4": "So so"}}]
TEXTS = ("*In* water.", "A & B <i>", "x = `1`\n\n- a\n- b", "煮十分钟。")
ONCE = re.compile(r'(name="(?:csrfmiddlewaretoken|client_id)" value=)"[^"]*"')


def ahead(client: Client) -> str:
    reply = client.get("/p/kindness/work/ahead", headers={"HX-Request": "true"})
    assert reply.status_code == 200
    return ONCE.sub(r'\1""', reply.content.decode())


def both_ways(client: Client, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, list[str]]:
    """(joined, rendered by the template, what was joined)."""
    joined: list[str] = []
    way = untouched_board.rendered

    def recorded(*arguments: object, **named: object) -> str:
        html = way(*arguments, **named)  # type: ignore[arg-type]
        joined.append(html)
        return html

    monkeypatch.setattr(untouched_board, "rendered", recorded)
    by_pieces = ahead(client)
    monkeypatch.setattr(untouched_board, "rendered", lambda *arguments, **named: "")
    return by_pieces, ahead(client), [html for html in joined if html]


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize(("count", "margin"), [(4, "levels"), (2, "levels"), (2, "slider")])
@pytest.mark.parametrize("criteria", [[], CRITERIA])
def test_is_the_same_to_the_letter(
    cast: Cast, client: Client, monkeypatch: pytest.MonkeyPatch, language: str, count: int, margin: str, criteria: list
) -> None:
    Project.objects.update(margin_input=margin)
    User.objects.filter(pk=cast.labeler.pk).update(language=language)
    if criteria:
        flags = [{"name": "rude", "label": "Rude", "help": 'It "is"'}]
        Rubric.objects.create(project=cast.project, version=2, criteria=criteria, flags=flags)
    for question in ("How *long*?", "Why <b>?", "Who?"):
        make_comparison(cast.project, question, TEXTS[:count])
    client.force_login(cast.labeler)
    client.get("/p/kindness/work/")
    for _ in range(2):  # made, and kept from the first
        joined, by_template, pieces = both_ways(client, monkeypatch)
        assert len(pieces) == 1
        assert joined == by_template
        monkeypatch.undo()


def test_what_a_criterion_asks_stands_once_above_all_responses(cast: Cast, client: Client) -> None:
    criteria = [{"name": "overall", "label": "Overall", "min": 1, "max": 7, "help": "As an expert would."}]
    Rubric.objects.create(project=cast.project, version=2, criteria=criteria, flags=[])
    for question in ("A?", "B?"):
        make_comparison(cast.project, question, TEXTS)
    client.force_login(cast.labeler)
    page = client.get("/p/kindness/work/").content.decode()
    assert page.count("As an expert would.") == 1
    assert page.index("As an expert would.") < page.index('class="responses"')
    assert ahead(client).count("As an expert would.") == 1


def test_a_rubric_that_was_changed_in_place_is_the_one_shown(
    cast: Cast, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    rubric = Rubric.objects.create(project=cast.project, version=2, criteria=CRITERIA, flags=[])
    for question in ("A?", "B?", "C?"):
        make_comparison(cast.project, question, TEXTS)
    client.force_login(cast.labeler)
    client.get("/p/kindness/work/")
    assert "Helpful to a beginner" not in ahead(client)
    Rubric.objects.filter(pk=rubric.pk).update(criteria=[CRITERIA[0] | {"label": "Helpful to a beginner"}])
    joined, by_template, pieces = both_ways(client, monkeypatch)
    assert len(pieces) == 1
    assert "Helpful to a beginner" in joined
    assert joined == by_template


def test_texts_that_look_like_anything_stay_themselves(
    cast: Cast, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ("{{ form }} {% csrf_token %}", "text0 key0 number csrf", "\\1 \\g<0> %s", "half \\ud83d of a pair")
    make_comparison(cast.project, "A?")
    make_comparison(cast.project, "number", texts, priority=-1)
    client.force_login(cast.labeler)
    client.get("/p/kindness/work/")
    joined, by_template, pieces = both_ways(client, monkeypatch)
    assert len(pieces) == 1
    assert joined == by_template


@pytest.mark.parametrize("uncommon", ["turns", "sensitive", "names itself", "empty"])
def test_what_is_uncommon_is_rendered_by_its_template(
    cast: Cast, client: Client, monkeypatch: pytest.MonkeyPatch, uncommon: str
) -> None:
    first = {"names itself": "I am ChatGPT, made by OpenAI.", "empty": " "}.get(uncommon, "Yes.")
    make_comparison(cast.project, "A?")
    task = make_comparison(cast.project, "B?", (first, "No."), priority=-1)
    turns = [{"role": role, "content": "Well?"} for role in ("user", "assistant", "user")]
    changes = {"turns": {"messages": turns}, "sensitive": {"sensitive": True}}.get(uncommon, {})
    if changes:
        Prompt.objects.filter(pk=task.prompt_id).update(**changes)
    client.force_login(cast.labeler)
    client.get("/p/kindness/work/")
    joined, by_template, pieces = both_ways(client, monkeypatch)
    assert pieces == []
    assert joined == by_template
