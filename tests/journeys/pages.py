"""Every page and state of a page that people see, and how to come there. A page that isn't here fails test_pages."""

from collections.abc import Callable
from dataclasses import dataclass
from unittest import mock

from django.conf import settings
from django.test import Client
from playwright.sync_api import Page

from config.security import sign_in
from tests.factories.cast import PASSWORD

OUTSIDE = ""
"""Nobody is signed in."""


@dataclass(frozen=True)
class State:
    """A page, or something that happens on it. `name` names its pictures; `path` has places for the world's keys."""

    name: str
    url_name: str
    path: str
    come: Callable[[Page], None] | None = None
    complains: str = ""
    """What the browser's console says of it: the status of an error page."""


def keys(*presses: str) -> Callable[[Page], None]:
    def press(page: Page) -> None:
        page.wait_for_function("() => document.readyState === 'complete' && globalThis.hone")
        for key in presses:
            page.keyboard.press(key)

    return press


def sign_in_wrongly(page: Page) -> None:
    page.fill("[name=login]", "nobody")
    page.fill("[name=password]", "wrong")
    page.click("main button[type=submit]")
    page.locator(".notice.error").wait_for()


def confirm_password(page: Page) -> None:
    page.fill("[name=password]", PASSWORD)
    page.click("main button[type=submit]")
    page.locator("svg.qr-code").wait_for()


def sign_in_too_often(page: Page) -> None:
    """Wrong passwords up to the last that is let pass; that one by the page."""
    for _ in range(sign_in.PAIR.burst):
        Client(REMOTE_ADDR="127.0.0.1").post(page.url, {"login": "somebody", "password": "wrong"})
    page.fill("[name=login]", "somebody")
    page.fill("[name=password]", "wrong")
    page.click("main button[type=submit]")
    page.locator("main a.button[href*=login]").wait_for()


def lose_the_cookies(page: Page) -> None:
    page.context.clear_cookies(name=settings.CSRF_COOKIE_NAME)
    page.locator(".foot button[name=theme]").first.evaluate("button => button.form.submit()")
    page.wait_for_url("**/preferences")


def send_too_many_fields(page: Page) -> None:
    page.locator(".foot form").evaluate(
        """(form, most) => {
            const field = (n) => Object.assign(document.createElement("input"), { name: `n${n}` });
            form.append(...Array.from({ length: most + 1 }, (_, n) => field(n)));
            form.submit();
        }""",
        settings.DATA_UPLOAD_MAX_NUMBER_FIELDS,
    )
    page.wait_for_url("**/preferences")


def break_the_server(page: Page) -> None:
    with mock.patch("annotate.people.permissions.enter_project", side_effect=RuntimeError("broken on purpose")):
        page.reload()


def make_token(page: Page) -> None:
    page.fill("[name=name]", "notebook")
    page.check("[name=scopes][value=see_data]")
    page.locator("form.card button[type=submit]").click()
    page.locator("main code.secret").wait_for()


def import_badly(page: Page) -> None:
    page.set_input_files(
        "input[type=file]", {"name": "x.jsonl", "mimeType": "text/plain", "buffer": b'{"prompt": 1}\n'}
    )
    page.click("form[enctype] button[type=submit]")
    page.locator(".notice.error, .field .error").first.wait_for()


def invite(page: Page) -> None:
    page.fill("[name=label]", "Nora")
    page.click("main form.card button[type=submit]")
    page.locator(".notice .code").wait_for()


def accept_wrongly(page: Page) -> None:
    page.fill("[name=username]", "nora")
    page.fill("[name=password]", "nora-nora-nora")
    page.fill("[name=again]", "nora-nora-nora")
    page.click("main form.card button[type=submit]")
    page.locator(".notice.error").wait_for()


def save_wrongly(page: Page) -> None:
    page.evaluate("document.querySelectorAll('main form').forEach((form) => { form.noValidate = true; })")
    page.fill("[name=name]", "")
    page.click("main form button.primary")
    page.locator(".field.wrong").wait_for()


def open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")


def change_a_setting(page: Page) -> None:
    page.fill("[name=set_kl_coef]", "0.4")
    page.locator("#estimate td", has_text="0.4").wait_for()


def show_gateway_user(page: Page) -> None:
    page.fill("[name=user]", "somebody")
    page.locator("main form button[type=submit]").first.click()
    page.locator("main table.data").wait_for()


def start_exam(page: Page) -> None:
    page.locator("main form button.primary").first.click()
    page.locator("#board, form.board, .responses").first.wait_for()


