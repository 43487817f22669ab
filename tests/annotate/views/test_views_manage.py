"""A manager's pages: open and change a project, invite people, import prompts, take data away."""

import json
import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from annotate.data import snapshots
from annotate.labeling import queue
from annotate.models import AuditEvent, Membership, Project, Prompt, Task, User
from annotate.quality import measures
from annotate.views import exports
from tests.factories.cast import PASSWORD, Cast, judge, make_comparison
from tests.harness.markup import markup

PROJECT = {
    "name": "Good Manners",
    "description": "",
    "language": "en",
    "responses_per_task": "5",
    "overlap": "2",
    "lease_minutes": "20",
    "margin_input": "levels",
    "sensitive_rule": "warn",
    "guidelines": "Be *kind*.",
    "preset": "",
    "criteria": "",
    "flags": "",
}


@pytest.fixture
def manager(cast: Cast, client: Client) -> Client:
    client.force_login(cast.manager)
    return client


class TestProject:
    def test_refuses_more_judgments_a_task_than_people_may_give_and_says_when_there_are_fewer_later(
        self, cast: Cast, manager: Client
    ) -> None:
        """Two labelers, a reviewer and the manager may judge."""
        assert manager.post("/p/kindness/settings/", PROJECT | {"overlap": "4"}).status_code == 302
        refused = manager.post("/p/kindness/settings/", PROJECT | {"overlap": "5"})
        assert refused.status_code == 400
        sentence = "5 judgments a task need as many labelers, and 4 people may judge here: invite more first."
        assert refused.content.decode().count(sentence) == 1
        assert Project.objects.get(pk=cast.project.pk).overlap == 4
        warning = "Each comparison wants 4 judgments, and 3 people can give one each"
        for times in (0, 1):
            assert manager.get("/p/kindness/").content.decode().count(warning) == times
            Membership.objects.filter(user=cast.labeler).delete()

    def test_opens_with_all_that_was_entered(self, cast: Cast, manager: Client) -> None:
        fields = PROJECT | {"criteria": "warmth | Warmth | 1-7 | How warm it is", "flags": "rude | Is rude"}
        reply = manager.post("/p/new/", fields)
        assert reply["Location"] == "/p/good-manners/people/"
        project = Project.objects.get(slug="good-manners")
        assert (project.responses_per_task, project.overlap, project.lease_minutes) == (5, 2, 20)
        assert project.guidelines is not None
        assert project.guidelines.text == "Be *kind*."
        assert project.rubric is not None
        assert project.rubric.criteria == [
            {"name": "warmth", "label": "Warmth", "min": 1, "max": 7, "help": "How warm it is"}
        ]
        assert project.rubric.flags == [{"name": "rude", "label": "Is rude"}]
        assert project.memberships.get().user == cast.manager

    def test_takes_a_rubric_from_a_preset(self, manager: Client) -> None:
        manager.post("/p/new/", PROJECT | {"preset": "instructgpt", "criteria": "broken"})
        rubric = Project.objects.get(slug="good-manners").rubric
        assert rubric is not None
        assert [(item["name"], item["min"], item["max"]) for item in rubric.criteria] == [("overall", 1, 7)]
        assert len(rubric.flags) == 11

    def test_of_the_name_new_gets_an_address_that_can_be_reached(self, manager: Client) -> None:
        manager.post("/p/new/", PROJECT | {"name": "New"})
        assert manager.get("/p/new-2/").status_code == 200

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"name": ""}, "required"),
            ({"responses_per_task": "10"}, "less than or equal to 9"),
            ({"overlap": "0"}, "greater than or equal to 1"),
            ({"overlap": "many"}, "whole number"),
            ({"language": "<b>"}, "A language tag is such as en or zh-hans."),
            ({"criteria": "warmth | Warmth"}, "Line 1: write it as"),
            ({"criteria": "\nwarmth | Warmth | 7-1"}, "must go from one whole number up to another"),
            ({"criteria": "Warmth! | Warmth | 1-7"}, "small letters"),
            ({"flags": "rude"}, "Line 1: write it as"),
            ({"flags": "rude | a | b | c"}, "more than 3 parts"),
        ],
    )
    def test_says_what_is_wrong_and_keeps_what_was_entered(
        self, manager: Client, changes: dict[str, str], sentence: str
    ) -> None:
        reply = manager.post("/p/new/", PROJECT | {"guidelines": "Long work."} | changes)
        page = reply.content.decode()
        assert reply.status_code == 400
        assert sentence in page
        assert "Long work.</textarea>" in page
        assert not Project.objects.filter(slug="good-manners").exists()

    def test_is_not_opened_by_a_labeler(self, cast: Cast, client: Client) -> None:
        client.force_login(cast.labeler)
        assert client.get("/p/new/").status_code == 403
        assert client.post("/p/new/", PROJECT).status_code == 403

    def test_changes_and_makes_versions_only_of_what_changed(self, cast: Cast, manager: Client) -> None:
        task = make_comparison(cast.project)
        fields = PROJECT | {"name": "Kindness", "guidelines": "Rank by **kindness**.", "responses_per_task": "4"}
        assert manager.post("/p/kindness/settings/", fields).status_code == 302
        project = Project.objects.get(slug="kindness")
        task.refresh_from_db()
        assert (project.overlap, task.judgments_wanted) == (2, 2)
        assert project.guidelines_versions.count() == 1
        manager.post("/p/kindness/settings/", fields | {"guidelines": "Rank by warmth."})
        assert project.guidelines_versions.count() == 2
        page = manager.get("/p/kindness/guidelines/?version=1").content.decode()
        assert "<strong>kindness</strong>" in page
        assert "not the newest" in page

    def test_the_settings_page_shows_the_rubric_as_it_is_entered(self, manager: Client) -> None:
        lines = "warmth | Warmth | 1-7 | How warm\nclarity | Clarity | 0-4"
        manager.post("/p/kindness/settings/", PROJECT | {"criteria": lines})
        assert lines in manager.get("/p/kindness/settings/").content.decode()

    def test_closes_and_opens_again(self, cast: Cast, manager: Client) -> None:
        make_comparison(cast.project)
        manager.post("/p/kindness/settings/", {"archive": "yes"})
        assert "This project is closed" in manager.get("/p/kindness/work/").content.decode()
        manager.post("/p/kindness/settings/", {"archive": "no"})
        assert "Rank these 4 responses" in manager.get("/p/kindness/work/").content.decode()


