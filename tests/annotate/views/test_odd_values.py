"""Every address given what no page sends: a reply below 500, and a redirection to nowhere but this site."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client

from annotate.forms.bulk_changes import LeaveOutForm, ReopenForm
from annotate.forms.data_files import HubImportForm, ImportForm, SnapshotForm
from annotate.forms.people import AddAccountForm, InviteForm, WorkRulesForm
from annotate.forms.project import CopyForm, ProjectForm
from annotate.forms.tasks import ExamForm, KindsForm, NewTasksForm
from annotate.models import Membership
from annotate.people import invitations
from annotate.people.keyboard_shortcuts import KEY_ACTIONS
from annotate.views.account import AccountForm
from annotate.views.token_pages import TokenForm
from rlhf.ai_feedback.ai_labeler_forms import AILabelerForm, JudgePromptForm, JudgeRunForm
from rlhf.forms.loop_forms import LoopSettingsForm, RoundsForm
from rlhf.forms.run_form import RunForm
from rlhf.forms.sample_form import SampleForm
from rlhf.views.comparing.evaluations import EvaluationForm
from rlhf.views.gateway_page import GatewayForm, UserForm
from tests.annotate.people.test_record_access import NAMING, ROUTES, as_often_as_wanted, paths
from tests.databases.module_rows import db, module_rows
from tests.factories.cast import PASSWORD, Cast, make_cast
from tests.factories.records import Records, make_records

LONG = "x" * 30_000
ODD = [
    "",
    " ",
    "yes",
    "-1",
    "0",
    "9" * 30,
    "1e309",
    "NaN",
    "²",
    "٣",
    "\0",
    "a\r\nSet-Cookie: a=b",
    "//evil.example/",
    "\\\\evil.example",
    "/\\evil.example",
    "javascript:alert(1)",
    "http://[",
    "{}",
    "[[1]]",
    "%s%n%(x)s{0}",
    "\u202e\ufffe\U000e0001",
    LONG,
]
STORED = ["", "-1", "9" * 30, "NaN", "\0", "\u202e\ufffe\U000e0001", LONG]
"""What one database may take in another way than another; what else is odd is met before it on each."""
__all__ = ["as_often_as_wanted", "db", "module_rows"]

pytestmark = pytest.mark.both_databases

LONG_FORM = 8
TRIPPING = ["9" * 30, "NaN", "\0", "²", "[[1]]"]
WORK = ["client_id", "seconds", "comment", "rubric", "margin", "preference", "improved_from", "improved_text", "text"]
WORK += ["rank-1", "rank-", "rating-1-x", "rating-", "flag-1", "note-1", "all_unacceptable", "back", "shown"]
WORK += ["kind", "use_case", "language", "query-0", "response-0", "query-²", "response-99999999999", "pairs"]
CHAT = ["after", "pick", "edit", "act", "text", "instead_of", "edited_from"]
DRAFT = [*WORK, "draft_version", "draft_base", "draft_page"]
# The fields that each address reads. One that isn't here fails a test.
FIELDS: dict[str, list[str]] = {
    "preferences": ["language", "theme", "next"],
    "account": [*AccountForm.base_fields],
    "notices": ["x"],
    "tokens": [*TokenForm.base_fields, "revoke"],
    "all_events": ["person", "action", "since", "until", "format", "after"],
    "audit_log": ["person", "action", "since", "until", "format", "after"],
    "deletions": ["person", "confirm", "judgments"],
    "all_people": ["person", "act", "reason", "daily_limit", "project"],
    "choose_kind": ["kind"],
    "copy_project": [*CopyForm.base_fields],
    "change_tasks": ["scope", "task", "act", "priority", "skill", "reserved_for"],
    "keys": [*(action.name for action in KEY_ACTIONS), "reset", "off"],
    "invitation": ["username", "full_name", "password", "again"],
    "new_project": [*ProjectForm.base_fields],
    "submit": WORK,
    "undo": ["x"],
    "skip": ["skip_reason", "skip_note"],
    "report": ["report_reason", "report_note", "back"],
    "draft": DRAFT,
    "chat": CHAT,
    "preview": ["text"],
    "exam_start": ["x"],
    "exam_answer": WORK,
    "exam_draft": DRAFT,
    "exam_settings": [*ExamForm.base_fields],
    "exam_item": ["remove", "judgment"],
    "exam_examinee": ["waive", "annul"],
    "check_task": ["remove", "calibrate", "order"],
    "undo_alert": ["x"],
    "read_warnings": ["x"],
    "tasks": [*NewTasksForm.base_fields],
    "task_kinds": [*KindsForm.base_fields],
    "withdraw_tasks": ["kind", "restore"],
    "review_judgment": ["comment", "accept"],
    "resolve_report": ["x"],
    "set_aside": ["x"],
    "use_as_gold": ["x"],
    "adjudicate_task": ["x"],
    "adjudication_submit": WORK,
    "adjudication_undo": ["x"],
    "adjudication_skip": ["skip_reason", "skip_note"],
    "adjudication_draft": DRAFT,
    "review_leave_out": [*LeaveOutForm.base_fields, "preview"],
    "review_reopen": [*ReopenForm.base_fields, "preview"],
    "review_count_again": ["x"],
    "settings": [*ProjectForm.base_fields, "archive"],
    "people": [*InviteForm.base_fields, "username", "role"],
    "make_account": [*AddAccountForm.base_fields],
    "withdraw_invitation": ["x"],
    "reset_password": ["x"],
    "remove_role": ["role"],
    "pause_member": ["reason", "resume"],
    "member_work_rules": [*WorkRulesForm.base_fields],
    "mark_prompt": ["sensitive"],
    "import": [*ImportForm.base_fields],
    "import_from_hub": [f"hub-{name}" for name in HubImportForm.base_fields],
    "imports": ["cancel"],
    "exports": [*SnapshotForm.base_fields],
    "share_snapshot": ["days", "revoke"],
    "push_snapshot": ["repository", "token_variable", "private"],
    "rlhf:new_run": [],
    "rlhf:cancel_run": ["x"],
    "rlhf:resume_run": ["x"],
    "rlhf:checkpoints": ["days"],
    "rlhf:workers": ["action", "worker", "run", "priority"],
    "rlhf:sample": [*SampleForm.base_fields],
    "rlhf:promote": ["x"],
    "rlhf:gateway": [*GatewayForm.base_fields],
    "rlhf:delete_gateway_user": [*UserForm.base_fields, "delete"],
    "rlhf:notifications": ["kind", "address", "events"],
    "rlhf:remove_notification": ["x"],
    "rlhf:test_notification": ["x"],
    "rlhf:replay_delivery": ["x"],
    "rlhf:replay_failed": ["x"],
    "rlhf:import_model": ["source", "kind"],
    "rlhf:model_tags": ["tags"],
    "rlhf:benchmark": ["file", "max_length", "precision", "loss_on", "num_generated", "max_new_tokens"],
    "rlhf:export_gguf": ["type"],
    "rlhf:push_model": ["repository", "private", "token_variable", "what", "base"],
    "rlhf:delete_model": ["x"],
    "rlhf:roll_back": ["x"],
    "rlhf:score_tasks": ["x"],
    "rlhf:start_loop": [*RoundsForm.base_fields],
    "rlhf:loop_settings": [*LoopSettingsForm.base_fields],
    "rlhf:cancel_round": ["x"],
    "rlhf:skip_step": ["step"],
    "rlhf:promote_round": ["x"],
    "rlhf:pause_loop": ["x"],
    "rlhf:resume_loop": ["x"],
    "rlhf:playground": ["is_blind", "version_0", "version_1", "temperature_0", "max_new_tokens_1"],
    "rlhf:playground_ask": ["message"],
    "rlhf:playground_stop": ["x"],
    "rlhf:playground_prefer": ["turn", "choice"],
    "rlhf:new_evaluation": [*EvaluationForm.base_fields],
    "rlhf:cancel_evaluation": ["x"],
    "rlhf:create_ai_labeler": [*AILabelerForm.base_fields],
    "rlhf:start_judge_run": [*JudgeRunForm.base_fields],
    "rlhf:measure_ai_labeler": ["x"],
    "rlhf:save_judge_prompt": [*JudgePromptForm.base_fields],
    "rlhf:save_judge_settings": ["least_agreement", "least_tasks", "weight", "set_tie_margin", "set_max_length"],
    "rlhf:count_ai_labeler": ["count"],
}
READ_ONLY = {
    *(
        "home",
        "catalogue",
        "rejected",
        "overview",
        "work",
        "ahead",
        "task",
        "chat_candidates",
        "exam",
        "mine",
        "review",
        "guidelines",
        "quality_checks",
        "quality",
        "analysis",
        "judgments",
        "shared_snapshot",
        "shared_file",
        "quality_table",
        "payment",
        "labeler",
        "manage_task",
    ),
    *("review_queue", "review_decided", "review_bulk", "adjudicate", "adjudication", "adjudication_orders"),
    *("prompts", "download", "rlhf:training", "rlhf:run", "rlhf:metrics", "rlhf:reward_kl_plot", "rlhf:report"),
    *("rlhf:metrics_file", "rlhf:system_metrics", "rlhf:system_file", "rlhf:compare", "rlhf:model"),
    *("rlhf:model_card", "rlhf:model_archive", "rlhf:model_hashes", "rlhf:gguf_file"),
    "rlhf:playground_chat",
    "rlhf:reward_against_people",
    *("rlhf:evaluations", "rlhf:evaluation", "rlhf:evaluation_table", "rlhf:leaderboard", "rlhf:leaderboard_table"),
    *("rlhf:ai_labelers", "rlhf:ai_labeler", "rlhf:ai_agreement_table"),
    *("rlhf:report_file", "rlhf:models", "rlhf:active_learning", "rlhf:loop", "rlhf:model_status"),
    "rlhf:loop_mix",
}
QUERY = ["page", "show", "kind", "words", "labeler", "version", "since", "done", "back", "split", "next"]
QUERY += ["after", "before", "orders", "with", "run", "low", "high", "smooth", "sort", "column", "model", "by", "name"]
QUERY += ["tag", "q", "state", "first", "last", "use_case", "language", "author", "csv", "comment"]
QUERY += ["mix-0-share", "mix-0-temperature", "mix-0-version", "mix-1-share", "mix-1-prompts"]


@pytest.fixture(scope="module")
def made(module_rows: None) -> tuple[Cast, Records]:
    """The manager's own records, who labels too and so has two roles."""
    cast = make_cast()
    Membership.objects.create(user=cast.manager, project=cast.project, role="labeler")
    return cast, make_records(cast.project, cast.manager, "OWN")


