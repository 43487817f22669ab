"""Every address of annotate and rlhf, asked for what belongs to a colleague or to another project, by everybody and by
every method and branch: refused, with nothing of its text shown and nothing in the database changed.
"""

import ast
import copy
import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.test import Client
from django.urls import URLPattern, URLResolver

from annotate import urls as annotate_urls
from config.security import request_limits
from rlhf import urls as rlhf_urls
from tests.databases.module_rows import db, module_rows
from tests.factories.cast import Cast, key_of, keys_of, make_cast
from tests.factories.records import Records, make_records

__all__ = ["db", "module_rows"]

pytestmark = pytest.mark.any_database

ROOT = Path(__file__).resolve().parents[3]
LABELING = frozenset({"manager", "reviewer", "labeler", "second_labeler", "admin"})
REVIEWING = frozenset({"manager", "reviewer", "admin"})
TRAINING = frozenset({"manager", "researcher", "admin"})
MANAGING = frozenset({"manager", "admin"})
MEMBERS = frozenset({"manager", "researcher", "reviewer", "labeler", "second_labeler", "admin"})
OUTSIDE = frozenset({"outsider"})
READ, WRITE, BOTH = frozenset({"GET", "HEAD"}), frozenset({"POST"}), frozenset({"GET", "HEAD", "POST"})
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Address:
    """Who reaches a record by this address by which methods; `own`: only its owner does."""

    may: frozenset[str]
    methods: frozenset[str]
    own: bool = False