def bare(reply: Any) -> str:
    """A page without the token that is new on each."""
    return re.sub(r'(name="csrfmiddlewaretoken" value="|X-CSRFToken": ")[^"]+', r"\1", reply.content.decode())


class TestPeople:
    def make(self, client: Client, **fields: str) -> Any:
        wanted = {"username": "nora", "full_name": "Nora Berg", "role": "labeler"} | fields
        return client.post("/p/kindness/people/accounts", wanted)

    @pytest.fixture
    def admin(self, cast: Cast) -> Client:
        client = Client()
        client.force_login(cast.admin)
        return client

    def test_an_account_made_by_an_administrator_is_opened_with_the_password_shown(self, admin: Client) -> None:
        reply = self.make(admin)
        password = re.search(r'class="code">([a-z0-9-]+)<', reply.content.decode())[1]  # type: ignore[index]
        assert password not in admin.get("/p/kindness/people/").content.decode()
        guest = Client()
        assert guest.post("/accounts/login/", {"login": "nora", "password": password})["Location"] == "/"
        assert guest.get("/")["Location"] == "/accounts/password/change/"
        assert guest.get("/p/kindness/work/", headers={"HX-Request": "true"}).status_code == 403
        change = {"oldpassword": password, "password1": "a door of one's own", "password2": "a door of one's own"}
        assert guest.post("/accounts/password/change/", change)["Location"] == "/"
        assert "Kindness" in guest.get("/").content.decode()

    def test_a_person_with_an_account_is_added_with_it(self, cast: Cast, admin: Client) -> None:
        reply = admin.post("/p/kindness/people/accounts", {"username": "outsider", "role": "reviewer"}, follow=True)
        assert "account that was there already" in reply.content.decode()
        cast.outsider.refresh_from_db()
        assert cast.outsider.check_password(PASSWORD)

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"username": "a b"}, "Enter a valid username"),
            ({"username": "labeler"}, "has the role “Labeler” in this project already"),
            ({"role": "king"}, "Select a valid choice"),
            ({"username": ""}, "required"),
        ],
    )
    def test_a_refused_account_says_why(self, admin: Client, fields: dict[str, str], sentence: str) -> None:
        reply = self.make(admin, **fields)
        assert reply.status_code == 400
        assert sentence in reply.content.decode()

    def test_a_manager_makes_no_account_and_learns_no_name(self, manager: Client) -> None:
        replies = [self.make(manager, username=name) for name in ("outsider", "nobody-of-that-name")]
        assert [reply.status_code for reply in replies] == [403, 403]
        assert bare(replies[0]) == bare(replies[1])

    def test_a_password_that_an_administrator_resets_is_shown_once_and_works(self, cast: Cast, admin: Client) -> None:
        reply = admin.post(f"/p/kindness/people/{cast.labeler.pk}/password")
        password = re.search(r'class="code">([a-z0-9-]+)<', reply.content.decode())[1]  # type: ignore[index]
        cast.labeler.refresh_from_db()
        assert cast.labeler.check_password(password)
        assert cast.labeler.must_change_password

    def test_a_manager_gets_nobodys_password(self, cast: Cast, manager: Client) -> None:
        page = manager.get("/p/kindness/people/").content.decode()
        assert "Reset password" not in page
        reply = manager.post(f"/p/kindness/people/{cast.labeler.pk}/password")
        assert reply.status_code == 403
        assert "an administrator has to make it" in reply.content.decode()
        cast.labeler.refresh_from_db()
        assert cast.labeler.check_password(PASSWORD)

    def test_a_role_is_taken_away(self, cast: Cast, manager: Client) -> None:
        path = f"/p/kindness/people/{cast.labeler.pk}/remove"
        assert manager.post(path, {"role": "labeler"})["Location"] == "/p/kindness/people/"
        assert not Membership.objects.filter(user=cast.labeler).exists()
        assert manager.post(path, {"role": "labeler"}).status_code == 404

    def test_the_last_manager_stays(self, cast: Cast, manager: Client) -> None:
        reply = manager.post(f"/p/kindness/people/{cast.manager.pk}/remove", {"role": "manager"})
        assert reply.status_code == 409
        assert "A project needs a manager" in reply.content.decode()