@pytest.fixture
def copies(db: None, made: tuple[Cast, Records]) -> tuple[Cast, Records]:
    return copy.deepcopy(made)


@pytest.fixture
def cast(copies: tuple[Cast, Records]) -> Cast:
    return copies[0]


@pytest.fixture
def records(copies: tuple[Cast, Records]) -> Records:
    return copies[1]


@pytest.fixture
def manager(cast: Cast) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(cast.manager)
    return client


def addresses(name: str, records: Records) -> list[str]:
    found = [path.replace("<slug:stage>", "ppo") for path in paths(name, records, records.project.slug)]
    found = [path.replace("<slug:language>.<slug:version>", "en.x") for path in found]
    if name != "invitation":
        return found
    _, token = invitations.invite(project=records.project, by=records.owner, roles=["labeler"])
    return [path.replace("<slug:token>", each) for path in found for each in (token, "x", "-" * 300)]


def fields_of(name: str, records: Records) -> list[str]:
    if name == "rlhf:new_run":
        return [*RunForm(project=records.project, stage="ppo").fields]
    return FIELDS[name]


def odd_values() -> list[str]:
    return ODD if connection.vendor == "sqlite" else STORED


def posts(names: list[str], *, is_read: bool) -> Iterator[dict[str, str]]:
    """Each value in every field, and those that number parsers trip over in each field alone.

    The fields of a long form are alike, so that each gets one of those values in turn. Where another record's address
    has been given all of this, or the fields aren't read, some values in every field are enough.
    """
    for odd in odd_values() if is_read else TRIPPING:
        yield dict.fromkeys(names, odd)
    for place, name in enumerate(names if is_read else []):
        others = {"after": "0"} if name in CHAT and name != "after" else {}
        tripping = [odd for odd in TRIPPING if odd in odd_values()]
        values = tripping if len(names) <= LONG_FORM else [tripping[place % len(tripping)]]
        yield from (others | {name: odd} for odd in values)


