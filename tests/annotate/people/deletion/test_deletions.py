"""A person's data deleted on request: nothing names them any more, and everything else is as it was."""

import hashlib
import uuid
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from annotate.data import snapshots, user_conversations
from annotate.data.pseudonyms import imported_labeler
from annotate.data.user_conversations import Conversation
from annotate.errors import NotYours, Refused
from annotate.labeling import queue, user_feedback
from annotate.models import (
    ApiToken,
    Assignment,
    AuditEvent,
    Author,
    ChatTurn,
    GatewayCompletion,
    GatewaySettings,
    IdempotentRequest,
    Invitation,
    Judgment,
    JudgmentExclusion,
    Membership,
    PersonDeletion,
    Task,
    User,
)
from annotate.people import api_tokens, audit
from annotate.people.audit import chain
from annotate.people.deletion import deletions, personal_data
from annotate.quality.review import exclusions
from config.models import OpenSession
from rlhf import tasks
from rlhf.models import GatewayReply, NotificationTarget, PlaygroundChat, PlaygroundReply, TrainingRun
from rlhf.runs import runs
from tests.annotate.data.test_snapshots import freeze, give_judgments
from tests.factories.cast import PASSWORD, Cast, make_comparison, make_user
from tests.factories.records import make_records

NAME, FULL_NAME, EMAIL = "quillfeather", "Ottoline Quillfeather", "ottoline@quillfeather.example"
TRACES = ("quillfeather", "ottoline")


