"""A manager's people: inviting, limits, languages, skills, a pause; and everybody of several projects at once."""

import re

import pytest
from playwright.sync_api import expect

from annotate.models import Invitation, Membership, Project, User
from annotate.people.projects import create_project
from tests.factories.cast import Cast
from tests.harness.browser import SignIn
from tests.journeys.test_managers_morning import assert_accessible

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
PEOPLE = "/p/kindness/people/"


def of_labeler(cast: Cast, project: Project) -> Membership:
    return Membership.objects.get(user=cast.labeler, project=project, role="labeler")


def test_rules_of_work_pause_and_an_invitation_with_two_roles(cast: Cast, sign_in: SignIn) -> None:
    page = sign_in("manager", at=PEOPLE)
    row = page.get_by_role("row", name=re.compile("^labeler"))
    row.get_by_text("active").click()
    row.get_by_label("Judgments a day").fill("40")
    row.get_by_label("Languages they read").fill("en, zh")
    row.get_by_label("Skills").fill("Law")
    assert_accessible(page)
    row.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("40 a day")
    expect(row).to_contain_text("en, zh")
    expect(row.locator(".badge", has_text="Law")).to_be_visible()
    rules = of_labeler(cast, cast.project)
    assert (rules.daily_limit, rules.languages, [skill.name for skill in rules.skills.all()]) == (
        40,
        ["en", "zh"],
        ["Law"],
    )
    row.get_by_text("active").click()
    row.get_by_label("Reason of a pause").fill("Until Monday.")
    row.get_by_role("button", name="Pause").click()
    expect(row.get_by_text("paused", exact=True)).to_be_visible()
    row.get_by_text("paused", exact=True).click()
    expect(row).to_contain_text("Until Monday.")
    row.get_by_role("button", name="Resume").click()
    expect(row.get_by_text("active")).to_be_visible()
    page.get_by_label("For whom").fill("Lin")
    page.get_by_label("Reviewer", exact=True).check()
    page.get_by_role("button", name="Create an invitation").click()
    expect(page.get_by_role("row", name=re.compile("Lin"))).to_contain_text("Labeler, Reviewer")
    assert Invitation.objects.get().roles == ["labeler", "reviewer"]
    page.get_by_role("button", name="Withdraw Lin").click()
    expect(page.get_by_text("Open invitations")).to_have_count(0)
    row.get_by_text("Labeler", exact=True).click()
    row.get_by_role("button", name="Take the role away: Labeler").click()
    expect(row).to_have_count(0)


@pytest.mark.parametrize(
    ("language", "locale", "welcome"),
    [("en", "en-US", "Welcome to Kindness."), ("zh-hans", "zh-CN", "欢迎加入 Kindness。")],
)
def test_an_invitation_is_made_accepted_and_works_once(
    cast: Cast, sign_in: SignIn, language: str, locale: str, welcome: str
) -> None:
    User.objects.update(language=language)
    page = sign_in("manager", at=PEOPLE)
    form = page.locator("form", has=page.locator("input[name=label]"))
    form.locator("input[name=label]").fill("Lin")
    form.locator("input[name=roles][value=reviewer]").check()
    form.locator("button[type=submit]").click()
    link = page.locator(".notice .code").inner_text()
    assert_accessible(page)
    assert page.context.browser is not None
    guest = page.context.browser.new_context(locale=locale).new_page()
    guest.goto(link)
    assert_accessible(guest)
    for name, value in {"username": "lin", "password": "a door of one's own", "again": "a door of one's own"}.items():
        guest.locator(f"input[name={name}]").fill(value)
    guest.locator("main form button.primary").click()
    expect(guest.get_by_text(welcome)).to_be_visible()
    assert set(Membership.objects.filter(user__username="lin").values_list("role", flat=True)) == {
        "labeler",
        "reviewer",
    }
    late = page.context.browser.new_context(locale=locale).new_page()
    late.goto(link)
    expect(late.locator("main form")).to_have_count(0)
    assert_accessible(late)
    for each in (guest, late):
        each.context.close()


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_everybody_of_several_projects_at_once(cast: Cast, sign_in: SignIn, language: str) -> None:
    second = create_project(by=cast.manager, name="Truth", slug="truth")
    Membership.objects.create(user=cast.labeler, project=second, role="labeler")
    User.objects.update(language=language)
    page = sign_in("manager", at="/people/?q=labeler")
    own = [of_labeler(cast, project) for project in (cast.project, second)]
    for rules in own:
        page.locator(f"input[name=person][value='{rules.project_id}-{rules.user_id}']").check()
    page.locator("input[name=daily_limit]").fill("15")
    page.locator("button[value=limit]").click()
    expect(page.locator("#messages .notice").first).to_be_visible()
    assert {of_labeler(cast, rules.project).daily_limit for rules in own} == {15}
    for rules in own:
        page.locator(f"input[name=person][value='{rules.project_id}-{rules.user_id}']").check()
    page.locator("input[name=reason]").fill("Until Monday.")
    page.locator("button[value=pause]").click()
    expect(page.locator("td .badge.warn")).to_have_count(2)
    assert all(of_labeler(cast, rules.project).paused_at for rules in own)
    assert_accessible(page)