class TestPrompts:
    def upload(self, manager: Client, name: str, content: str | bytes, **fields: str) -> Any:
        data = content.encode() if isinstance(content, str) else content
        form = {"file": SimpleUploadedFile(name, data), "format": "auto", **fields}
        return manager.post("/p/kindness/prompts/import", form, follow=True)

    def test_a_text_file_is_a_prompt_a_line(self, manager: Client) -> None:
        reply = self.upload(manager, "questions.txt", "What is a hen?\n\nWhat is an egg?\n")
        page = reply.content.decode()
        assert "questions.txt: 2 rows read: 2 prompts." in page
        assert "What is an egg?" in page
        assert Prompt.objects.filter(project__slug="kindness").count() == 2

    def test_a_broken_row_imports_nothing_and_is_named_by_line(self, manager: Client) -> None:
        good = json.dumps({"id": "1", "prompt": [{"role": "user", "content": "Hello?"}]})
        reply = self.upload(manager, "rows.jsonl", f"{good}\n{{oops\n")
        page = reply.content.decode()
        assert reply.status_code == 400
        assert "Nothing was imported" in page
        assert "line 2" in page
        assert not Prompt.objects.exists()

    @pytest.mark.parametrize(("name", "content"), [("empty.jsonl", ""), ("x.bin", b"\xff\xfe\0"), ("a.json", "[1, 2]")])
    def test_a_file_that_cant_be_read_is_refused_in_a_sentence(self, manager: Client, name: str, content: str) -> None:
        reply = self.upload(manager, name, content)
        assert reply.status_code == 400
        assert not Prompt.objects.exists()

    def test_a_large_file_streams_from_the_disk(self, manager: Client, settings: Any) -> None:
        settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 10
        self.upload(manager, "questions.txt", "What is a hen?\nWhat is an egg?\n")
        assert Prompt.objects.count() == 2

    def test_rankings_come_with_their_responses_and_judgments(self, manager: Client) -> None:
        row = {
            "id": "1",
            "prompt": [{"role": "user", "content": "Hello?"}],
            "responses": [{"text": "Hi.", "rank": 1}, {"text": "No.", "rank": 2}],
        }
        self.upload(manager, "rankings.jsonl", json.dumps(row))
        assert Task.objects.get().state == Task.State.COMPLETE

    def test_the_list_is_paged_and_filtered_and_takes_any_page(self, cast: Cast, manager: Client) -> None:
        self.upload(manager, "many.txt", "\n".join(f"Question {number}?" for number in range(60)))
        first = manager.get("/p/kindness/prompts/").content.decode()
        assert "60 prompts" in first
        (older,) = re.findall(r'rel="next" href="([^"]+)"', first)
        second = manager.get(f"/p/kindness/prompts/{older}").content.decode()
        shown = [set(re.findall(r"Question \d+\?", page)) for page in (first, second)]
        assert [len(questions) for questions in shown] == [50, 10]
        assert not shown[0] & shown[1]
        assert 'rel="next"' not in second
        for query in ("?before=x", "?before=0", "?before=9999999999999999999", "?split=test", "?split=<b>"):
            assert manager.get(f"/p/kindness/prompts/{query}").status_code == 200
        train = Prompt.objects.filter(split="train").count()
        assert f"{train} prompts" in manager.get("/p/kindness/prompts/?split=train").content.decode()


