"""Words of texts, and the index of prompts by them, on whichever database the tests run."""

import pytest
from django.db import connection

from annotate.data.text_search import search_index, search_words
from annotate.data.text_search.search_words import Term
from annotate.models import Prompt, PromptToIndex
from tests.factories.cast import Cast, make_prompt, make_responses


def found(search: str) -> list[int]:
    return sorted(search_index.prompts_with(search_words.terms(search), most=100))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The eggs, THE Eggs!", ["the", "eggs"]),
        ("Élève ﬁnds 2½", ["eleve", "finds", "21", "2"]),
        ("今天天气 good", ["今天", "天天", "天气", "气", "good"]),
        ("ラーメン", ["ラー", "ーメ", "メン", "ン"]),
        ("हिन्दी। भाषा", ["हिन्दी", "भाषा"]),
        ('\'; DROP "x" -- OR NEAR(', ["drop", "x", "or", "near"]),
        ("𠀀𠀁", ["𠀀𠀁", "𠀁"]),
    ],
)
def test_words_of_a_text(text: str, words: list[str]) -> None:
    assert search_words.words([text]) == words


def test_terms_of_a_search() -> None:
    assert search_words.terms("Boil an 鸡蛋羹 水") == [
        Term("boil", True),
        Term("an", False),
        Term("鸡蛋", False),
        Term("蛋羹", False),
        Term("水", True),
    ]
    assert search_words.terms(" ,.! ") == []


@pytest.mark.django_db
class TestTheIndex:
    def test_finds_a_prompt_by_its_words_and_its_responses(self, cast: Cast) -> None:
        eggs, weather = make_prompt(cast.project), make_prompt(cast.project, "今天天气怎么样？")
        make_responses(eggs, "In boiling water.")
        assert found("egg") == []
        assert search_index.is_behind()
        assert search_index.index_due() == 2
        assert not search_index.is_behind()
        assert found("EGG") == [eggs.pk]
        assert found("egg wat") == [eggs.pk]
        assert found("天气") == found("气") == found("天天气") == [weather.pk]
        assert found("egg 天气") == []
        assert found("gg") == []

    def test_finds_responses_that_came_later_and_forgets_removed_prompts(self, cast: Cast) -> None:
        prompt = make_prompt(cast.project)
        search_index.index_due()
        make_responses(prompt, "Ask a hen.")
        assert found("hen") == []
        search_index.index_due()
        assert found("hen egg") == found("boil") == [prompt.pk]
        spare = make_prompt(cast.project, "Spare words?")
        search_index.index_due()
        assert found("spare") == [spare.pk]
        Prompt.objects.filter(pk=spare.pk).delete()
        search_index.index_due()
        assert found("spare") == []

    def test_stops_when_its_time_is_over_and_goes_on(self, cast: Cast) -> None:
        for number in range(30):
            make_prompt(cast.project, f"Question {number}?")
        first = search_index.index_due(seconds=0)
        assert 0 < first < 30
        assert first + search_index.index_due() == 30
        assert len(found("question")) == 30

    def test_takes_hostile_searches(self, cast: Cast) -> None:
        prompt = make_prompt(cast.project)
        search_index.index_due()
        for search in ("'", '"', "egg*", "a:b", "(", "NEAR(egg boil)", "\\", "%s", "🥚", "egg' & 'x", "\u0000"):
            if search_words.terms(search):
                assert set(found(search)) <= {prompt.pk}


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="SQLite alone makes a table anew when it is altered")
def test_triggers_come_back_as_the_migration_made_them(cast: Cast) -> None:
    def triggers() -> dict[str, str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            return dict(cursor.fetchall())

    PromptToIndex.objects.all().delete()
    made = triggers()
    assert set(made) == set(search_index.TRIGGERS)
    with connection.cursor() as cursor:
        for name in made:
            cursor.execute(f"DROP TRIGGER {name}")
    try:
        make_prompt(cast.project)
        assert not PromptToIndex.objects.exists()
    finally:
        search_index.ensure_triggers()
    assert triggers() == made
    make_prompt(cast.project, "Another?")
    assert PromptToIndex.objects.count() == 1