def check(reply: Any, said: str) -> None:
    assert reply.status_code < 500, said
    if 300 <= reply.status_code < 400:
        where = reply["Location"]
        assert where.startswith("/"), said
        assert not where.startswith(("//", "/\\")), said


def test_every_address_is_here() -> None:
    assert set(ROUTES) == set(FIELDS) | READ_ONLY
    assert not set(FIELDS) & READ_ONLY
    assert {name for name, address in NAMING.items() if "POST" in address.methods} <= set(FIELDS)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_form_with_odd_values_has_a_reply(manager: Client, records: Records, name: str) -> None:
    for number, path in enumerate(addresses(name, records)):
        # Of the assignments' addresses one is the chat's, which alone reads the fields of a chat.
        is_read = number == 0 or (name == "chat" and f"/{records.open['chat'].pk}/" in path)
        for form in posts(fields_of(name, records), is_read=is_read):
            check(manager.post(path, form), f"{path} {str(form)[:200]}")
        for body, kind in (
            (b"{", "application/json"),
            (b"--x", "multipart/form-data; boundary=x"),
            (b"\xff=%ff&%00=%zz", FORM),
        ):
            check(manager.post(path, data=body, content_type=kind), f"{path} {body!r}")


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("name", sorted(set(ROUTES)))
def test_an_address_with_odd_queries_has_a_reply(manager: Client, records: Records, name: str) -> None:
    for number, path in enumerate(addresses(name, records)):
        values = odd_values() if number == 0 else TRIPPING
        for query in [*(dict.fromkeys(QUERY, odd) for odd in values if odd != LONG), {"words": LONG[:3000]}]:
            check(manager.get(path, query), f"{path}?{str(query)[:200]}")


