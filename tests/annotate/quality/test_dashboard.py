"""The dashboard and a labeler's page: figures worked out by hand, and what they cost."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate.labeling import exam, queue
from annotate.models import (
    Assignment,
    Judgment,
    Membership,
    Project,
    QualityAlert,
    QualityCheck,
    Task,
    User,
)
from annotate.people.projects import edit_project
from annotate.quality import dashboard, measures
from annotate.quality.dashboard import Dashboard, spark_points
from annotate.quality.labeler_page import LabelerPage
from annotate.quality.measures.report import today
from tests.annotate.quality.measures.judging import judged
from tests.factories.cast import Cast, judge, make_comparison, make_user, response_ids
from tests.harness.markup import markup

pytestmark = pytest.mark.django_db
TEXTS = ("a", "b", "c")


def judge_next(project: Project, labeler: Any, *, days_ago: int = 0, turned: bool = False) -> Judgment:
    """The labeler orders the next task as its responses were made, or with the last two the other way round."""
    assignment = queue.claim_next(labeler=labeler, project=project)
    assert assignment is not None
    a, b, c = sorted(assignment.presentation)
    judge(assignment, [[a], [c], [b]] if turned else [[a], [b], [c]], seconds=30.0)
    found = Judgment.objects.get(assignment=assignment)
    if days_ago:
        moment = timezone.now() - timedelta(days=days_ago)
        Judgment.objects.filter(pk=found.pk).update(created_at=moment)
    return found


@pytest.fixture
def project(cast: Cast) -> Project:
    """Four comparisons for two each: the labeler gave four judgments, the second one two, one of them otherwise."""
    project = edit_project(project=cast.project, by=cast.manager, overlap=2, weekly_judgments=12)
    for number in range(4):
        make_comparison(project, f"Question {number}?", TEXTS, priority=-number)
    for days_ago in (0, 0, 1, 2):
        judge_next(project, cast.labeler, days_ago=days_ago)
    judge_next(project, cast.second_labeler, turned=True)
    judge_next(project, cast.second_labeler, days_ago=1)
    measures.fold_due()
    return project


def test_the_first_row(cast: Cast, project: Project) -> None:
    found = Dashboard(project, reader=cast.manager)
    assert found.judged_today == 3
    week = {0: 3, 1: 5}.get(today().weekday(), 6)
    assert found.judged_this_week == week
    assert found.plan_share == pytest.approx(week / 12)
    assert found.backlog == 2
    # Of the two tasks with two judgments one agrees on all three pairs, the other on two.
    assert (found.measures.agreement.hits, found.measures.agreement.total) == (5, 6)
    assert found.forecast is None, "judgments on two days before today are too few"


def test_the_forecast_rests_on_whole_days(cast: Cast, project: Project) -> None:
    Judgment.objects.filter(labeler=cast.second_labeler).update(created_at=timezone.now() - timedelta(days=5))
    measures.request_recompute(project)
    measures.fold_due()
    found = Dashboard(project).forecast
    assert found is not None
    assert found.per_day == pytest.approx(4 / 14)
    assert found.expected == today() + timedelta(days=7)


def test_the_chart_stacks_labelers_and_joins_the_rest(cast: Cast, project: Project, monkeypatch: Any) -> None:
    found = Dashboard(project, days=7)
    assert [(series.label, series.total) for series in found.series] == [("labeler", 4), ("second_labeler", 2)]
    assert found.series[0].values == [0, 0, 0, 0, 1, 1, 2]
    assert found.day_rows[-1][1:] == ([2, 1], 3)
    monkeypatch.setattr(dashboard, "MOST_SERIES", 1)
    assert [(series.label, series.total) for series in Dashboard(project, days=7).series] == [("2 others", 6)]


def test_the_weeks_have_the_same_agreement_as_the_period(cast: Cast, project: Project) -> None:
    found = Dashboard(project)
    assert sum(of.agreement.hits for _start, of in found.weeks) == 5
    assert [start.weekday() for start, _of in found.weeks] == [0] * dashboard.TREND_WEEKS


def test_a_row_for_each_labeler_with_pace_and_what_is_known(cast: Cast, project: Project) -> None:
    first, second = Dashboard(project).rows
    assert (first.labeler, first.measures.judgments, second.measures.judgments) == (cast.labeler, 4, 2)
    assert first.measures.per_hour == pytest.approx(120)
    assert (first.measures.agreement.hits, first.measures.agreement.total) == (5, 6)
    assert list(first.spark[-3:]) == [1, 1, 2]
    assert first.is_active
    assert first.last_at is not None


def test_who_has_left_is_not_active(cast: Cast, project: Project) -> None:
    Judgment.objects.update(created_at=timezone.now() - timedelta(hours=1))
    Assignment.objects.filter(state=Assignment.State.CURRENT).update(lease_until=timezone.now() + timedelta(minutes=1))
    assert Dashboard(project).active == []
    held = queue.claim_next(labeler=cast.second_labeler, project=project)
    assert held is not None
    assert Dashboard(project).active == [cast.second_labeler]


def test_coverage_counts_prompts_and_judgments(cast: Cast, project: Project) -> None:
    found = Dashboard(project)
    assert found.use_cases == [("Other", 4, 6)]
    assert found.languages == [("en", 4, 6)]


def test_a_paused_labeler_is_an_alert(cast: Cast, project: Project) -> None:
    Membership.objects.filter(user=cast.labeler).update(paused_at=timezone.now())
    found = Dashboard(project, reader=cast.manager)
    assert [alert.text for alert in found.alerts] == ["labeler is paused"]


def test_what_followed_from_hidden_checks_is_an_alert(cast: Cast, project: Project) -> None:
    """Once a labeler, for a week or until the exam is passed; not of who has left, nor what was undone."""

    def add(labeler: User, action: str, *, days_ago: int = 0, **values: Any) -> QualityAlert:
        own = {"kind": "gold", "action": action, "rate": 0.5, "threshold": 0.8, "checks": 4, **values}
        alert = QualityAlert.objects.create(project=project, labeler=labeler, **own)
        QualityAlert.objects.filter(pk=alert.pk).update(created_at=timezone.now() - timedelta(days=days_ago))
        return alert

    def shown() -> list[tuple[str, str]]:
        found = Dashboard(Project.objects.get(pk=project.pk), reader=cast.manager).alerts
        return [(alert.text, alert.url) for alert in found]

    page = "/p/kindness/checks/"
    add(cast.labeler, "warn", days_ago=8)
    add(cast.labeler, "pause")
    add(cast.outsider, "warn")
    add(cast.labeler, "warn", undone_at=timezone.now())
    assert shown() == []
    add(cast.labeler, "warn", days_ago=2, rate=0.25)
    add(cast.labeler, "warn", days_ago=1)
    assert shown() == [("labeler was warned after hidden checks (50%)", page)]
    add(cast.second_labeler, "requalify", days_ago=30)
    assert len(shown()) == 1, "there is no exam to pass"
    exam_task = make_comparison(project, "Exam?")
    Task.objects.filter(pk=exam_task.pk).update(state=Task.State.EXAM)
    Project.objects.filter(pk=project.pk).update(exam_threshold=0.5)
    again = ("second_labeler has to pass the exam again after hidden checks (50%)", page)
    assert shown()[0] == again
    exam.waive(labeler=cast.second_labeler, project=Project.objects.get(pk=project.pk), by=cast.manager)
    assert again not in shown()


def test_the_page_says_how_many_alerts_it_has_no_room_for(cast: Cast, client: Client) -> None:
    for number in range(6):
        labeler = make_user(f"hand-{number}")
        Membership.objects.create(user=labeler, project=cast.project, role="labeler", paused_at=timezone.now())
    client.force_login(cast.manager)
    page = markup(client.get("/p/kindness/"))
    assert page.count(" is paused") == 4
    assert '<a href="#labelers">and 2 more</a>' in page


def test_an_empty_project_has_no_figures_and_no_errors(cast: Cast) -> None:
    found = Dashboard(cast.project, reader=cast.manager)
    assert (found.judged_today, found.backlog, found.forecast, found.series) == (0, 0, None, [])
    assert found.measures.agreement.rate is None
    assert [row.labeler for row in found.rows] == [cast.labeler, cast.second_labeler]
    assert LabelerPage(cast.project, cast.labeler).recent == []


def test_a_spark_fits_its_picture() -> None:
    assert spark_points([0, 2, 1], width=10, height=10) == "0.0,9.0 5.0,2.0 10.0,5.5"
    assert spark_points([0], width=10, height=10) == "0.0,9.0"


class TestThePages:
    @pytest.fixture
    def manager(self, cast: Cast, client: Client) -> Client:
        client.force_login(cast.manager)
        return client

    def test_the_overview_shows_it(self, cast: Cast, manager: Client, project: Project) -> None:
        page = manager.get("/p/kindness/").content.decode()
        for shown in (
            "Judgments per day",
            "83%",
            "Waits for you",
            f"/p/kindness/people/{cast.labeler.pk}/",
            "Active now",
        ):
            assert shown in page
        assert "Judgments per day" in manager.get("/p/kindness/?days=7").content.decode()
        assert manager.get("/p/kindness/?days=5&csv=nothing").status_code == 404

    @pytest.mark.parametrize("name", ["days", "weeks", "labelers", "use_cases", "languages"])
    def test_each_table_is_a_csv(self, manager: Client, project: Project, name: str) -> None:
        reply = manager.get(f"/p/kindness/?csv={name}")
        head, *rows = reply.content.decode("utf-8-sig").splitlines()
        assert reply["Content-Disposition"] == f'attachment; filename="kindness-{name}.csv"'
        assert len({row.count(",") for row in (head, *rows)}) == 1
        assert rows

    def test_a_formula_in_a_csv_is_text(self, cast: Cast, manager: Client, project: Project) -> None:
        cast.labeler.first_name = "=1+1"
        cast.labeler.save()
        assert ",'=1+1," in manager.get("/p/kindness/?csv=days").content.decode()

    def test_a_labelers_page(self, cast: Cast, manager: Client, project: Project) -> None:
        page = manager.get(f"/p/kindness/people/{cast.labeler.pk}/").content.decode()
        for shown in ("Agreement by week", "Recent work", "Question 0?", "30 s"):
            assert shown in page
        assert page.count('href="/p/kindness/review/') >= 4
        assert manager.get(f"/p/kindness/people/{cast.outsider.pk}/").status_code == 404
        reply = manager.get(f"/p/kindness/people/{cast.labeler.pk}/?csv=weeks")
        assert reply.content.decode("utf-8-sig").startswith("week,agreement,")

    def test_a_labelers_page_shows_repeats_and_criteria(self, cast: Cast, manager: Client, project: Project) -> None:
        edit_project(
            project=project,
            by=cast.manager,
            criteria=[{"name": "help", "label": "Helpfulness", "min": 1, "max": 7}],
        )
        task = make_comparison(project, "Rated by two?", ("a", "b"))
        first, second = response_ids(task)
        judged(task, cast.labeler, "A > B", ratings={first: {"help": 6}, second: {"help": 3}})
        judged(task, cast.second_labeler, "A > B", ratings={first: {"help": 5}, second: {"help": 3}})
        repeat = make_comparison(project, "Once more?", ("a", "b", "c", "d"))
        given = judged(repeat, cast.labeler, "A > B > C > D")
        Judgment.objects.filter(pk=given.pk).update(is_check=True)
        Task.objects.filter(pk=repeat.pk).update(state=Task.State.REPEAT)
        QualityCheck.objects.create(
            judgment=given,
            project=project,
            labeler=cast.labeler,
            kind=QualityCheck.Kind.REPEAT,
            score=0.75,
            created_at=given.created_at,
        )
        measures.judgments_changed([repeat.pk])
        measures.fold_due()
        url = f"/p/kindness/people/{cast.labeler.pk}/"
        page = markup(manager.get(url))
        own = page[page.index("with their own earlier judgment") :].partition("</div>")[0]
        assert own == "with their own earlier judgment</dt><dd>75%<small>1 repeat</small></dd>"
        # Of two responses that both rated, one has the same rating, and the other is rated 1 higher.
        row = page[page.index("Helpfulness</th>") :].partition("</tr>")[0]
        assert row == (
            'Helpfulness</th><td class="number nowrap">50%<small>5%–95%</small></td><td class="number">2</td>'
            '<td class="number">+0.5</td>'
        )
        table = manager.get(f"{url}?csv=criteria").content.decode("utf-8-sig").splitlines()
        assert table[0] == "criterion,agreement,agreement_low,agreement_high,pairs,difference"
        assert table[1].startswith("Helpfulness,0.5,0.05")
        assert table[1].endswith(",2,0.5")
        quality = markup(manager.get("/p/kindness/quality/"))
        assert '<th scope="col" class="number">Own repeats</th>' in quality
        assert "<dt>of pairs as in their own earlier judgment</dt><dd>75%" in quality
        # By use case and language; in the table of labelers nobody has a score.
        assert quality.count('<th scope="col" class="number">Reward model</th>') == 2
        row = manager.get("/p/kindness/quality/labelers.csv").getvalue().decode("utf-8-sig").splitlines()[1]
        assert row.endswith(",0.75,,,1")

    def test_a_chart_begins_with_the_first_share(self, project: Project) -> None:
        chart = Dashboard(project).weeks_chart
        assert chart is not None
        assert (len(Dashboard(project).weeks), len(chart.rows), chart.key) == (12, 4, [])
        assert [column.label for column in chart.columns] == ["Each other", "Pairs"]
        assert (chart.rows[-1][1][0].share.total + chart.rows[-2][1][0].share.total) == 6

    def test_queries_do_not_grow_with_the_judgments(
        self, cast: Cast, manager: Client, project: Project, django_assert_max_num_queries: Any
    ) -> None:
        with django_assert_max_num_queries(60):
            manager.get("/p/kindness/")

    def test_home_differs_by_role(self, cast: Cast, manager: Client, project: Project, client: Client) -> None:
        assert "of the plan" in manager.get("/").content.decode()
        client.force_login(cast.labeler)
        home = client.get("/").content.decode()
        assert "of the plan" not in home
        assert "Backlog" not in home


def test_who_is_at_work_is_found_among_open_leases(cast: Cast) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL chooses by its statistics, of which a test has none")
    with CaptureQueriesContext(connection) as found:
        assert Dashboard(cast.project).active == []
    (statement,) = [query["sql"] for query in found.captured_queries if "lease_until" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {statement}")
        assert "USING INDEX assignment_open_lease (lease_until>?)" in cursor.fetchall()[0][-1]