# Every address that names a record of a project. One that is in none of the three tables fails a test.
NAMING = {
    "task": Address(LABELING, READ, own=True),
    "submit": Address(LABELING, WRITE, own=True),
    "undo": Address(LABELING, WRITE, own=True),
    "skip": Address(LABELING, WRITE, own=True),
    "report": Address(LABELING, WRITE, own=True),
    "draft": Address(LABELING, BOTH, own=True),
    "chat": Address(LABELING, WRITE, own=True),
    "chat_candidates": Address(LABELING, READ, own=True),
    "exam_answer": Address(LABELING, WRITE, own=True),
    "exam_draft": Address(LABELING, BOTH, own=True),
    "exam_item": Address(MANAGING, WRITE),
    "manage_task": Address(MANAGING, READ),
    "exam_examinee": Address(MANAGING, WRITE),
    "check_task": Address(MANAGING, WRITE),
    "undo_alert": Address(MANAGING, WRITE),
    "review_judgment": Address(REVIEWING, BOTH),
    "set_aside": Address(REVIEWING, WRITE),
    "use_as_gold": Address(MANAGING, WRITE),
    "adjudicate_task": Address(REVIEWING, WRITE),
    "adjudication": Address(REVIEWING, READ, own=True),
    "adjudication_submit": Address(REVIEWING, WRITE, own=True),
    "adjudication_undo": Address(REVIEWING, WRITE, own=True),
    "adjudication_skip": Address(REVIEWING, WRITE, own=True),
    "adjudication_draft": Address(REVIEWING, BOTH, own=True),
    "adjudication_orders": Address(REVIEWING, READ, own=True),
    "review_count_again": Address(MANAGING, WRITE),
    "resolve_report": Address(REVIEWING, WRITE),
    "withdraw_invitation": Address(MANAGING, WRITE),
    "reset_password": Address(MANAGING, WRITE),
    "remove_role": Address(MANAGING, WRITE),
    "pause_member": Address(MANAGING, WRITE),
    "member_work_rules": Address(MANAGING, WRITE),
    "mark_prompt": Address(MANAGING, WRITE),
    "labeler": Address(MANAGING, READ),
    "download": Address(TRAINING, READ),
    "share_snapshot": Address(TRAINING, WRITE),
    "push_snapshot": Address(TRAINING, WRITE),
    "rlhf:run": Address(TRAINING, READ),
    "rlhf:metrics": Address(TRAINING, READ),
    "rlhf:metrics_file": Address(TRAINING, READ),
    "rlhf:system_metrics": Address(TRAINING, READ),
    "rlhf:system_file": Address(TRAINING, READ),
    "rlhf:reward_kl_plot": Address(TRAINING, READ),
    "rlhf:report": Address(TRAINING, READ),
    "rlhf:report_file": Address(TRAINING, READ),
    "rlhf:cancel_run": Address(TRAINING, WRITE),
    "rlhf:model": Address(TRAINING, READ),
    "rlhf:model_card": Address(TRAINING, READ),
    "rlhf:model_archive": Address(TRAINING, READ),
    "rlhf:model_hashes": Address(TRAINING, READ),
    "rlhf:model_tags": Address(TRAINING, WRITE),
    "rlhf:benchmark": Address(TRAINING, WRITE),
    "rlhf:export_gguf": Address(TRAINING, WRITE),
    "rlhf:push_model": Address(TRAINING, WRITE),
    "rlhf:gguf_file": Address(TRAINING, READ),
    "rlhf:delete_model": Address(TRAINING, BOTH),
    "rlhf:remove_notification": Address(MANAGING, WRITE),
    "rlhf:test_notification": Address(MANAGING, WRITE),
    "rlhf:replay_delivery": Address(MANAGING, WRITE),
    "rlhf:replay_failed": Address(MANAGING, WRITE),
    "rlhf:resume_run": Address(TRAINING, WRITE),
    "rlhf:promote": Address(TRAINING, BOTH),
    "rlhf:roll_back": Address(TRAINING, BOTH),
    "rlhf:cancel_round": Address(TRAINING, BOTH),
    "rlhf:skip_step": Address(TRAINING, BOTH),
    "rlhf:promote_round": Address(TRAINING, WRITE),
    "rlhf:playground_chat": Address(TRAINING, READ, own=True),
    "rlhf:playground_ask": Address(TRAINING, WRITE, own=True),
    "rlhf:playground_stop": Address(TRAINING, WRITE, own=True),
    "rlhf:playground_prefer": Address(TRAINING, WRITE, own=True),
    "rlhf:evaluation": Address(TRAINING, READ),
    "rlhf:evaluation_table": Address(TRAINING, READ),
    "rlhf:cancel_evaluation": Address(TRAINING, WRITE),
    "rlhf:ai_labeler": Address(TRAINING, READ),
    "rlhf:ai_agreement_table": Address(TRAINING, READ),
    "rlhf:start_judge_run": Address(TRAINING, WRITE),
    "rlhf:measure_ai_labeler": Address(TRAINING, WRITE),
    "rlhf:save_judge_prompt": Address(MANAGING, WRITE),
    "rlhf:save_judge_settings": Address(MANAGING, WRITE),
    "rlhf:count_ai_labeler": Address(MANAGING, WRITE),
}
# Addresses of a project that name no record of it.
PROJECT_ALONE = {
    # Its file lies in the project's own folder.
    "rejected",
    *("overview", "work", "ahead", "preview", "exam", "exam_start", "exam_settings", "tasks", "task_kinds"),
    *("make_account", "choose_kind", "copy_project", "change_tasks", "quality_checks", "read_warnings"),
    *("quality", "quality_table", "payment", "analysis", "judgments", "rlhf:reward_against_people"),
    *("review_queue", "review_decided", "adjudicate", "review_bulk", "review_leave_out", "review_reopen"),
    *("withdraw_tasks", "mine", "review", "guidelines", "settings", "people", "prompts", "import", "imports"),
    "import_from_hub",
    *("exports", "audit_log"),
    *(
        "rlhf:training",
        "rlhf:checkpoints",
        "rlhf:new_run",
        "rlhf:models",
        "rlhf:import_model",
        "rlhf:notifications",
        "rlhf:sample",
        "rlhf:active_learning",
        "rlhf:score_tasks",
    ),
    "rlhf:compare",
    *("rlhf:loop", "rlhf:start_loop", "rlhf:loop_settings", "rlhf:loop_mix", "rlhf:pause_loop", "rlhf:resume_loop"),
    *("rlhf:evaluations", "rlhf:new_evaluation", "rlhf:leaderboard", "rlhf:leaderboard_table"),
    "rlhf:playground",
    *("rlhf:ai_labelers", "rlhf:create_ai_labeler"),
    *("rlhf:gateway", "rlhf:delete_gateway_user"),
}
WITHOUT_A_PROJECT = {
    "home",
    "invitation",
    "shared_snapshot",
    "shared_file",
    "account",
    "keys",
    "tokens",
    "notices",
    "new_project",
    "all_events",
    "deletions",
    "all_people",
    "preferences",
    "catalogue",
    "rlhf:model_status",
    "rlhf:workers",
}