@pytest.mark.parametrize("wanted", [*ODD, "annotate:home", "home", "./work", "?a=b", "/\t/evil.example", "/a\x7f"])
def test_a_choice_of_language_leads_to_a_page_of_this_site(client: Client, wanted: str) -> None:
    reply = client.post("/preferences", {"language": "en", "next": wanted})
    assert (reply.status_code, reply["Location"]) == (302, "/")


@pytest.mark.parametrize("wanted", [*ODD, "annotate:home", "./work", "?a=b", "/\t/evil.example"])
def test_a_sign_in_leads_to_a_page_of_this_site(cast: Cast, wanted: str) -> None:
    cache.clear()  # which counts how often somebody changes a password
    client = Client(raise_request_exception=False)
    signed_in = client.post("/accounts/login/", {"login": "labeler", "password": PASSWORD, "next": wanted})
    assert (signed_in.status_code, signed_in["Location"]) == (302, "/")
    change = {"oldpassword": PASSWORD, "password1": "a door of one's own", "password2": "a door of one's own"}
    changed = client.post("/accounts/password/change/", change | {"next": wanted})
    assert (changed.status_code, changed["Location"]) == (302, "/")
    signed_out = client.post("/accounts/logout/", {"next": wanted})
    assert (signed_out.status_code, signed_out["Location"]) == (302, "/accounts/login/")


def test_a_choice_of_language_leads_back_to_where_it_was_made(client: Client) -> None:
    reply = client.post("/preferences", {"language": "en", "next": "/p/kindness/work/?done=3&x=%E4%BD%A0"})
    assert reply["Location"] == "/p/kindness/work/?done=3&x=%E4%BD%A0"


@pytest.mark.parametrize("action", ["waive", "annul"])
def test_a_candidate_with_two_roles_is_one_person(cast: Cast, manager: Client, action: str) -> None:
    for role in ("labeler", "reviewer", "researcher"):
        Membership.objects.get_or_create(user=cast.second_labeler, project=cast.project, role=role)
    reply = manager.post(f"/p/kindness/exam/people/{cast.second_labeler.pk}", {action: "1"})
    assert (reply.status_code, reply["Location"]) == (302, "/p/kindness/exam/settings/")
