"""The quality page by period, its tables as CSV, and hours and counts for payment."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from annotate.models import Membership
from annotate.quality import measures
from tests.annotate.quality.measures.judging import judged
from tests.factories.cast import Cast, make_comparison
from tests.harness.markup import markup

PAGE = "/p/kindness/quality/"


@pytest.fixture
def manager(cast: Cast, client: Client) -> Client:
    """Signed in, in a project with judgments of today and of forty days ago."""
    for number, days in enumerate((0, 0, 40)):
        task = make_comparison(cast.project, f"Question {number}?", ("One.", "Two, longer."))
        at = timezone.now() - timedelta(days=days)
        judged(task, cast.labeler, "A > B", at=at, shown="AB", seconds=12.0)
        judged(task, cast.second_labeler, "A > B", at=at, shown="BA", seconds=36.0)
    measures.fold_due()
    client.force_login(cast.manager)
    return client


def test_shows_the_last_four_weeks_first(manager: Client) -> None:
    page = markup(manager.get(PAGE))
    assert "<dt>judgments</dt><dd>4" in page
    assert "<dt>of pairs agree, ties counted</dt><dd>100%" in page
    assert '>second_labeler</a></th><td class="number">2</td>' in page
    assert 'data-value="1"' in page
    assert "Agreement with gold orders" not in page  # nothing to see


def test_the_period_is_in_the_address(manager: Client) -> None:
    assert "<dt>judgments</dt><dd>6" in markup(manager.get(f"{PAGE}?days=all"))
    today = timezone.now().date()
    page = markup(manager.get(f"{PAGE}?first={today - timedelta(days=45)}&last={today - timedelta(days=30)}"))
    assert "<dt>judgments</dt><dd>2" in page
    page = markup(manager.get(f"{PAGE}?first=2020-01-01&last=2020-02-01"))
    assert "No judgments in this period." in page
    assert "<dt>judgments</dt><dd>4" in markup(manager.get(f"{PAGE}?language=en&kind=compare"))
    assert "No judgments in this period." in markup(manager.get(f"{PAGE}?use_case=chat"))


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("first=2026-02-01&last=2026-01-01", "The period ends before it begins."),
        ("first=1066-10-14", "The period begins too long ago."),
        ("first=yesterday", "Enter a valid date."),
        ("use_case=poetry", "Select a valid choice."),
    ],
)
def test_a_wrong_period_is_said_and_the_usual_one_shown(manager: Client, query: str, sentence: str) -> None:
    reply = manager.get(f"{PAGE}?{query}")
    assert reply.status_code == 400
    page = markup(reply)
    assert sentence in page
    assert "<dt>judgments</dt><dd>4" in page


def test_a_script_gets_the_figures_alone(manager: Client) -> None:
    page = manager.get(PAGE, headers={"HX-Request": "true", "HX-Target": "figures"}).content.decode()
    assert page.lstrip().startswith('<div id="figures"')
    assert "</html>" not in page


def test_every_table_is_a_file(cast: Cast, manager: Client) -> None:
    cast.labeler.first_name = "=HYPERLINK(1)"
    cast.labeler.save()
    files = {}
    for name in ("trend", "labelers", "use_cases", "languages", "criteria"):
        reply = manager.get(f"{PAGE}{name}.csv?days=all")
        assert reply["Content-Type"] == "text/csv; charset=utf-8"
        assert f"kindness-{name}.csv" in reply["Content-Disposition"]
        files[name] = reply.getvalue().decode("utf-8-sig").splitlines()
    assert files["languages"][1].startswith("en,6,")
    assert files["labelers"][1].startswith("'=HYPERLINK(1),3,0.01,12.0,12.0,12.0,1.0,")
    assert manager.get(f"{PAGE}secrets.csv").status_code == 404


def test_hours_are_by_name_for_managers_and_by_pseudonym_for_researchers(cast: Cast, manager: Client) -> None:
    text = manager.get(f"{PAGE}hours.csv?by=month&days=all").getvalue().decode("utf-8-sig")
    assert text.count("second_labeler,") == 2
    manager.force_login(cast.researcher)
    text = manager.get(f"{PAGE}hours.csv?by=month&days=all").getvalue().decode("utf-8-sig")
    assert "second_labeler" not in text
    assert text.count(cast.project.pseudonym(cast.second_labeler.pk)) == 2


@pytest.mark.parametrize(
    ("role", "page", "hours"),
    [("labeler", 403, 403), ("reviewer", 200, 403), ("researcher", 200, 200), (None, 404, 404)],
)
def test_who_sees_it(cast: Cast, client: Client, role: str | None, page: int, hours: int) -> None:
    if role is not None:
        Membership.objects.create(user=cast.outsider, project=cast.project, role=role)
    client.force_login(cast.outsider)
    assert client.get(PAGE).status_code == page
    assert client.get(f"{PAGE}hours.csv").status_code == hours


def test_before_the_first_computation_it_says_so(cast: Cast, client: Client) -> None:
    client.force_login(cast.manager)
    assert "The figures of this project are being computed" in markup(client.get(PAGE))