def named_routes() -> dict[str, str]:
    """{name: route} of every address of the two packages."""
    found = {pattern.name or "": str(pattern.pattern) for pattern in annotate_urls.urlpatterns}
    for pattern in rlhf_urls.urlpatterns:
        inner = pattern.url_patterns if isinstance(pattern, URLResolver) else [pattern]
        prefix = str(pattern.pattern) if isinstance(pattern, URLResolver) else ""
        for each in inner:
            assert isinstance(each, URLPattern)
            found[f"rlhf:{each.name}"] = prefix + str(each.pattern)
    return found


ROUTES = named_routes()


def paths(name: str, records: Records, slug: str) -> list[str]:
    """The address with each of the records' numbers in it."""
    route = "/" + ROUTES[name].replace("<slug:slug>", slug).replace("<path:name>", "x.jsonl")
    route = route.replace("<str:token>", "x").replace("<slug:name>", "labelers").replace("<slug:table>", "ratings")
    if "<int:" not in route:
        return [route]
    parameter = route.partition("<int:")[2].partition(">")[0]
    return [route.replace(f"<int:{parameter}>", str(number)) for number in records.named(parameter)]


def forms(name: str, records: Records) -> list[dict[str, Any]]:
    """What the pages of these records would send, branch by branch."""
    client = {"client_id": str(uuid.uuid4()), "seconds": "1"}
    ranks = {f"rank-{key}": "1" for key in keys_of(records.open["compare"])}
    exam_ranks = {f"rank-{key}": "1" for key in keys_of(records.exam_answer)}
    candidates = [candidate.pk for candidate in records.candidates]
    key = key_of(records.open["chat"], candidates[0])
    decided = {f"rank-{key}": "1" for key in keys_of(records.adjudication)}
    return {
        "adjudication_submit": [client | decided, {}],
        "adjudication_skip": [{"skip_reason": "broken"}, {}],
        "adjudication_draft": [decided | {"draft_version": "9", "draft_base": "0", "draft_page": "p"}, {}],
        "submit": [client | ranks, client | ranks | {"back": "mine"}, client | {"text": "mine"}, {}],
        "undo": [{}],
        "skip": [{"skip_reason": "broken"}, {"skip_reason": "upsetting"}, {}],
        "report": [{"report_reason": "broken", "report_note": "n"}, {}],
        "draft": [ranks | {"draft_version": "9", "draft_base": "0", "draft_page": "p"}, {"draft_version": "x"}, {}],
        "chat": [
            *({"after": "0", act: str(candidate)} for act in ("pick", "edit") for candidate in (candidates[0], key)),
            *({"after": "0", "act": act, "text": "t"} for act in ("ask", "write", "say", "take_back", "other", "")),
            {"after": "0", "act": "ask", "instead_of": "1"},
            {"after": "0", "act": "write", "text": "t", "edited_from": key},
            {"after": "x", "edit": str(candidates[0])},
            {},
        ],
        "exam_answer": [client | exam_ranks, client | {"all_unacceptable": "1"}, {}],
        "exam_draft": [exam_ranks | {"draft_version": "9"}, {}],
        "exam_item": [{}, {"remove": "1"}, {"judgment": "1"}],
        "check_task": [{}, {"remove": "1"}, {"calibrate": "1"}, {"order": "judgment"}, {"order": "consensus"}],
        "exam_examinee": [{}, {"waive": "1"}, {"annul": "1"}],
        "review_judgment": [{"comment": "again"}, {}],
        "reset_password": [{}],
        "remove_role": [{"role": "labeler"}, {"role": "manager"}, {}],
        "pause_member": [{"reason": "too fast"}, {"resume": "yes"}, {}],
        "member_work_rules": [{"daily_limit": "5", "languages": "en", "skills": "law"}, {"languages": "1"}, {}],
        "mark_prompt": [{"sensitive": "yes"}, {}],
    }.get(name, [{}])


