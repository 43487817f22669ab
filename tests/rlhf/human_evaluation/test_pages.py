"""The pages of evaluations: who may open them, what they say, their CSV files, and what a wrong form is told."""

import csv
import io
import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotate.models import User
from rlhf.forms.stage_settings import SettingsForm
from rlhf.models import HumanEvaluation, TrainingRun
from tests.factories import head_to_head
from tests.factories.cast import Cast
from tests.harness.markup import markup

pytestmark = pytest.mark.django_db


def as_user(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def url(cast: Cast, name: str, *arguments: object) -> str:
    return reverse(f"rlhf:{name}", args=[cast.project.slug, *arguments])


@pytest.fixture
def compared(cast: Cast) -> tuple[HumanEvaluation, HumanEvaluation]:
    return head_to_head.made(cast.project, manager=cast.manager, labeler=cast.labeler)


@pytest.mark.parametrize(
    ("user", "status"),
    [("manager", 200), ("researcher", 200), ("labeler", 403), ("reviewer", 403), ("outsider", 404)],
)
@pytest.mark.parametrize("page", ["evaluations", "new_evaluation", "leaderboard"])
def test_researchers_and_managers_see_the_pages_and_nobody_else(cast, page, user, status):
    assert as_user(getattr(cast, user)).get(url(cast, page)).status_code == status


def rows_of(reply) -> list[list[str]]:
    return list(csv.reader(io.StringIO(reply.content.decode("utf-8-sig"))))


def test_an_evaluation_with_its_tables(cast, compared):
    ended, going = compared
    client = as_user(cast.manager)
    page = client.get(url(cast, "evaluation", ended.number)).content.decode()
    assert "Every pair is decided." in page or "Undecided" in page
    # Three of four, by hand: 18 prompts won, 6 lost.
    head, *rates = rows_of(client.get(url(cast, "evaluation_table", ended.number, "win-rates")))
    assert head[:5] == ["first", "second", "win_rate", "low", "high"]
    assert [row[:3] + row[7:] for row in rates] == [
        ["policy 1", "policy 2", "0.25", "6", "0", "18", "24"],
        ["policy 1", "policy 3", "0.25", "6", "0", "18", "24"],
        ["policy 2", "policy 3", "0.25", "6", "0", "18", "24"],
    ]
    _head, *ratings = rows_of(client.get(url(cast, "evaluation_table", ended.number, "ratings")))
    assert [row[0] for row in ratings] == ["policy 3", "policy 2", "policy 1"]
    _head, *groups = rows_of(client.get(url(cast, "evaluation_table", ended.number, "groups")))
    assert {(row[0], row[1]) for row in groups} == {
        *(("use_case", name) for name in ("Open question", "Chat", "Brainstorming")),
        *(("language", name) for name in ("en", "zh")),
    }
    assert client.get(url(cast, "evaluation_table", ended.number, "other")).status_code == 404
    fragment = client.get(url(cast, "evaluation", going.number), headers={"HX-Target": "figures"}).content.decode()
    assert "<h1" not in fragment
    assert "No decision yet: it goes on until every pair is decided or every prompt is judged." in fragment
    listed = client.get(url(cast, "evaluations")).content.decode()
    assert "Evaluation 1" in listed
    assert "Evaluation 2" in listed


def test_an_open_evaluation_says_when_it_is_judged(cast, compared, base):
    _ended, going = compared
    since = timezone.now() - timedelta(hours=10)
    HumanEvaluation.objects.filter(pk=going.pk).update(active_since=since)
    client = as_user(cast.manager)
    # 5 of 24 prompts in 10 hours: the other 19 in 38.
    page = client.get(url(cast, "evaluation", going.number)).content.decode()
    assert "At the current pace every prompt is judged in about 38 hours." in page
    HumanEvaluation.objects.filter(pk=going.pk).update(state="sampling")
    began = timezone.now() - timedelta(minutes=10)
    for one, status in zip(going.evaluated.all(), ("running", "succeeded"), strict=True):
        one.run = TrainingRun.objects.create(
            project=cast.project,
            stage="sample",
            status=status,
            started_at=began,
            progress=0.5,
            lease_token=uuid4(),
            lease_until=timezone.now(),
        )
        one.save()
    page = client.get(url(cast, "evaluation", going.number)).content.decode()
    assert "Judging begins in about 10 minutes." in page
    # Nothing is known of a run that waits, before the first has ended.
    TrainingRun.objects.filter(status="running").update(status="queued")
    assert "Judging begins in" not in client.get(url(cast, "evaluation", going.number)).content.decode()


def test_versions_are_links_wherever_they_are_compared(cast, compared):
    ended, _going = compared
    client = as_user(cast.manager)
    # By times: facts, matrix and pairs of an evaluation; the list; ratings and rounds.
    for name, arguments, times in [("evaluation", [ended.number], 5), ("evaluations", [], 1), ("leaderboard", [], 2)]:
        page = client.get(url(cast, name, *arguments)).content.decode()
        first = next(iter(ended.versions.order_by("pk")))
        assert page.count(f'href="{url(cast, "model", first.pk)}"') == times, name
        # The comma of a list follows its name at once.
        assert not re.search(r'class="listed">(\s|<a[^>]*>[^<]*</a>\s)', page), name


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_the_line_over_rounds_marks_rounds_alone(cast, compared, sign_in):
    page = sign_in(cast.manager.username, at="about:blank")
    page.add_init_script(
        """let made; Object.defineProperty(window, "uPlot", { get: () => made, set: (plain) => {
            made = function (...given) { return (window.drawn = new plain(...given)); }; Object.assign(made, plain);
        } });"""
    )
    page.goto(url(cast, "leaderboard"))
    page.wait_for_function("() => window.drawn?.axes[0]._splits")
    found = page.evaluate("() => [window.drawn.axes[0]._splits, window.drawn.axes[0]._values]")
    assert found == [[0, 1, 2], ["before", "1", "2"]]


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_a_decision_is_no_tower_of_words_on_a_phone(cast, compared, sign_in):
    ended, _going = compared
    page = sign_in(
        cast.manager.username, at=url(cast, "evaluation", ended.number), viewport={"width": 390, "height": 844}
    )
    decision = page.get_by_role("cell", name="No difference that can be stated.").first
    assert decision.bounding_box()["height"] < 80  # two lines


def test_the_leaderboard_and_its_line(cast, compared):
    client = as_user(cast.researcher)
    page = client.get(url(cast, "leaderboard"))
    assert markup(page).count("<tr data-x=") == 3
    assert "Is the model getting better, according to people?" in page.content.decode()
    _head, *rounds = rows_of(client.get(url(cast, "leaderboard_table", "rounds")))
    assert [row[:2] for row in rounds] == [["0", "policy 1"], ["1", "policy 2"], ["2", "policy 3"]]
    _head, *ratings = rows_of(client.get(url(cast, "leaderboard_table", "ratings")))
    assert [row[0] for row in ratings] == ["policy 3", "policy 2", "policy 1"]
    assert client.get(url(cast, "leaderboard_table", "other")).status_code == 404


def form(given, **values: object) -> dict[str, object]:
    initial = SettingsForm(stage="sample").initial
    sampling = {f"sampling-{name}": value for name, value in initial.items() if value is not False}
    return {
        "versions": [version.pk for version in given],
        "split": "",
        "prompt_count": 100,
        "response_source": "present",
        "share": 0.2,
        "responses_per_version": 1,
        "judgments_per_prompt": 1,
        "alpha": 0.05,
        "margin": 0.05,
        **sampling,
        **values,
    }


def test_the_form_starts_one_and_says_what_is_wrong(cast, sent, versions):
    client = as_user(cast.manager)
    address = url(cast, "new_evaluation")
    for values, sentence in (
        ({"versions": []}, "Choose at least two versions to compare."),
        ({"versions": [versions[0].pk]}, "Choose at least two versions to compare."),
        ({"versions": [versions[0].pk, 999_999]}, "Select a valid choice"),
        ({"share": 3}, "less than or equal to 1"),
        ({"use_case": "extraction"}, "No prompt of the project matches this choice."),
        ({"sampling-set_temperature": -1}, "greater than or equal to"),
    ):
        reply = client.post(address, form(versions, **values))
        assert reply.status_code == 400, values
        assert sentence in reply.content.decode(), values
    assert not HumanEvaluation.objects.exists()
    reply = client.post(address, form(versions))
    evaluation = HumanEvaluation.objects.get()
    assert reply["Location"] == url(cast, "evaluation", evaluation.number)
    assert (evaluation.items.count(), evaluation.created_by) == (8, cast.manager)
    assert ("rlhf.advance_evaluation", evaluation.pk) in sent


def test_cancelling_asks_for_the_post_and_says_when_it_has_ended(cast, compared):
    _ended, going = compared
    client = as_user(cast.manager)
    for _ in range(2):
        client.post(url(cast, "cancel_evaluation", going.number))
    going.refresh_from_db()
    assert going.state == "cancelled"
    assert "This evaluation has ended already." in client.get(url(cast, "evaluation", going.number)).content.decode()