@pytest.fixture(autouse=True)
def surroundings(settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Messages to workers."""
    settings.HONE_DATA = tmp_path
    sent: list[tuple[Any, ...]] = []
    monkeypatch.setattr(runs, "send", lambda *message, **options: sent.append(message))
    return sent


@pytest.fixture
def person(cast: Cast) -> User:
    """A labeler with a name that is nowhere else, and one record of every kind."""
    person = make_user(NAME, first_name="Ottoline", last_name="Quillfeather", email=EMAIL)
    person.created_by = cast.admin
    person.save()
    Membership.objects.create(user=person, project=cast.project, role=Membership.Role.LABELER)
    return person


def everything_of(cast: Cast, person: User) -> None:
    make_records(cast.project, person, "OF-THEM")
    Author.of(person)
    client = Client(REMOTE_ADDR="192.0.2.7")
    assert client.login(username=NAME, password=PASSWORD)
    OpenSession.objects.get_or_create(
        key=client.session.session_key, defaults={"user": person, "seen_at": timezone.now()}
    )
    api_tokens.make(user=person, name=f"laptop of {FULL_NAME}", scopes=["label"], days=30)
    IdempotentRequest.objects.create(user=person, key="k", fingerprint="f", reply={"username": NAME})
    Authenticator.objects.create(user=person, type="recovery_codes", data={"note": NAME})
    NotificationTarget.objects.create(project=cast.project, kind="email", address=EMAIL, events=[], salt="s")
    Invitation.objects.create(
        project=cast.project,
        roles=["labeler"],
        label=f"for {FULL_NAME}",
        token_hash="t" * 64,
        created_by=cast.manager,
        expires_at=timezone.now(),
        accepted_by=person,
        accepted_at=timezone.now(),
    )
    chat = Assignment.objects.filter(labeler=person, task__kind=Task.Kind.CHAT).get()
    ChatTurn.objects.create(assignment=chat, number=1, role="user", text=f"I am {FULL_NAME}")
    LogEntry.objects.create(
        user=cast.admin,
        content_type=ContentType.objects.get_for_model(User),
        object_id=str(person.pk),
        object_repr=NAME,
        action_flag=2,
    )
    asked_gateway(cast, person)
    old_events(cast, person)


def asked_gateway(cast: Cast, person: User) -> None:
    """A request of the gateway that waits, and a kept conversation of the person's own program and of a user of it."""
    gateway = GatewaySettings.objects.create(project=cast.project, enabled=True, stores=True)
    token, _secret = api_tokens.make(
        user=person, name="app", scopes=api_tokens.GATEWAY_SCOPES, days=7, project=cast.project
    )
    for number, (user, metadata) in enumerate([("", {"by": FULL_NAME}), ("user-7", {"page": "start"})]):
        conversation = Conversation(
            key=f"chatcmpl-{number}",
            messages=[{"role": "user", "content": "How?"}],
            choices=[],
            author=Author.of(cast.researcher),
            model="served",
            user=user,
            metadata=metadata,
        )
        assert user_conversations.keep(conversation, settings=gateway, token=token).completion is not None
    run = runs.enqueue(project=cast.project, stage="sample", config={}, options={}, inputs={}, by=person, queue="live")
    GatewayReply.objects.create(run=run, messages=[{"role": "user", "content": f"I am {FULL_NAME}"}])


def old_events(cast: Cast, person: User) -> list[AuditEvent]:
    """As earlier versions wrote them, and texts that somebody typed; all are in the chain."""
    made = [
        audit.record(verb=verb, actor=actor, subject=person, project=cast.project, **detail)
        for verb, actor, detail in (
            ("membership.created", cast.manager, {"username": NAME, "role": "labeler"}),
            ("project.edited", cast.manager, {"changes": {"name": ["Kindness", "Kind"]}}),
            ("labeler.paused", cast.manager, {"reason": {"values": {"sentence": f"Ask {FULL_NAME}, or {NAME}."}}}),
            ("notification.added", person, {"address": EMAIL}),
        )
    ]
    chain.link_new()
    return made


def traces() -> list[tuple[str, str]]:
    """Where in the whole database a part of the name is: table and column."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            for column in connection.introspection.get_table_description(cursor, table):
                for trace in TRACES:
                    cursor.execute(
                        f'SELECT 1 FROM "{table}" WHERE lower(CAST("{column.name}" AS text)) LIKE %s LIMIT 1',
                        [f"%{trace}%"],
                    )
                    if cursor.fetchone():
                        found.append((table, column.name))
    return found


def delete(person: User, by: User | None, **values: Any) -> PersonDeletion:
    deletion = deletions.begin(person=person, by=by, **values)
    assert deletions.run(deletion.pk)
    deletion.refresh_from_db()
    person.refresh_from_db()
    return deletion


def test_no_table_names_the_person_any_more(cast: Cast, person: User) -> None:
    everything_of(cast, person)
    judged = Judgment.objects.filter(labeler=person).count()
    assert {table for table, _column in traces()} >= {
        "annotate_user",
        "annotate_author",
        "annotate_auditevent",
        "annotate_apitoken",
        "annotate_idempotentrequest",
        "annotate_invitation",
        "annotate_chatturn",
        "django_admin_log",
        "mfa_authenticator",
        "rlhf_notificationtarget",
        "annotate_gatewaycompletion",
        "rlhf_gatewayreply",
    }
    deletion = delete(person, cast.admin)
    assert traces() == []
    assert deletion.removed == {
        "gateway_metadata": 1,
        "gateway_conversations": 2,
        "tokens": 2,
        "api_requests": 1,
        "sessions": 1,
        "second_factors": 1,
        "memberships": 1,
        "invitations": 1,
        "notifications": 1,
        "drafts": 6,
        "exam_drafts": 1,
        "chat_turns": 1,
        "playground": 1,
        "gateway_replies": 1,
        "audit": 3,
        "administration": 1,
        "account": 1,
    }
    assert (person.username, person.display_name) == (f"deleted-{person.pk}", f"Deleted person {person.pk}")
    assert (person.is_active, person.has_usable_password(), person.email, person.last_login) == (False, False, "", None)
    assert Judgment.objects.filter(labeler=person).count() == judged > 0
    assert Author.objects.get(user=person).name == f"deleted-{person.pk}"
    # What the gateway kept stays, and what a program said of a user of its own.
    kept = GatewayCompletion.objects.order_by("key").values_list("asked_by", "token", "metadata", "prompt__use_case")
    assert list(kept) == [(None, None, {}, "open_qa"), (None, None, {"page": "start"}, "open_qa")]


def test_exports_say_the_same_of_the_person_as_before(cast: Cast) -> None:
    give_judgments(cast, 4)
    before = freeze(cast)
    pseudonym = cast.project.pseudonym(cast.labeler.pk)
    delete(cast.labeler, cast.admin)
    after = freeze(cast)
    assert (after.sha256, after.rows) == (before.sha256, 4)
    assert pseudonym in snapshots.data_file(after, "train").read_text()
    for snapshot in (before, after):
        for name, listed in snapshot.files.items():
            stored = (snapshots.folder_of(snapshot) / name).read_bytes()
            assert hashlib.sha256(stored).hexdigest() == listed["sha256"]


def test_judgments_are_left_out_where_that_is_chosen(cast: Cast) -> None:
    give_judgments(cast, 3)
    assert Judgment.objects.filter(Judgment.COUNTED, labeler=cast.labeler).count() == 3
    delete(cast.labeler, cast.admin, judgments="leave-out")
    exclusion = JudgmentExclusion.objects.get(labeler=cast.labeler)
    exclusions.JOB.run(exclusion.pk)
    assert Judgment.objects.filter(Judgment.COUNTED, labeler=cast.labeler).count() == 0
    assert Judgment.objects.filter(labeler=cast.labeler, left_out=exclusion).count() == 3
    event = AuditEvent.objects.get(verb="judgments.left_out")
    assert (event.actor, event.detail["person"]) == (cast.admin, cast.labeler.pk)


def test_the_account_is_closed_at_once(
    cast: Cast, person: User, surroundings: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    client = Client()
    assert client.login(username=NAME, password=PASSWORD)
    assert client.get("/account/").status_code == 200
    token, secret = api_tokens.make(user=person, name="laptop", scopes=["label"], days=30)
    with django_capture_on_commit_callbacks(execute=True):
        deletion = deletions.begin(person=person, by=cast.admin)
    assert client.get("/account/").status_code == 302
    assert api_tokens.identify(secret) is None
    assert ApiToken.objects.get(pk=token.pk).revoked_at is not None
    assert not Client().login(username=NAME, password=PASSWORD)
    assert surroundings == [("rlhf.delete_person", deletion.pk)]


def test_a_second_request_gives_the_same_deletion(cast: Cast, person: User) -> None:
    first = delete(person, cast.admin)
    assert deletions.begin(person=person, by=cast.admin) == first
    assert deletions.run(first.pk)
    assert AuditEvent.objects.filter(verb="person.deleted").count() == 1
    event = AuditEvent.objects.get(verb="person.deletion_begun")
    assert (event.actor, event.detail) == (cast.admin, {"person": person.pk, "judgments": "keep"})
    with pytest.raises(Refused, match="another choice for their judgments: They go on counting"):
        deletions.begin(person=person, by=cast.admin, judgments=PersonDeletion.Judgments.LEAVE_OUT)


def test_it_goes_on_wherever_a_job_died(cast: Cast, person: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each transaction in turn is the last one of its job."""
    everything_of(cast, person)
    deletion = deletions.begin(person=person, by=cast.admin)
    count, jobs = personal_data.count, 0

    def dies_at_its_second_record(deletion: PersonDeletion, kind: str, number: int) -> int:
        nonlocal written
        written += bool(number)
        if written == 2:
            raise RuntimeError("killed")
        return count(deletion, kind, number)

    monkeypatch.setattr(personal_data, "count", dies_at_its_second_record)
    while True:
        jobs, written = jobs + 1, 0
        try:
            assert deletions.run(deletion.pk)
        except RuntimeError:
            assert not deletions.run(deletion.pk)  # the dead job's lease holds
            PersonDeletion.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
            assert list(deletions.abandoned(now=timezone.now())) == [deletion]
        else:
            break
    assert jobs > 10
    assert traces() == []
    deletion.refresh_from_db()
    assert (deletion.state, deletion.removed["drafts"], deletion.removed["audit"]) == ("done", 6, 3)
    chain.link_new()
    assert chain.verify().problems == []


def test_the_scheduler_sends_it_again(cast: Cast, person: User, surroundings: list[Any]) -> None:
    deletion = deletions.begin(person=person, by=cast.admin)
    tasks.reap_queue()
    assert ("rlhf.delete_person", deletion.pk) in surroundings
    tasks.delete_person(deletion.pk)
    surroundings.clear()
    tasks.reap_queue()
    assert surroundings == []


def test_a_chat_waits_until_its_replies_have_ended(cast: Cast, person: User) -> None:
    records = make_records(cast.project, person, "OF-THEM")
    chat = records.playground_chat
    column = chat.columns.create(version=records.version, place=0)
    PlaygroundReply.objects.create(turn=chat.turns.get(), column=column, run=records.run)
    later = timezone.now() + timedelta(hours=1)
    TrainingRun.objects.filter(pk=records.run.pk).update(
        status="running", lease_token=uuid.uuid4(), lease_until=later, started_at=timezone.now()
    )
    deletion = deletions.begin(person=person, by=cast.admin)
    assert not deletions.run(deletion.pk)
    records.run.refresh_from_db()
    assert records.run.cancel_requested_at is not None
    assert PlaygroundChat.objects.filter(user=person).exists()
    TrainingRun.objects.filter(pk=records.run.pk).update(
        status="cancelled", lease_token=None, lease_until=None, finished_at=timezone.now()
    )
    assert deletions.run(deletion.pk)
    assert not PlaygroundChat.objects.filter(user=person).exists()


def test_tasks_go_back_to_the_queue(cast: Cast, person: User) -> None:
    task = make_comparison(cast.project)
    assert queue.claim_next(labeler=person, project=cast.project) is not None
    task.refresh_from_db()
    assert task.slots_free == 0
    delete(person, cast.admin)
    task.refresh_from_db()
    assert task.slots_free == 1
    assert queue.claim_next(labeler=cast.labeler, project=cast.project) is not None


class TestAuditLog:
    def test_an_erased_event_is_told_from_an_altered_one(self, cast: Cast, person: User, capsys: Any) -> None:
        events = old_events(cast, person)
        head = chain.head()
        delete(person, cast.admin)
        chain.link_new()
        result = chain.verify(head)
        assert (result.problems, result.erased) == ([], 3)
        call_command("verify_audit", "--head", str(head))
        assert "Names of deleted persons were erased from 3 of them" in capsys.readouterr().out
        instead = f"deleted-{person.pk}"
        assert [AuditEvent.objects.get(pk=event.pk).detail for event in events] == [
            {"username": instead, "role": "labeler"},
            {"changes": {"name": ["Kindness", "Kind"]}},
            {"reason": {"values": {"sentence": f"Ask {instead}, or {instead}."}}},
            {"address": instead},
        ]
        with connection.cursor() as cursor:
            cursor.execute("UPDATE annotate_auditevent SET verb = 'gold.added' WHERE id = %s", [events[2].pk])
        link = events[2].chain_link.position
        sentence = f"Link {link}: event {events[2].pk} isn't what it was when it was linked."
        assert chain.verify().problems == [sentence]

    def test_an_event_that_was_altered_before_stays_altered(self, cast: Cast, person: User) -> None:
        events = old_events(cast, person)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE annotate_auditevent SET verb = 'gold.added' WHERE id = %s", [events[0].pk])
        delete(person, cast.admin)
        chain.link_new()
        assert traces() == []
        assert (chain.verify().found, chain.verify().erased) == (1, 2)

    def test_an_event_that_two_people_are_in_is_erased_twice(self, cast: Cast, person: User) -> None:
        other = make_user("tamsin-oxbow")
        reason = f"{NAME} and tamsin-oxbow"
        event = audit.record(
            verb="judgments.left_out", actor=cast.manager, subject=cast.project, project=cast.project, reason=reason
        )
        chain.link_new()
        delete(person, cast.admin)
        delete(other, cast.admin)
        event.refresh_from_db()
        assert event.detail["reason"] == f"deleted-{person.pk} and deleted-{other.pk}"
        chain.link_new()
        assert chain.verify().problems == []

    def test_the_address_of_a_sign_in_goes_too(self, cast: Cast, person: User) -> None:
        for actor in (person, cast.admin):
            audit.record(
                verb="account.administrator_signed_in",
                actor=actor,
                subject=actor,
                project=None,
                person=actor,
                address="192.0.2.7",
            )
        chain.link_new()
        delete(person, cast.admin)
        found = AuditEvent.objects.filter(verb="account.administrator_signed_in").order_by("pk")
        assert [event.detail["address"] for event in found] == [f"deleted-{person.pk}", "192.0.2.7"]

    def test_a_word_that_is_also_a_user_name_stays(self, cast: Cast) -> None:
        event = audit.record(
            verb="membership.created",
            actor=cast.manager,
            subject=cast.project,
            project=cast.project,
            username="labeler",
            role="labeler",
        )
        chain.link_new()
        delete(cast.labeler, cast.admin)
        event.refresh_from_db()
        assert event.detail == {"username": f"deleted-{cast.labeler.pk}", "role": "labeler"}

    def test_its_pages_name_people_by_their_number(self, cast: Cast, person: User, client: Client) -> None:
        audit.record(
            verb="labeler.paused", actor=cast.manager, subject=person, project=cast.project, person=person, reason="x"
        )
        client.force_login(cast.manager)
        address = f"/p/{cast.project.slug}/audit/"
        assert FULL_NAME in client.get(address).content.decode()
        assert f",{NAME}," in b"".join(client.get(f"{address}?format=csv")).decode()
        delete(person, cast.admin)
        shown = client.get(address).content.decode()
        assert f"Deleted person {person.pk}" in shown
        assert FULL_NAME not in shown


class TestRefused:
    def test_but_for_administrators(self, cast: Cast, person: User) -> None:
        with pytest.raises(NotYours, match="Only administrators"):
            deletions.begin(person=person, by=cast.manager)

    @pytest.mark.parametrize(
        ("of", "sentence"),
        [
            ("admin", "your own data"),
            ("manager", "no other manager: Kindness."),
            ("ai", "stands for an AI labeler"),
            ("imported", "stands for a pseudonym"),
            ("users", "stands for the users of a project’s model"),
        ],
    )
    def test_where_it_would_leave_nobody_or_there_is_nobody(self, cast: Cast, of: str, sentence: str) -> None:
        people = {"admin": cast.admin, "manager": cast.manager}
        if of == "ai":
            people["ai"] = make_records(cast.project, cast.labeler, "M").ai_labeler.user
        if of == "imported":
            people["imported"] = make_user(imported_labeler(cast.project, "labeler-0123456789"))
        if of == "users":
            people["users"] = user_feedback.account_of(cast.project)
        with pytest.raises(Refused, match=sentence):
            deletions.begin(person=people[of], by=cast.admin)
        assert not PersonDeletion.objects.exists()

    @pytest.mark.parametrize("other", ["being deleted", "closed"])
    def test_the_last_manager_with_an_open_account(self, cast: Cast, other: str) -> None:
        Membership.objects.create(user=cast.researcher, project=cast.project, role=Membership.Role.MANAGER)
        if other == "closed":
            User.objects.filter(pk=cast.researcher.pk).update(is_active=False)
        else:
            deletions.begin(person=cast.researcher, by=cast.admin)  # whose role is there until the job takes it
        with pytest.raises(Refused, match="no other manager: Kindness"):
            deletions.begin(person=cast.manager, by=cast.admin)

    def test_the_only_administrator(self, cast: Cast) -> None:
        with pytest.raises(Refused, match="only administrator"):
            deletions.begin(person=cast.admin, by=None)

    def test_another_choice(self, cast: Cast, person: User) -> None:
        with pytest.raises(Refused, match="Choose what becomes of their judgments"):
            deletions.begin(person=person, by=cast.admin, judgments="burn")


def test_a_name_of_an_imported_file_is_deleted_and_stays_imported(cast: Cast) -> None:
    person = make_user(imported_labeler(cast.project, "Ottoline"), is_active=False)
    pseudonym = cast.project.pseudonym(person.pk)
    delete(person, cast.admin)
    assert person.username == f"imported:{cast.project.slug}:deleted-{person.pk}"
    assert cast.project.pseudonym(person.pk) == pseudonym
    assert traces() == []


class TestPage:
    address = "/people/deletions/"

    @pytest.mark.parametrize("name", ["manager", "researcher", "labeler", "outsider"])
    def test_is_for_administrators(self, cast: Cast, client: Client, name: str) -> None:
        client.force_login(getattr(cast, name))
        assert client.get(self.address).status_code == 403
        reply = client.post(self.address, {"person": "labeler", "confirm": "labeler", "judgments": "keep"})
        assert reply.status_code == 403
        assert not PersonDeletion.objects.exists()

    def test_shows_what_there_is_and_asks_for_the_name(self, cast: Cast, person: User, client: Client) -> None:
        everything_of(cast, person)
        client.force_login(cast.admin)
        reply = client.get(self.address, {"person": NAME})
        assert {each.label: each.number for each in reply.context["removed"]}["Drafts of tasks"] == 6
        kept = {each.label: each.number for each in reply.context["kept"]}
        assert kept["Judgments"] == kept["Comments and notes in judgments, as they wrote them"] == 1
        form = {"person": NAME, "judgments": "keep"}
        refused = client.post(self.address, form | {"confirm": NAME.upper()})
        assert (refused.status_code, refused.context["refusal"]) == (400, "Type the user name to confirm.")
        assert not PersonDeletion.objects.exists()
        assert client.post(self.address, form | {"confirm": f" {NAME} "}).status_code == 302
        deletion = PersonDeletion.objects.get()
        assert (deletion.person, deletion.requested_by) == (person, cast.admin)
        polled = client.get(self.address, headers={"HX-Request": "true"}).content.decode()
        assert "every 2s" in polled
        assert deletions.run(deletion.pk)
        ended = client.get(self.address, headers={"HX-Request": "true"}).content.decode()
        assert f"Deleted person {person.pk}" in ended
        assert "every 2s" not in ended
        again = client.get(self.address, {"person": f"deleted-{person.pk}"})
        assert "are being deleted" in again.content.decode()

    def test_says_so_of_a_name_that_nobody_has(self, cast: Cast, client: Client) -> None:
        client.force_login(cast.admin)
        assert client.get(self.address, {"person": "nobody"}).status_code == 404
        assert client.post(self.address, {"person": "nobody", "confirm": "nobody"}).status_code == 400

    def test_other_pages_show_a_deleted_person(self, cast: Cast, client: Client) -> None:
        give_judgments(cast, 2)
        cast.labeler.first_name = "Ottoline"
        cast.labeler.save()
        client.force_login(cast.manager)
        assert "Ottoline" in client.get(f"/p/{cast.project.slug}/review/").content.decode()
        delete(cast.labeler, cast.admin)
        shown = client.get(f"/p/{cast.project.slug}/review/").content.decode()
        assert f"Deleted person {cast.labeler.pk}" in shown
        assert "Ottoline" not in shown


class TestCommand:
    def test_without_a_confirmation_it_only_says_what_there_is(self, cast: Cast, person: User, capsys: Any) -> None:
        call_command("delete_person", NAME)
        said = capsys.readouterr().out
        assert "  1 Roles in projects" in said
        assert said.splitlines()[-1] == f"Nothing was deleted. To do it: --confirm {NAME}"
        assert not PersonDeletion.objects.exists()

    def test_deletes_and_leaves_out_to_the_end(self, cast: Cast, capsys: Any) -> None:
        give_judgments(cast, 2)
        call_command("delete_person", "labeler", "--confirm", "labeler", "--judgments", "leave-out")
        said = capsys.readouterr().out.splitlines()
        assert said[-1] == f"The account is deleted-{cast.labeler.pk} now."
        assert not Judgment.objects.filter(Judgment.COUNTED, labeler=cast.labeler).exists()
        assert AuditEvent.objects.get(verb="person.deleted").actor is None

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            (["nobody"], "There is no account 'nobody'."),
            (["labeler", "--confirm", "Labeler"], "--confirm says 'Labeler', and not 'labeler'."),
            (["manager", "--confirm", "manager"], "These projects have no other manager"),
        ],
    )
    def test_refuses_with_a_sentence(self, cast: Cast, given: list[str], sentence: str) -> None:
        with pytest.raises(CommandError, match=sentence) as refused:
            call_command("delete_person", *given)
        assert refused.value.returncode == 2
