"""A manager's morning: the dashboard, a labeler's page, and the list of tasks, in English and in Chinese."""

import re
from datetime import UTC

import pytest
from axe_playwright_python.base import AXE_SCRIPT as AXE
from django.utils import timezone
from playwright.sync_api import Page, expect

from annotate.data.text_search import search_index
from annotate.labeling import queue
from annotate.models import Membership, Project, Prompt
from annotate.people.projects import edit_project
from annotate.quality import measures
from tests.factories.cast import Cast, judge, make_comparison
from tests.harness.browser import SignIn
from tests.journeys.test_pages import violations

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def project(transactional_db: None, cast: Cast) -> Project:
    project = edit_project(project=cast.project, by=cast.manager, overlap=2, weekly_judgments=20)
    for number in range(3):
        make_comparison(project, f"How do I boil {number} eggs?", ("a", "b", "c"), priority=-number)
    weather = make_comparison(project, "今天天气怎么样？", ("好", "不好"), priority=-9)
    Prompt.objects.filter(pk=weather.prompt_id).update(language="zh")
    for labeler in (cast.labeler, cast.second_labeler):
        for _ in range(2):
            assignment = queue.claim_next(labeler=labeler, project=project)
            assert assignment is not None
            judge(assignment, [[pk] for pk in sorted(assignment.presentation)], seconds=30.0)
    measures.fold_due()
    search_index.index_due()
    return project


def assert_accessible(page: Page) -> None:
    page.evaluate(AXE)
    assert violations(page) == []


def test_the_dashboard_leads_to_a_labeler_who_is_paused(project: Project, cast: Cast, sign_in: SignIn) -> None:
    page = sign_in("manager", at="/p/kindness/")
    expect(page.locator(".kpi").first).to_contain_text("Waits for you")
    expect(page.locator(".kpi").nth(1)).to_contain_text("20% of the 20 planned")
    expect(page.locator("figure[data-chart] canvas")).to_have_count(2)
    days = page.locator("figure[data-chart=stacked]")
    today = timezone.now().astimezone(UTC)
    # As pages write a day: 2 Nov.
    expect(days.locator("output")).to_have_text(f"{today.day} {today:%b}: 4 (labeler 2, second_labeler 2)")
    days.get_by_text("Table").click()
    expect(days.locator("tbody tr").last.locator("td").last).to_have_text("4")
    with page.expect_download() as download:
        days.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == "kindness-days.csv"
    assert_accessible(page)
    page.get_by_role("link", name="second_labeler").click()
    expect(page.locator("figure[data-chart] canvas")).to_have_count(2)
    assert_accessible(page)
    page.get_by_label("Reason of a pause").fill("Please read the guidelines again.")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#messages")).to_contain_text("is paused")
    assert Membership.objects.get(user=cast.second_labeler).paused_at is not None
    page.goto("/p/kindness/")
    page.get_by_role("link", name="second_labeler is paused").click()
    expect(page.get_by_text("Please read the guidelines again.")).to_be_visible()


def test_filters_stand_in_the_address_and_come_off_as_chips(project: Project, sign_in: SignIn) -> None:
    page = sign_in("manager", at="/p/kindness/tasks/")
    rows = page.locator(".task-table tbody tr")
    expect(rows).to_have_count(4)
    page.get_by_label("State").select_option("complete")
    expect(rows).to_have_count(2)
    expect(page).to_have_url(re.compile("state=complete"))
    page.get_by_role("searchbox").fill("boil")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".chip")).to_have_count(2)
    assert_accessible(page)
    page.locator(".chip", has_text="State").click()
    expect(rows).to_have_count(3)
    expect(page).to_have_url(re.compile(r"/tasks/\?q=boil$"))
    rows.first.get_by_role("checkbox").check()
    page.get_by_text("Change tasks").click()
    page.locator("#change-tasks").get_by_label("Priority").fill("9")
    page.get_by_role("button", name="Set the priority").click()
    expect(page.locator("#messages")).to_contain_text("1 task was changed.")
    expect(rows).to_have_count(3)


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_the_quality_page_by_period_leads_to_a_labeler(
    project: Project, cast: Cast, sign_in: SignIn, language: str
) -> None:
    cast.manager.__class__.objects.update(language=language)
    page = sign_in("manager", at="/p/kindness/quality/")
    charts = page.locator("figure[data-chart]")
    expect(charts.first.locator("canvas")).to_be_visible()
    expect(charts.first.locator("output")).to_contain_text(": 4")
    assert_accessible(page)
    page.locator("select[name=language]").select_option("en")
    page.locator("form.period button[type=submit]").click()
    expect(page).to_have_url(re.compile("language=en"))
    expect(page.locator(".facts dd").first).to_have_text(re.compile(r"^\s*4\b"))
    with page.expect_download() as download:
        page.locator("a[href*='labelers.csv']").click()
    assert download.value.suggested_filename == "kindness-labelers.csv"
    page.get_by_role("link", name="second_labeler").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("second_labeler")
    assert_accessible(page)


def test_ticked_tasks_want_more_judgments(project: Project, cast: Cast, sign_in: SignIn) -> None:
    page = sign_in("manager", at="/p/kindness/tasks/?state=open")
    page.locator(".task-table tbody tr").first.get_by_role("checkbox").check()
    page.get_by_text("Change tasks").click()
    number = page.get_by_label("Judgments per task")
    number.evaluate("field => field.removeAttribute('max')")
    number.fill("9")
    sign_in.expected.append(" 400 ")  # type: ignore[attr-defined]
    page.get_by_role("button", name="Set the judgments per task").click()
    expect(page.get_by_role("alert")).to_contain_text("9 judgments a task need as many labelers")
    page.locator(".task-table tbody tr").first.get_by_role("checkbox").check()
    page.get_by_text("Change tasks").click()
    page.get_by_label("Judgments per task").fill("3")
    page.get_by_role("button", name="Set the judgments per task").click()
    expect(page.locator("#messages")).to_contain_text("1 task was changed.")
    expect(page.locator(".task-table tbody tr").first).to_contain_text("/ 3")


def test_both_pages_in_chinese(project: Project, cast: Cast, sign_in: SignIn) -> None:
    cast.manager.__class__.objects.update(language="zh-hans")
    page = sign_in("manager", at="/p/kindness/")
    expect(page.locator("figure[data-chart=stacked] output")).to_contain_text("日")
    expect(page.get_by_role("heading", name="每日评判数")).to_be_visible()
    assert_accessible(page)
    page.goto("/p/kindness/tasks/?q=天气")
    expect(page.locator(".task-table tbody tr")).to_have_count(1)
    expect(page.locator(".chip")).to_contain_text("天气")
    assert_accessible(page)
