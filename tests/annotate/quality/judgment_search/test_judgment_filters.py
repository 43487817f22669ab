"""The list of judgments: filters, full-text search of texts and comments, pages by key, and odd addresses."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from annotate.data import bounded_listing, pseudonyms
from annotate.data.text_search import search_index
from annotate.labeling import queue
from annotate.models import Judgment, Project, Prompt
from annotate.quality import review
from annotate.quality.judgment_search import judgment_filters
from annotate.quality.judgment_search.judgment_filters import JudgmentFilters
from tests.annotate.quality.measures.judging import judged
from tests.factories.cast import Cast, make_comparison
from tests.harness.markup import markup

pytestmark = pytest.mark.django_db
PAGE = "/p/kindness/judgments/"


@pytest.fixture
def given(cast: Cast) -> dict[str, Judgment]:
    """Judgments that differ in what is filtered by; another project's has the words of all."""
    eggs = make_comparison(cast.project, "How long do eggs boil?", ("Ten minutes.", "An hour."))
    weather = make_comparison(cast.project, "今天天气怎么样？", ("很好。", "不好。"))
    Prompt.objects.filter(tasks=weather).update(language="zh-hans", use_case="chat")
    long_ago = timezone.now() - timedelta(days=40)
    found = {
        "eggs": judged(eggs, cast.labeler, "A > B", shown="AB", at=long_ago),
        "again": judged(eggs, cast.second_labeler, "B > A", shown="BA"),
        "weather": judged(weather, cast.labeler, "A = B", shown="AB", comment="第二个回答太短，very terse"),
    }
    other = make_comparison(cast.other_project, "eggs 天气 terse", ("minutes", "hour"))
    judged(other, cast.outsider, "A > B")
    search_index.index_due()
    return found


def names(given: dict[str, Judgment], project: Project, **address: str) -> list[str]:
    found = bounded_listing.numbers(JudgmentFilters.of(project, address))
    keys = {judgment.pk: name for name, judgment in given.items()}
    return [keys[key] for key in found.numbers]


@pytest.mark.parametrize("few", [judgment_filters.FEW, -1], ids=["few", "many"])
def test_filters_and_words_let_through_what_they_say(
    cast: Cast, given: dict[str, Judgment], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By asking an index for the few, and by looking through all: the same."""
    monkeypatch.setattr(judgment_filters, "FEW", few)
    review.send_back(judgment=given["again"], by=cast.reviewer, comment="Look again.")
    labeler = pseudonyms.labeler_name(cast.labeler, cast.project)
    month = (timezone.now() - timedelta(days=30)).date().isoformat()
    cases: list[tuple[dict[str, str], list[str]]] = [
        ({}, ["weather", "again", "eggs"]),
        ({"q": "boil"}, ["again", "eggs"]),
        ({"q": "minut"}, ["again", "eggs"]),  # the beginning of a word of a response
        ({"q": "天气"}, ["weather"]),
        ({"q": "太短"}, ["weather"]),  # of the comment
        ({"q": "TERSE 天气"}, ["weather"]),
        ({"q": "boil 天气"}, []),
        ({"q": f"#{given['eggs'].task_id}"}, ["again", "eggs"]),
        ({"labeler": labeler}, ["weather", "eggs"]),
        ({"labeler": labeler, "q": "eggs"}, ["eggs"]),
        ({"first": month}, ["weather", "again"]),
        ({"last": month}, ["eggs"]),
        ({"language": "zh-hans"}, ["weather"]),
        ({"use_case": "chat"}, ["weather"]),
        ({"comment": "yes"}, ["weather"]),
        ({"state": "returned"}, ["again"]),
        ({"state": "open"}, ["weather", "eggs"]),
        ({"by": "ai"}, []),
        ({"kind": "rate"}, []),
        ({"language": "zh\x00-hans", "q": "天\x00气"}, ["weather"]),
    ]
    for address, expected in cases:
        assert names(given, cast.project, **address) == expected, address
    queue.withdraw(assignment_id=given["weather"].assignment_id, labeler=cast.labeler, draft={})
    assert names(given, cast.project) == ["again", "eggs"]


def test_pages_go_on_behind_the_last_row(cast: Cast, given: dict[str, Judgment]) -> None:
    filters = JudgmentFilters.of(cast.project, {})
    first = bounded_listing.numbers(filters, size=2)
    assert first.numbers == [given["weather"].pk, given["again"].pk]
    second = bounded_listing.numbers(filters, before=first.before, size=2)
    assert (second.numbers, second.before) == ([given["eggs"].pk], None)


@pytest.mark.any_database
def test_researchers_see_pseudonyms_and_reviewers_names(cast: Cast, given: dict[str, Judgment], client: Client) -> None:
    client.force_login(cast.researcher)
    page = markup(client.get(PAGE))
    pseudonym = pseudonyms.labeler_name(cast.second_labeler, cast.project)
    assert pseudonym in page
    assert "second_labeler" not in page
    assert "very terse" in page
    assert "Ten minutes." in page
    assert "/review/" not in page
    client.force_login(cast.reviewer)
    page = markup(client.get(f"{PAGE}?labeler={pseudonym}"))
    assert "second_labeler" in page
    assert f"/p/kindness/review/{given['again'].pk}/" in page
    assert f"/p/kindness/review/{given['eggs'].pk}/" not in page


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("q=!!!%20%00", "There is no word in the search"),
        ("state=odd", "“odd” is no value of the filter “State”; it is left out."),
        ("labeler=1'%20OR%20'1'%3D'1", "is no value of the filter “Labeler”"),
        ("first=99999-01-01", "is no value of the filter “From (day of UTC)”"),
        ("first=2026-02-02&last=2026-01-01", "The period ends before it begins."),
        (f"q={'+'.join(f'w{n}' for n in range(40))}", "Only the first 12 words of the search are looked for."),
        ("before=%F0%9F%8D%B3&q=%22%20OR%20NEAR(*%20-a)", "No judgment passes these filters"),
    ],
)
def test_odd_addresses_get_a_sentence(cast: Cast, client: Client, query: str, sentence: str) -> None:
    client.force_login(cast.manager)
    reply = client.get(f"{PAGE}?{query}")
    assert reply.status_code == 200
    assert sentence in markup(reply)
