"""Every page of annotate as every role, as an outsider and signed out: deny by default."""

import copy

import pytest
from django.test import Client
from django.urls import URLPattern

from annotate import urls
from tests.databases.module_rows import db, module_rows
from tests.factories.cast import Cast, make_cast
from tests.factories.records import Records, make_records

__all__ = ["db", "module_rows"]

EVERYBODY = {"manager", "researcher", "reviewer", "labeler"}
# Who gets in. The others of EVERYBODY get 403 with a sentence, an outsider 404, as if there were no such project.
MAY = {
    "overview": EVERYBODY,
    "guidelines": EVERYBODY,
    "work": {"manager", "reviewer", "labeler"},
    "submit": {"manager", "reviewer", "labeler"},
    "skip": {"manager", "reviewer", "labeler"},
    "draft": {"manager", "reviewer", "labeler"},
    "ahead": {"manager", "reviewer", "labeler"},
    "choose_kind": {"manager", "reviewer", "labeler"},
    "task": {"manager", "reviewer", "labeler"},
    "undo": {"manager", "reviewer", "labeler"},
    "report": {"manager", "reviewer", "labeler"},
    "mine": {"manager", "reviewer", "labeler"},
    "chat": {"manager", "reviewer", "labeler"},
    "chat_candidates": {"manager", "reviewer", "labeler"},
    "preview": {"manager", "reviewer", "labeler"},
    "exam": {"manager", "reviewer", "labeler"},
    "exam_start": {"manager", "reviewer", "labeler"},
    "exam_answer": {"manager", "reviewer", "labeler"},
    "exam_draft": {"manager", "reviewer", "labeler"},
    "exam_settings": {"manager"},
    "exam_item": {"manager"},
    "exam_examinee": {"manager"},
    "read_warnings": {"manager", "reviewer", "labeler"},
    "quality_checks": {"manager"},
    "check_task": {"manager"},
    "undo_alert": {"manager"},
    "tasks": {"manager"},
    "manage_task": {"manager"},
    "change_tasks": {"manager"},
    "task_kinds": {"manager"},
    "withdraw_tasks": {"manager"},
    "mark_prompt": {"manager"},
    "review": {"manager", "reviewer"},
    "review_judgment": {"manager", "reviewer"},
    "resolve_report": {"manager", "reviewer"},
    "set_aside": {"manager", "reviewer"},
    "use_as_gold": {"manager"},
    "review_queue": {"manager", "reviewer"},
    "review_decided": {"manager", "reviewer"},
    "adjudicate": {"manager", "reviewer"},
    "adjudicate_task": {"manager", "reviewer"},
    "adjudication": {"manager", "reviewer"},
    "adjudication_submit": {"manager", "reviewer"},
    "adjudication_undo": {"manager", "reviewer"},
    "adjudication_skip": {"manager", "reviewer"},
    "adjudication_draft": {"manager", "reviewer"},
    "adjudication_orders": {"manager", "reviewer"},
    "review_bulk": {"manager"},
    "review_leave_out": {"manager"},
    "review_reopen": {"manager"},
    "review_count_again": {"manager"},
    "prompts": {"manager", "researcher", "reviewer"},
    "import": {"manager"},
    "import_from_hub": {"manager"},
    "imports": {"manager"},
    "rejected": {"manager"},
    "exports": {"manager", "researcher"},
    "download": {"manager", "researcher"},
    "share_snapshot": {"manager", "researcher"},
    "push_snapshot": {"manager", "researcher"},
    "settings": {"manager"},
    "audit_log": {"manager"},
    "copy_project": {"manager"},
    "quality": {"manager", "researcher", "reviewer"},
    "judgments": {"manager", "researcher", "reviewer"},
    "analysis": {"manager", "researcher", "reviewer"},
    "quality_table": {"manager", "researcher", "reviewer"},
    "payment": {"manager", "researcher"},
    "people": {"manager"},
    "labeler": {"manager"},
    "make_account": set(),
    "withdraw_invitation": {"manager"},
    # Only administrators get a way into the account of whoever uses one already.
    "reset_password": set(),
    "remove_role": {"manager"},
    "pause_member": {"manager"},
    "member_work_rules": {"manager"},
}
OUTSIDE_PROJECTS = {
    *("home", "notices", "invitation", "account", "keys", "new_project", "preferences", "catalogue", "tokens"),
    *("all_people", "deletions", "all_events", "shared_snapshot", "shared_file"),
}
POST_ONLY = {
    *("submit", "skip", "undo", "report", "resolve_report", "import", "reset_password", "remove_role"),
    *("set_aside", "use_as_gold", "adjudicate_task", "adjudication_submit", "adjudication_undo", "adjudication_skip"),
    *("review_leave_out", "review_reopen", "review_count_again"),
    *("chat", "choose_kind", "preview", "exam_start", "exam_answer", "exam_item", "exam_examinee"),
    *("read_warnings", "check_task", "undo_alert"),
    *("task_kinds", "withdraw_tasks", "mark_prompt", "make_account", "withdraw_invitation"),
    *("import_from_hub", "push_snapshot"),
    *("copy_project", "change_tasks", "pause_member", "member_work_rules", "share_snapshot"),
}
# Let in, a request without the fields of its form ends in one of these.
LET_IN = {200, 204, 302, 400, 409}
# Let in, these find nothing: no file was written, and the form names no role.
NOT_THERE = {"download", "rejected", "remove_role"}