def ask_for_orders(page: Page) -> None:
    page.click("#labeler-orders a.button")
    page.locator("#labeler-orders-title").wait_for()


def ask_how_many(page: Page) -> None:
    page.locator("form[action$=reopen] button[name=preview]").click()
    page.locator("form[action$=reopen] .notice").wait_for()


STATES: dict[str, list[State]] = {
    OUTSIDE: [
        State("sign-in", "account_login", "/accounts/login/"),
        State("sign-in-wrong", "account_login", "/accounts/login/", sign_in_wrongly),
        State("invitation", "annotate:invitation", "/invitation/{invitation}/"),
        State(
            "invitation-wrong", "annotate:invitation", "/invitation/{invitation}/", accept_wrongly, complains=" 400 "
        ),
        State("shared-snapshot", "annotate:shared_snapshot", "/shared/{shared}/"),
        State("shared-snapshot-over", "annotate:shared_snapshot", "/shared/1-x/", complains=" 404 "),
        State("not-found", "", "/no/such/page", complains=" 404 "),
        State("locked-out", "account_login", "/accounts/login/", sign_in_too_often, complains=" 429 "),
    ],
    "manager": [
        State("new-project", "annotate:new_project", "/p/new/"),
        State("new-project-template", "annotate:new_project", "/p/new/?template=harmlessness"),
        State("new-project-wrong", "annotate:new_project", "/p/new/", save_wrongly, complains=" 400 "),
        State("overview", "annotate:overview", "/p/kindness/", open_all),
        State("overview-empty", "annotate:overview", "/p/blank/"),
        State("prompts", "annotate:prompts", "/p/kindness/prompts/", open_all),
        State("prompts-empty", "annotate:prompts", "/p/blank/prompts/"),
        State("imports", "annotate:imports", "/p/kindness/prompts/imports"),
        State("prompts-broken-file", "annotate:import", "/p/blank/prompts/", import_badly, complains=" 400 "),
        State("exports", "annotate:exports", "/p/kindness/exports/"),
        State("exports-empty", "annotate:exports", "/p/blank/exports/"),
        State("quality", "annotate:quality", "/p/kindness/quality/", open_all),
        State("quality-empty", "annotate:quality", "/p/blank/quality/"),
        State("analysis", "annotate:analysis", "/p/kindness/analysis/", open_all),
        State("judgments", "annotate:judgments", "/p/kindness/judgments/", open_all),
        State("judgments-wrong", "annotate:judgments", "/p/kindness/judgments/?q=!!!&state=odd&first=2026"),
        State("judgments-empty", "annotate:judgments", "/p/blank/judgments/"),
        State("analysis-empty", "annotate:analysis", "/p/blank/analysis/"),
        State("people", "annotate:people", "/p/kindness/people/", open_all),
        State("labeler", "annotate:labeler", "/p/kindness/people/{second_labeler}/", open_all),
        State("labeler-without-work", "annotate:labeler", "/p/blank/people/{blank_labeler}/"),
        State("all-people", "annotate:all_people", "/people/"),
        State("people-invited", "annotate:people", "/p/blank/people/", invite),
        State("settings", "annotate:settings", "/p/kindness/settings/"),
        State("audit-log", "annotate:audit_log", "/p/kindness/audit/"),
        State("audit-log-empty", "annotate:audit_log", "/p/kindness/audit/?since=2030-01-01"),
        State("guidelines", "annotate:guidelines", "/p/kindness/guidelines/"),
        State("guidelines-empty", "annotate:guidelines", "/p/blank/guidelines/"),
        State("tasks", "annotate:tasks", "/p/kindness/tasks/", open_all),
        State("tasks-filtered", "annotate:tasks", "/p/kindness/tasks/?state=open&kind=compare&language=en"),
        State("tasks-none-left", "annotate:tasks", "/p/blank/tasks/?state=withdrawn"),
        State("one-task", "annotate:manage_task", "/p/kindness/tasks/{comparison}/", open_all),
        State("exam-settings", "annotate:exam_settings", "/p/gated/exam/settings/", open_all),
        State("quality-checks", "annotate:quality_checks", "/p/checked/checks/", open_all),
        State("quality-checks-empty", "annotate:quality_checks", "/p/blank/checks/"),
        State("review", "annotate:review", "/p/kindness/review/"),
        State("review-empty", "annotate:review", "/p/blank/review/"),
        State("review-queue", "annotate:review_queue", "/p/disputed/review/queue/"),
        State("review-queue-empty", "annotate:review_queue", "/p/blank/review/queue/"),
        State("adjudicate", "annotate:adjudicate", "/p/disputed/review/board/"),
        State("adjudicate-orders", "annotate:adjudicate", "/p/disputed/review/board/", ask_for_orders),
        State("adjudicate-empty", "annotate:adjudicate", "/p/blank/review/board/"),
        State("adjudicated-board", "annotate:adjudication", "/p/disputed/review/board/{adjudication}/"),
        State("adjudicated", "annotate:review_decided", "/p/disputed/review/adjudicated/"),
        State("adjudicated-empty", "annotate:review_decided", "/p/blank/review/adjudicated/"),
        State("adjudicated-judgment", "annotate:review_judgment", "/p/disputed/review/{adjudicated}/"),
        State("review-bulk", "annotate:review_bulk", "/p/disputed/review/bulk/"),
        State("review-bulk-how-many", "annotate:review_reopen", "/p/kindness/review/bulk/", ask_how_many),
        State("review-judgment", "annotate:review_judgment", "/p/kindness/review/{judgment}/"),
        State("training", "rlhf:training", "/p/kindness/training/"),
        State("workers", "rlhf:workers", "/workers/"),
        State("checkpoints", "rlhf:checkpoints", "/p/kindness/training/checkpoints"),
        State("training-empty", "rlhf:training", "/p/blank/training/"),
        State("new-run-sft", "rlhf:new_run", "/p/kindness/training/new/sft", open_all),
        State("new-run-ppo", "rlhf:new_run", "/p/kindness/training/new/ppo", open_all),
        State("new-run-preset", "rlhf:new_run", "/p/kindness/training/new/ppo?preset=instructgpt"),
        State("new-run-clone", "rlhf:new_run", "/p/kindness/training/new/ppo?clone={run_policy}", change_a_setting),
        State("run-queued", "rlhf:run", "/p/kindness/runs/{run_queued}/"),
        State("run-running", "rlhf:run", "/p/kindness/runs/{run_running}/"),
        State("run-failed", "rlhf:run", "/p/kindness/runs/{run_failed}/"),
        State("run-succeeded", "rlhf:run", "/p/kindness/runs/{run_succeeded}/", open_all),
        State("run-policy", "rlhf:run", "/p/kindness/runs/{run_policy}/", open_all),
        State("compare", "rlhf:compare", "/p/kindness/training/compare?run={run_succeeded}&run={run_policy}", open_all),
        State("compare-nothing", "rlhf:compare", "/p/kindness/training/compare"),
        State("report", "rlhf:report", "/p/kindness/runs/{run_succeeded}/report/", open_all),
        State("models", "rlhf:models", "/p/kindness/models/"),
        State("model", "rlhf:model", "/p/kindness/models/{candidate}/", open_all),
        State("notifications", "rlhf:notifications", "/p/kindness/notifications/", open_all),
        State("notifications-empty", "rlhf:notifications", "/p/blank/notifications/"),
        State("import-model", "rlhf:import_model", "/p/kindness/models/import"),
        State("delete-model", "rlhf:delete_model", "/p/kindness/models/{candidate}/delete"),
        State("delete-model-in-use", "rlhf:delete_model", "/p/kindness/models/{policy}/delete"),
        State("promote", "rlhf:promote", "/p/kindness/models/{candidate}/promote"),
        State("roll-back", "rlhf:roll_back", "/p/kindness/models/{policy}/roll-back"),
        State("gateway", "rlhf:gateway", "/p/kindness/gateway/"),
        State("gateway-open", "rlhf:gateway", "/p/aided/gateway/"),
        State("delete-gateway-user", "rlhf:delete_gateway_user", "/p/aided/gateway/delete-user"),
        State(
            "delete-gateway-user-shown", "rlhf:delete_gateway_user", "/p/aided/gateway/delete-user", show_gateway_user
        ),
        State("playground", "rlhf:playground", "/p/compared/playground/"),
        State("playground-empty", "rlhf:playground", "/p/blank/playground/"),
        State("playground-chat", "rlhf:playground_chat", "/p/compared/playground/{playground}/"),
        State("playground-blind", "rlhf:playground_chat", "/p/compared/playground/{playground_blind}/"),
        State("ai-labelers", "rlhf:ai_labelers", "/p/aided/ai-labelers/"),
        State("ai-labelers-empty", "rlhf:ai_labelers", "/p/blank/ai-labelers/"),
        State("ai-labeler", "rlhf:ai_labeler", "/p/aided/ai-labelers/{ai_labeler}/", open_all),
        State("evaluations", "rlhf:evaluations", "/p/compared/evaluations/"),
        State("evaluations-empty", "rlhf:evaluations", "/p/blank/evaluations/"),
        State("new-evaluation", "rlhf:new_evaluation", "/p/compared/evaluations/new", open_all),
        State("evaluation", "rlhf:evaluation", "/p/compared/evaluations/{evaluation}/", open_all),
        State("evaluation-judging", "rlhf:evaluation", "/p/compared/evaluations/{evaluation_open}/"),
        State("leaderboard", "rlhf:leaderboard", "/p/compared/leaderboard/"),
        State("reward-against-people", "rlhf:reward_against_people", "/p/kindness/analysis/reward/", open_all),
        State("reward-against-people-empty", "rlhf:reward_against_people", "/p/blank/analysis/reward/"),
        State("leaderboard-empty", "rlhf:leaderboard", "/p/blank/leaderboard/"),
        State("loop", "rlhf:loop", "/p/kindness/loop/"),
        State("loop-waiting", "rlhf:loop", "/p/compared/loop/"),
        State("loop-skip", "rlhf:skip_step", "/p/kindness/loop/4/skip"),
        State("loop-cancel", "rlhf:cancel_round", "/p/kindness/loop/4/cancel"),
        State("choices", "rlhf:active_learning", "/p/kindness/next/"),
        State("choices-empty", "rlhf:active_learning", "/p/blank/next/"),
        State("loop-empty", "rlhf:loop", "/p/blank/loop/", open_all),
        State("home-of-a-manager", "annotate:home", "/"),
        State("notices", "annotate:notices", "/notices/"),
        State("account", "annotate:account", "/account/"),
        State("tokens", "annotate:tokens", "/account/tokens/"),
        State("token-made", "annotate:tokens", "/account/tokens/", make_token),
        State("api-reference", "", "/api/v1/docs"),
        State("sign-out", "account_logout", "/accounts/logout/"),
        State("sessions", "sessions", "/accounts/sessions/"),
        State("second-factor", "mfa_index", "/accounts/2fa/"),
        State("reauthenticate", "account_reauthenticate", "/accounts/reauthenticate/"),
        State(
            "second-factor-set-up",
            "mfa_activate_totp",
            "/accounts/reauthenticate/?next=/accounts/2fa/set-up/",
            confirm_password,
        ),
        State("change-password", "account_change_password", "/accounts/password/change/"),
    ],
    "labeler": [
        State("home", "annotate:home", "/", open_all),
        State("keys", "annotate:keys", "/account/keys/"),
        State("invitation-signed-in", "annotate:invitation", "/invitation/{invitation}/"),
        State("invitation-used", "annotate:invitation", "/invitation/used-before/", complains=" 404 "),
        State("not-found-by-a-member", "", "/p/no-such-project/", complains=" 404 "),
        State("unreadable", "", "/account/keys/", send_too_many_fields, complains=" 400 "),
        State("untrusted", "", "/account/keys/", lose_the_cookies, complains=" 403 "),
        State("broken", "", "/p/kindness/guidelines/", break_the_server, complains=" 500 "),
        State("not-open-to-you", "", "/p/kindness/people/", complains=" 403 "),
        State("board", "annotate:work", "/p/kindness/work/"),
        State("board-ranked", "annotate:work", "/p/kindness/work/", keys("1", "2", "2")),
        State("board-keys", "annotate:work", "/p/kindness/work/", keys("?")),
        State("board-compare", "annotate:work", "/p/kindness/work/", keys("d")),
        State("board-skip", "annotate:work", "/p/kindness/work/", keys("s")),
        State("board-report", "annotate:work", "/p/kindness/work/", keys("p")),
        State("board-improve", "annotate:work", "/p/kindness/work/", keys("1", "i")),
        State("board-open", "annotate:work", "/p/kindness/work/", open_all),
        State("board-pair", "annotate:work", "/p/pair/work/"),
        State("board-slider", "annotate:work", "/p/slider/work/"),
        State("board-nine", "annotate:work", "/p/nine/work/"),
        State("board-upsetting", "annotate:work", "/p/upsetting/work/"),
        State("nothing-to-do", "annotate:work", "/p/blank/work/"),
        State("demonstrate", "annotate:work", "/p/demonstrate/work/", open_all),
        State("write-prompt", "annotate:work", "/p/write-prompt/work/", open_all),
        State("rate", "annotate:work", "/p/rate/work/", open_all),
        State("chat", "annotate:work", "/p/chat/work/", open_all),
        State("exam-gate", "annotate:work", "/p/gated/work/"),
        State("exam", "annotate:exam", "/p/gated/exam/"),
        State("exam-begun", "annotate:exam", "/p/gated/exam/", start_exam),
        State("earlier-task", "annotate:task", "/p/kindness/work/{task}/"),
        State("my-work", "annotate:mine", "/p/kindness/mine/"),
        State("my-work-empty", "annotate:mine", "/p/blank/mine/"),
    ],
    "admin": [
        State("all-events", "annotate:all_events", "/audit/"),
        State("deletions", "annotate:deletions", "/people/deletions/?person=labeler"),
    ],
}
WITHOUT_A_PAGE = {
    "no_api",
    *("no_gateway", "gateway_alone"),
    *("annotate:preferences", "annotate:catalogue", "annotate:submit", "annotate:undo", "annotate:skip"),
    *(
        "annotate:report",
        "annotate:draft",
        "annotate:ahead",
        "annotate:choose_kind",
        "annotate:chat",
        "annotate:chat_candidates",
        "annotate:preview",
    ),
    *(
        "annotate:choose_kind",
        "annotate:exam_start",
        "annotate:exam_answer",
        "annotate:exam_draft",
        "annotate:exam_item",
    ),
    *("annotate:read_warnings", "annotate:check_task", "annotate:undo_alert"),
    *("annotate:exam_examinee", "annotate:task_kinds", "annotate:withdraw_tasks", "annotate:resolve_report"),
    *(
        "annotate:make_account",
        "annotate:withdraw_invitation",
        "annotate:reset_password",
        "annotate:remove_role",
        "annotate:pause_member",
        "annotate:member_work_rules",
        "annotate:mark_prompt",
        "annotate:download",
        "annotate:share_snapshot",
        "annotate:push_snapshot",
        "annotate:shared_file",
        "annotate:rejected",
        "annotate:import_from_hub",
        "annotate:payment",
        "annotate:quality_table",
    ),
    *("annotate:copy_project", "annotate:change_tasks"),
    *("annotate:adjudicate_task", "annotate:adjudication_submit", "annotate:adjudication_undo"),
    *("annotate:adjudication_skip", "annotate:adjudication_draft", "annotate:adjudication_orders"),
    *("annotate:set_aside", "annotate:use_as_gold", "annotate:review_leave_out", "annotate:review_count_again"),
    *("rlhf:report_file", "rlhf:reward_kl_plot"),
    *("rlhf:metrics_file", "rlhf:system_metrics", "rlhf:system_file"),
    *("rlhf:model_card", "rlhf:model_archive", "rlhf:model_hashes", "rlhf:model_tags"),
    *("rlhf:remove_notification", "rlhf:test_notification", "rlhf:replay_delivery", "rlhf:replay_failed"),
    *("rlhf:benchmark", "rlhf:export_gguf", "rlhf:push_model", "rlhf:gguf_file"),
    *("rlhf:playground_ask", "rlhf:playground_stop", "rlhf:playground_prefer"),
    *("rlhf:create_ai_labeler", "rlhf:start_judge_run", "rlhf:measure_ai_labeler", "rlhf:ai_agreement_table"),
    *("rlhf:save_judge_prompt", "rlhf:save_judge_settings", "rlhf:count_ai_labeler"),
    *("rlhf:cancel_evaluation", "rlhf:evaluation_table", "rlhf:leaderboard_table"),
    *("rlhf:metrics", "rlhf:cancel_run", "rlhf:resume_run", "rlhf:sample", "rlhf:start_loop"),
    *("rlhf:loop_mix", "rlhf:pause_loop", "rlhf:resume_loop", "rlhf:promote_round"),
    *("rlhf:loop_settings", "rlhf:score_tasks", "rlhf:model_status", "healthz", "readyz", "metrics"),
    *("mfa_authenticate", "mfa_deactivate_totp", "mfa_view_recovery_codes"),
    # Their journey is in test_security_keys.py: they are there where the site uses keys.
    *("mfa_add_webauthn", "mfa_remove_webauthn", "mfa_reauthenticate_webauthn"),
    *("mfa_generate_recovery_codes", "mfa_reauthenticate", "reset_second_factor", "admin_login"),
    *("end_session", "end_other_sessions"),
}
"""Actions, parts of pages and data: they reply with one of the pages above, a piece of it, or no page at all."""