class TestExports:
    def snapshot(self, cast: Cast) -> Any:
        make_comparison(cast.project)
        assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
        assert assignment is not None
        judge(assignment, [[key] for key in assignment.presentation])
        return snapshots.freeze(project=cast.project, kind="rankings", by=cast.manager)

    def test_a_snapshot_is_asked_for_and_shown_waiting(self, cast: Cast, manager: Client) -> None:
        fields = {"kind": "prompts", "format": "hone", "tie_policy": "keep", "splits": ["train"]}
        page = manager.post("/p/kindness/exports/", fields, follow=True).content.decode()
        assert "It waits for a worker." in page
        assert 'hx-trigger="every 2s"' in page
        assert cast.project.snapshots.get().filters == {"splits": ["train"]}
        assert AuditEvent.objects.filter(verb="snapshot.requested", actor=cast.manager).exists()

    def test_every_one_is_found_and_says_what_was_asked_for(self, cast: Cast, manager: Client) -> None:
        self.snapshot(cast)
        filters = {
            "after": "2026-11-01T00:00:00+00:00", "sources": ["human", "ai"], "splits": ["test"], "labelers": ["l-1"],
            "languages": ["en", "zh"], "use_cases": ["chat"], "agreement": 0.75, "comments": True, "redact": True,
        }  # fmt: skip
        snapshots.request(project=cast.project, kind="rankings", format="kto", filters=filters, by=cast.manager)
        for _number in range(exports.SHOWN - 1):
            snapshots.request(project=cast.project, kind="prompts", by=cast.manager)
        first, second = (manager.get(f"/p/kindness/exports/?page={page}").content.decode() for page in (1, 2))
        assert (
            "TRL unpaired (KTO) · from 1 Nov 2026, 00:00 UTC on · judged by: A person, An AI labeler · splits: Test · "
            "use cases: Chat · labelers: l-1 · languages: en, zh · agreement of at least 75% · with comments · "
            "personal data replaced"
        ) in first
        assert "Page 1 of 2" in first
        assert ("No snapshot yet" in second, "Hone JSON lines" in second) == (False, True)

    def test_a_ready_one_is_downloaded_byte_by_byte(self, cast: Cast, manager: Client) -> None:
        snapshot = self.snapshot(cast)
        page = manager.get("/p/kindness/exports/").content.decode()
        assert snapshot.sha256 in page
        assert "every 2s" not in page
        for name in snapshot.files:
            reply = manager.get(f"/p/kindness/exports/{snapshot.pk}/{name}")
            assert b"".join(reply) == (snapshots.folder_of(snapshot) / name).read_bytes()
            assert f'filename="kindness-{snapshot.pk}-{name}"' in reply["Content-Disposition"]

    @pytest.mark.parametrize("name", ["../../secret_key", "..%2f..%2fhone.sqlite3", "/etc/passwd", "other.jsonl"])
    def test_no_other_file_is_reached(self, cast: Cast, manager: Client, name: str) -> None:
        assert manager.get(f"/p/kindness/exports/{self.snapshot(cast).pk}/{name}").status_code == 404

    def test_another_projects_snapshot_is_not_there(self, cast: Cast, client: Client) -> None:
        snapshot = self.snapshot(cast)
        client.force_login(cast.outsider)
        assert client.get(f"/p/elsewhere/exports/{snapshot.pk}/manifest.json").status_code == 404