@pytest.fixture(scope="module")
def made(module_rows: None) -> tuple[Cast, dict[str, Records]]:
    """What those who label have, by name. The addresses of others' records are in test_record_access."""
    cast = make_cast()
    names = ("manager", "reviewer", "labeler", "second_labeler", "admin")
    return cast, {name: make_records(cast.project, getattr(cast, name), f"OF-{name}") for name in names}


@pytest.fixture
def copies(db: None, made: tuple[Cast, dict[str, Records]]) -> tuple[Cast, dict[str, Records]]:
    return copy.deepcopy(made)


@pytest.fixture
def cast(copies: tuple[Cast, dict[str, Records]]) -> Cast:
    return copies[0]


@pytest.fixture
def records(copies: tuple[Cast, dict[str, Records]]) -> dict[str, Records]:
    return copies[1]


def address(pattern: URLPattern, who: str, records: dict[str, Records]) -> str:
    """With the number of a record of the person who asks, or of a labeler where they have none."""
    route = str(pattern.pattern).replace("<slug:slug>", "kindness").replace("<path:name>", "x.jsonl")
    route = route.replace("<slug:name>", "labelers")
    if "<int:" in route:
        parameter = route.partition("<int:")[2].partition(">")[0]
        own = records[who if who in records and parameter != "user_id" else "second_labeler"]
        number = own.open["chat"].pk if pattern.name == "chat_candidates" else own.named(parameter)[0]
        route = route.replace(f"<int:{parameter}>", str(number))
    return "/" + route


PATTERNS = [pattern for pattern in urls.urlpatterns if pattern.name not in OUTSIDE_PROJECTS]


def test_every_page_of_a_project_is_in_this_table() -> None:
    assert {pattern.name for pattern in PATTERNS} == set(MAY)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_who_gets_in(cast: Cast, records: dict[str, Records], client: Client, pattern: URLPattern) -> None:
    name = pattern.name
    ask = client.post if name in POST_ONLY else client.get
    let_in = LET_IN | ({404} if name in NOT_THERE else set())

    signed_out = ask(address(pattern, "signed out", records))
    assert signed_out.status_code == 302
    assert signed_out["Location"].startswith("/accounts/login/")

    for role in sorted(EVERYBODY):
        client.force_login(getattr(cast, role))
        reply = ask(address(pattern, role, records))
        if role in MAY[name]:
            assert reply.status_code in let_in, role
        else:
            assert reply.status_code == 403, role
            assert "project" in reply.content.decode() or not MAY[name]

    client.force_login(cast.outsider)
    assert ask(address(pattern, "outsider", records)).status_code == 404
    client.force_login(cast.admin)
    assert ask(address(pattern, "admin", records)).status_code in let_in


@pytest.mark.parametrize("pattern", [p for p in PATTERNS if p.name in POST_ONLY], ids=lambda pattern: pattern.name)
def test_actions_are_posts(cast: Cast, records: dict[str, Records], client: Client, pattern: URLPattern) -> None:
    client.force_login(cast.manager)
    assert client.get(address(pattern, "manager", records)).status_code == 405


def test_actions_need_the_pages_token(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.manager)
    reply = client.post("/p/kindness/people/", {"roles": "manager"})
    assert reply.status_code == 403
    assert "Nothing was changed" in reply.content.decode()


def test_a_person_sees_only_his_projects_and_his_tabs(cast: Cast, client: Client) -> None:
    client.force_login(cast.labeler)
    home = client.get("/").content.decode()
    assert "Kindness" in home
    assert "Elsewhere" not in home
    work = client.get("/p/kindness/work/").content.decode()
    assert "/p/kindness/guidelines/" in work
    assert "/p/kindness/people/" not in work
    assert "/p/kindness/prompts/" not in work


def test_a_labeler_is_led_from_the_figures_to_his_work(cast: Cast, client: Client) -> None:
    client.force_login(cast.labeler)
    assert client.get("/p/kindness/")["Location"] == "/p/kindness/work/"


def test_pages_allow_no_script_or_style_but_our_own_files(cast: Cast, client: Client) -> None:
    client.force_login(cast.manager)
    for name in ("work", "people", "settings", "prompts", "exports", "guidelines"):
        reply = client.get(f"/p/kindness/{name}/")
        policy = reply["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        page = reply.content.decode()
        assert " style=" not in page
        assert "<style" not in page
        assert "<script>" not in page
        assert "hx-on" not in page