def requests(name: str, records: Records) -> Iterator[tuple[str, str, dict[str, Any], dict[str, str]]]:
    """(path, method, form, headers): at the first of the paths, and at the one of a chat, each method, those that there
    are by a script as well, and each branch of a form; at the others the methods that there are."""
    for number, path in enumerate(paths(name, records, "kindness")):
        in_full = number == 0 or (name == "chat" and f"/{records.open['chat'].pk}/" in path)
        for method in METHODS if in_full else sorted(NAMING[name].methods):
            branches = forms(name, records) if method == "POST" and "POST" in NAMING[name].methods else [{}]
            yield from ((path, method, form, {}) for form in (branches if in_full else branches[:1]))
            if in_full and method in NAMING[name].methods:
                yield path, method, branches[0], {"HX-Request": "true"}


def database() -> str:
    """A digest of every row of ours."""
    digest = hashlib.sha256()
    with connection.cursor() as cursor:
        for label in ("annotate", "rlhf"):
            for model in apps.get_app_config(label).get_models(include_auto_created=True):
                rows = cursor.execute(f"SELECT * FROM {model._meta.db_table} ORDER BY 1").fetchall()
                digest.update(repr(rows).encode())
    return digest.hexdigest()


@pytest.fixture(autouse=True)
def as_often_as_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends more costly requests than a person does is told so, whatever they are."""
    monkeypatch.setattr(request_limits, "COSTLY", {})


@dataclass(frozen=True, kw_only=True)
class World:
    """A project with its people, what a colleague has there, and what another project has; sessions: cookies."""

    cast: Cast
    colleagues: Records
    elsewhere: Records
    sessions: dict[str, str]


@pytest.fixture(scope="module")
def made(module_rows: None) -> World:
    cast = make_cast()
    names = ("manager", "researcher", "reviewer", "labeler", "second_labeler", "outsider", "admin")
    clients = {name: Client() for name in names}
    for name, client in clients.items():
        client.force_login(getattr(cast, name))
    return World(
        cast=cast,
        colleagues=make_records(cast.project, cast.second_labeler, "COLLEAGUES-TEXT"),
        elsewhere=make_records(cast.other_project, cast.outsider, "ELSEWHERES-TEXT"),
        sessions={name: client.cookies[settings.SESSION_COOKIE_NAME].value for name, client in clients.items()},
    )


@pytest.fixture
def world(db: None, made: World) -> World:
    return copy.deepcopy(made)


@pytest.fixture
def cast(world: World) -> Cast:
    return world.cast


@pytest.fixture
def people(world: World) -> dict[str, Client]:
    clients = {name: Client() for name in world.sessions}
    for name, client in clients.items():
        client.cookies[settings.SESSION_COOKIE_NAME] = world.sessions[name]
    return clients | {"anonymous": Client()}


def expected(name: str, who: str, method: str, *, elsewhere: bool) -> set[int]:
    """The replies that are right for somebody who asks for a record that isn't theirs."""
    address = NAMING[name]
    if method not in address.methods:
        return {405}
    if who == "anonymous":
        return {302}
    if who == "outsider":
        return {404}
    if who not in address.may:
        return {403}
    return {404} if elsewhere else {403}


def refuse_all(name: str, people: dict[str, Client], records: Records, *, elsewhere: bool, but: set[str]) -> None:
    """Compares the database once; what was written tells whose request it was."""
    before, written = database(), list[str]()

    def note_writes(execute: Any, sql: str, *arguments: Any) -> Any:
        if sql.startswith(("INSERT", "UPDATE", "DELETE")):
            written.append(f"{method} {path} as {who}: {sql[:100]}")
        return execute(sql, *arguments)

    for who, client in people.items():
        if who in but:
            continue
        for path, method, form, headers in requests(name, records):
            ask = getattr(client, method.lower())
            with connection.execute_wrapper(note_writes):
                reply = (
                    ask(path, form, headers=headers)
                    if method in ("GET", "HEAD", "POST")
                    else ask(path, data=f"after=0&edit={records.candidates[0].pk}", headers=headers)
                )
            said = f"{method} {path} {form} as {who}: {reply.status_code}"
            allowed = expected(name, who, method, elsewhere=elsewhere)
            # To a script a redirection to the sign-in page is said as 401.
            allowed = {401} if allowed == {302} and headers else allowed
            assert reply.status_code in allowed, said
            assert records.mark not in b"".join(reply).decode(errors="replace"), said
    assert database() == before, f"{name} changed something: {written}"