class TestOverview:
    def test_shows_counts_pace_and_agreement(self, cast: Cast, manager: Client) -> None:
        manager.post("/p/kindness/settings/", PROJECT | {"name": "Kindness", "overlap": "2"})
        make_comparison(cast.project)
        for labeler in (cast.labeler, cast.second_labeler):
            assignment = queue.claim_next(labeler=labeler, project=cast.project)
            assert assignment is not None
            judge(assignment, [[key] for key in sorted(assignment.presentation)], seconds=30.0)
        measures.fold_due()
        page = markup(manager.get("/p/kindness/"))
        assert "<dt>Judgments</dt><dd>2</dd>" in page
        assert "<dt>Complete tasks</dt><dd>1</dd>" in page
        assert '<p class="kpi-value">100%' in page
        assert "second_labeler</a>" in page
        assert "30 s" in page

    def test_of_an_empty_project_says_what_to_do(self, manager: Client) -> None:
        page = manager.get("/p/kindness/").content.decode()
        assert "No prompts yet" in page
        assert "/p/kindness/prompts/" in page


class TestAccount:
    def test_name_theme_and_language(self, cast: Cast, manager: Client) -> None:
        fields = {"first_name": "Mara", "last_name": "Berg", "theme": "dark", "language": ""}
        manager.post("/account/", fields)
        user = User.objects.get(pk=cast.manager.pk)
        assert (user.display_name, user.theme) == ("Mara Berg", "dark")
        assert 'data-theme="dark"' in manager.get("/").content.decode()

    def test_nothing_else_of_the_account_can_be_set(self, cast: Cast, manager: Client) -> None:
        manager.post("/account/", {"theme": "dark", "is_superuser": "1", "username": "root"})
        user = User.objects.get(pk=cast.manager.pk)
        assert (user.username, user.is_superuser) == ("manager", False)

    def test_own_password_is_changed_with_the_old_one_only(self, cast: Cast, manager: Client) -> None:
        fields = {"oldpassword": "wrong", "password1": "a door of one's own", "password2": "a door of one's own"}
        assert manager.post("/accounts/password/change/", fields).status_code == 200
        assert manager.post("/accounts/password/change/", fields | {"oldpassword": PASSWORD})["Location"] == "/"
        assert User.objects.get(pk=cast.manager.pk).check_password("a door of one's own")
        assert manager.get("/").status_code == 200

    def test_nobody_signs_himself_up(self, client: Client, db: None) -> None:
        fields = {"username": "eve", "password1": "a door of one's own", "password2": "a door of one's own"}
        client.post("/accounts/signup/", fields)
        assert not User.objects.exists()

    def test_guessing_is_paused_with_a_page_that_says_so(self, cast: Cast, client: Client) -> None:
        for _ in range(9):
            reply = client.post("/accounts/login/", {"login": "manager", "password": "guess"})
        assert reply.status_code == 429
        assert "Sign-in is paused" in reply.content.decode()


class TestAdmin:
    def test_every_list_and_search_opens_for_a_superuser(self, cast: Cast, client: Client) -> None:
        from django.contrib import admin

        from annotate import models

        client.force_login(cast.admin)
        for model in models.__all__:
            if model in ("QueueCursor", "TaskResponse", "JudgmentRevision", "PromptChange", "PromptToIndex"):
                continue
            if getattr(models, model)._meta.proxy:
                continue
            path = f"/admin/annotate/{model.lower()}/"
            assert client.get(path + "?q=a").status_code == 200, model
            assert getattr(models, model) in admin.site._registry
        assert client.get(f"/admin/annotate/project/{cast.project.pk}/change/").status_code == 200

    def test_what_is_append_only_is_only_read(self, cast: Cast, client: Client) -> None:
        client.force_login(cast.admin)
        event = AuditEvent.objects.earliest("pk")
        path = f"/admin/annotate/auditevent/{event.pk}/"
        assert client.post(path + "change/", {"verb": "forged"}).status_code == 403
        assert client.post(path + "delete/", {"post": "yes"}).status_code == 403
        assert client.get("/admin/annotate/auditevent/add/").status_code == 403

    def test_nobody_else_gets_in(self, cast: Cast, client: Client) -> None:
        client.force_login(cast.manager)
        assert client.get("/admin/").status_code == 302
