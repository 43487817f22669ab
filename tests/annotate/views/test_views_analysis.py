"""The analysis page: figures by hand, filters in the address, tables as CSV."""

import csv
import io
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from annotate.models import Author, MeasuresState, Prompt, Response
from annotate.quality import measures
from annotate.quality.preference_analysis import counted_authors
from tests.annotate.quality.measures.judging import judged, stored_sums
from tests.factories.cast import Cast, make_comparison, response_ids
from tests.harness.markup import markup

PAGE = "/p/kindness/analysis/"


@pytest.fixture
def manager(cast: Cast, client: Client) -> Client:
    """Three comparisons of two models; of one of them, forty days ago, two labelers say different things."""
    for number, (days, orders) in enumerate(
        [(0, ("A > B", "A > B")), (0, ("B > A", "B > A")), (40, ("A > B", "B > A"))]
    ):
        task = make_comparison(cast.project, f"Question {number}?", ("One.", "Two, and that is longer."))
        Prompt.objects.filter(tasks=task).update(use_case=["chat", "open_qa", "chat"][number])
        first, second = response_ids(task)
        for key, name in ((first, "small"), (second, "large")):
            author, _made = Author.objects.get_or_create(kind="model", name=name)
            Response.with_unfinished.filter(pk=key).update(author=author)
        at = timezone.now() - timedelta(days=days)
        for labeler, order in zip((cast.labeler, cast.second_labeler), orders, strict=True):
            judged(task, labeler, order, at=at, shown="AB")
    measures.fold_due()
    client.force_login(cast.manager)
    return client


def table(client: Client, query: str) -> dict[str, dict[str, str]]:
    """{name: row} of a CSV file."""
    reply = client.get(f"{PAGE}{query}")
    assert reply["Content-Type"] == "text/csv; charset=utf-8"
    rows = csv.DictReader(io.StringIO(reply.content.decode("utf-8-sig")))
    return {next(iter(row.values())): row for row in rows}


def numbers(row: dict[str, str], *names: str) -> list[float]:
    return [float(row[name]) for name in names]


def test_win_rates_are_those_of_the_judgments(manager: Client) -> None:
    small, large = (str(Author.objects.get(name=name).pk) for name in ("small", "large"))
    authors = table(manager, "?csv=authors")
    assert authors[small]["label"] == "small"
    # 3 of 6 in all; of each model one task is won twice, one lost twice, one drawn.
    assert numbers(authors[small], "rate", "pairs", "tasks") == [0.5, 6, 3]
    assert numbers(table(manager, "?csv=authors&use_case=chat")[large], "rate", "pairs", "tasks") == [0.25, 4, 2]
    assert numbers(table(manager, f"?csv=use_cases&author={small}")["open_qa"], "rate", "pairs", "tied") == [0, 2, 0]
    assert numbers(table(manager, "?csv=places")["1"], "rate", "pairs") == [0.5, 6]
    assert numbers(table(manager, "?csv=longer")["5"], "rate", "pairs") == [0.5, 6]
    assert numbers(table(manager, "?csv=languages")["en"], "tied", "all_pairs") == [0, 6]


def test_the_page_says_what_noise_allows_and_links_to_itself(manager: Client) -> None:
    page = markup(manager.get(PAGE))
    assert "Two labelers order a pair differently 33.3% of the time." in page
    assert "more often than 78.9%" in page
    assert numbers(table(manager, "?csv=noise")["best_accuracy_at_most"], "value", "pairs") == [
        pytest.approx(0.788675, abs=1e-5),
        3,
    ]
    today = timezone.now().date().isoformat()
    author = Author.objects.get(name="small").pk
    page = markup(manager.get(f"{PAGE}?days=7&use_case=chat&author={author}"))
    first = (timezone.now().date() - timedelta(days=6)).isoformat()
    assert f"?first={first}&amp;last={today}&amp;use_case=chat&amp;author={author}#authors" in page
    assert "Win rate of small" in page
    assert 'href="/p/kindness/analysis/reward/"' in page
    assert 'href="/p/kindness/leaderboard/"' in page


def test_an_empty_period_a_wrong_one_and_an_unknown_table(manager: Client) -> None:
    assert "No judgments in this period." in markup(manager.get(f"{PAGE}?first=2020-01-01&last=2020-02-01"))
    reply = manager.get(f"{PAGE}?first=2026-02-01&last=2026-01-01&author=\x00'")
    assert reply.status_code == 400
    assert "The period ends before it begins." in markup(reply)
    assert manager.get(f"{PAGE}?csv=nothing").status_code == 404


def test_counts_of_many_models_stay_bounded_and_exact(
    cast: Cast, manager: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counted_authors, "MOST_MODELS", 3)
    for number in range(3):
        task = make_comparison(cast.project, f"New {number}?", ("One.", "Two."))
        for key, name in zip(response_ids(task), ("x", "y"), strict=True):
            author, _made = Author.objects.get_or_create(kind="model", name=f"{name}{number}")
            Response.with_unfinished.filter(pk=key).update(author=author)
        judged(task, cast.labeler, "A > B")
    measures.fold_due()
    assert len(MeasuresState.objects.get(project=cast.project).counted_authors) == 3
    rows = table(manager, "?csv=authors")
    assert rows["others"]["label"] == "Other models"
    assert numbers(rows["others"], "rate", "pairs") == [0, 1]
    kept = stored_sums(cast.project)
    measures.request_recompute(cast.project)
    measures.fold_due()
    assert stored_sums(cast.project) == kept