def test_every_address_is_classified() -> None:
    naming = {name for name, route in ROUTES.items() if "<int:" in route}
    assert naming == set(NAMING)
    assert set(ROUTES) - naming == PROJECT_ALONE | WITHOUT_A_PROJECT
    assert all(route.startswith("p/<slug:slug>/") for name, route in ROUTES.items() if name not in WITHOUT_A_PROJECT)


@pytest.mark.parametrize("name", sorted(NAMING))
def test_what_belongs_to_another_project_is_not_there(world: World, people: dict[str, Client], name: str) -> None:
    records = world.elsewhere
    refuse_all(name, people, records, elsewhere=True, but=set())
    # Nor by its own project's address, to whoever isn't a member there.
    for path in paths(name, records, world.cast.other_project.slug):
        for method in sorted(NAMING[name].methods):
            for who in ("manager", "labeler"):
                reply = getattr(people[who], method.lower())(path, {"edit": records.candidates[0].pk, "after": 0})
                assert reply.status_code == 404, f"{method} {path} as {who}"


@pytest.mark.parametrize("name", sorted(name for name, address in NAMING.items() if address.own))
def test_what_is_a_colleagues_own_is_refused_to_everybody_else(
    world: World, people: dict[str, Client], name: str
) -> None:
    refuse_all(name, people, world.colleagues, elsewhere=False, but={"second_labeler"})


@pytest.mark.parametrize("name", sorted(name for name, address in NAMING.items() if not address.own))
def test_what_a_role_reaches_is_refused_to_the_other_roles(world: World, people: dict[str, Client], name: str) -> None:
    refuse_all(name, people, world.colleagues, elsewhere=False, but=set(NAMING[name].may))


@pytest.mark.parametrize("name", sorted(NAMING))
def test_whoever_may_reaches_the_same_records(world: World, people: dict[str, Client], name: str) -> None:
    """The refusals above are no accident of the numbers: whoever may have the record gets past them."""
    cast, records = world.cast, world.colleagues
    address = NAMING[name]
    who = "second_labeler" if address.own else "admin"
    if address.own and address.may == REVIEWING:
        cast.project.memberships.create(user=cast.second_labeler, role="reviewer")
    if address.own and address.may == TRAINING:
        cast.project.memberships.create(user=cast.second_labeler, role="researcher")
    for path in paths(name, records, "kindness"):
        for method in sorted(address.methods):
            reply = getattr(people[who], method.lower())(path, {"after": "0", "edit": str(records.candidates[0].pk)})
            not_there = {"rlhf:reward_kl_plot", "rlhf:report", "rlhf:report_file", "download"}  # no file was written
            not_there |= {"rlhf:model_archive", "rlhf:model_hashes", "rlhf:gguf_file"}
            reached = {200, 204, 302, 400, 409} | ({404} if name in not_there else set())
            reached |= {403} if name == "chat_candidates" and f"/{records.open['chat'].pk}/" not in path else set()
            # A member has no such role; the labeler isn't one who may be managed away.
            reached |= {404} if name == "remove_role" else set()
            assert reply.status_code in reached, f"{method} {path}: {reply.status_code}"


def test_views_load_records_by_the_one_way_only() -> None:
    """No view asks the database for a record by number itself."""
    offences = []
    views = [*(ROOT / "annotate/views").rglob("*.py"), *(ROOT / "rlhf/views").rglob("*.py")]
    for path in [*views, *ROOT.glob("*/api/*_routes.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            by_number = {"pk", "id"} & {keyword.arg for keyword in node.keywords}
            source = ast.unparse(node)
            is_own = any(own in source for own in ("pk=request.user.pk", "pk=user.pk", "own.filter(pk="))
            is_query = called in ("get", "filter", "exclude") and by_number and not is_own
            if called in ("get_object_or_404", "get_list_or_404") or is_query:
                offences.append(f"{path.relative_to(ROOT)}:{node.lineno}: {source[:90]}")
    assert offences == []


def test_a_kind_of_record_without_a_rule_is_refused(cast: Cast, rf: Any) -> None:
    from annotate import access
    from annotate.models import Rubric
    from annotate.people.permissions import capabilities

    request = rf.get("/")
    request.user, request.project = cast.admin, cast.project
    request.capabilities = capabilities(cast.admin, cast.project)
    with pytest.raises(LookupError):
        access.load(request, Rubric, pk=1)
