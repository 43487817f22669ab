"""A manager's first hour: open a project, invite a labeler who chooses their password, import prompts."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from annotate.models import Project, Prompt, User
from tests.factories.cast import PASSWORD, Cast, make_comparison
from tests.harness.browser import SignIn
from tests.journeys.board import settled

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_open_a_project_invite_and_import(transactional_db: None, cast: Cast, sign_in: SignIn, tmp_path: Path) -> None:
    page = sign_in("manager", PASSWORD)
    page.get_by_role("link", name="New project").click()
    page.get_by_label("Name", exact=True).fill("Plain English")
    page.get_by_label("Responses to rank at once (K)").fill("3")
    page.get_by_label("Judgments per task (overlap)").fill("2")
    page.get_by_label("Guidelines").fill("Short words first.")
    page.get_by_label("Rubric").select_option("helpsteer2")
    page.get_by_role("button", name="Open project").click()
    expect(page.get_by_text("Plain English is open.")).to_be_visible()
    project = Project.objects.get(slug="plain-english")
    assert (project.responses_per_task, project.overlap) == (3, 2)

    page.get_by_label("For whom").fill("Nora")
    page.get_by_role("button", name="Create an invitation").click()
    link = page.locator(".notice .code").inner_text()
    expect(page.get_by_role("row", name=re.compile("Nora"))).to_contain_text("Labeler")

    page.get_by_role("link", name="Prompts").click()
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"id": "1", "prompt": [{"role": "user", "content": "Hello?"}]}\nnot json\n', encoding="utf-8")
    sign_in.expected.append(" 400 ")  # type: ignore[attr-defined]
    page.get_by_label("File").set_input_files(broken)
    page.locator("form[enctype]").get_by_role("button", name="Import").click()
    expect(page.get_by_role("alert")).to_contain_text("line 2")
    assert not Prompt.objects.filter(project=project).exists()
    good = tmp_path / "questions.txt"
    good.write_text("What is a verb?\n什么是动词？\n", encoding="utf-8")
    page.get_by_label("File").set_input_files(good)
    page.locator("form[enctype]").get_by_role("button", name="Import").click()
    expect(page.get_by_text("2 prompts.")).to_be_visible()
    expect(page.get_by_text("什么是动词？").first).to_be_visible()

    prompt = Prompt.objects.filter(project=project).first()
    assert prompt is not None
    make_comparison(project, "What is a noun?", texts=("A name.", "A thing.", "A hen."))
    browser = page.context.browser
    assert browser is not None
    guest = browser.new_context().new_page()
    guest.goto(link)
    expect(guest.get_by_role("heading", name="Invitation to Plain English")).to_be_visible()
    guest.get_by_label("User name").fill("nora")
    guest.get_by_label("Full name").fill("Nora Berg")
    guest.get_by_label("Password", exact=True).fill("a door of one's own")
    guest.get_by_label("Password, again").fill("a door of one's own")
    guest.get_by_role("button", name="Create the account").click()
    expect(guest.get_by_text("Welcome to Plain English.")).to_be_visible()
    expect(guest.get_by_role("heading", name="Rank these 3 responses")).to_be_visible()
    settled(guest)  # its buttons act when the page's modules are loaded
    guest.get_by_role("button", name=re.compile("^Guidelines")).click()
    expect(guest.get_by_text("Short words first.")).to_be_visible()
    assert not User.objects.get(username="nora").must_change_password
    page.get_by_role("link", name="People").click()
    expect(page.get_by_role("row", name=re.compile("Nora Berg"))).to_contain_text("Labeler")
    expect(page.get_by_text("Open invitations")).to_have_count(0)
    guest.context.close()
