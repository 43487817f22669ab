"""The audit log: its hash chain, its page and its file."""

import ast
import csv
import hashlib
import io
import json
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from annotate.models import AuditChainLink, AuditEvent
from annotate.people import audit
from annotate.people.audit import chain, event_labels, event_list

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def events(cast):
    """Five in the chain."""
    made = [
        audit.record(verb="project.edited", actor=cast.manager, subject=cast.project, project=cast.project, changes=n)
        for n in range(5)
    ]
    chain.link_new()
    return made


def execute(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


class TestChain:
    def test_each_digest_is_of_the_one_before_and_the_event(self, events):
        links = list(AuditChainLink.objects.order_by("position").select_related("event"))
        before = ""
        for position, link in enumerate(links, start=1):
            event = AuditEvent.objects.get(pk=link.event_id)
            values = {
                "id": event.pk,
                "verb": event.verb,
                "actor": event.actor_id,
                "project": event.project_id,
                "subject": [event.subject_type, event.subject_id],
                "detail": event.detail,
                "at": event.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00"),
            }
            text = f"{before}\n{json.dumps(values, sort_keys=True, separators=(',', ':'))}"
            assert (link.position, link.digest) == (position, hashlib.sha256(text.encode()).hexdigest())
            before = link.digest
        assert [link.event_id for link in links][-5:] == [event.pk for event in events]
        assert AuditEvent.objects.filter(chain_link=None).count() == 0

    def test_an_untouched_log_is_intact_and_new_events_wait(self, cast, events):
        head = chain.head()
        audit.record(verb="project.edited", actor=None, subject=cast.project, project=cast.project)
        result = chain.verify()
        assert (result.head, result.waiting, result.problems) == (head, 1, [])
        assert chain.link_new() == 1
        assert chain.link_new() == 0
        assert (chain.verify(head).problems, chain.head().position) == ([], head.position + 1)

    def test_many_events_are_linked_in_batches(self, cast, monkeypatch):
        monkeypatch.setattr(chain, "BATCH", 3)
        for n in range(8):
            audit.record(verb="project.edited", actor=None, subject=cast.project, project=cast.project, n=n)
        waiting = AuditEvent.objects.filter(chain_link=None).count()
        assert chain.link_new() == waiting >= 8
        assert chain.verify().problems == []

    @pytest.mark.parametrize(
        ("column", "value"),
        [("verb", "project.created"), ("detail", '{"changes": 7}'), ("subject_id", "99"), ("actor_id", None)],
    )
    def test_an_altered_event_is_named(self, events, column, value):
        execute(f"UPDATE annotate_auditevent SET {column} = %s WHERE id = %s", value, events[2].pk)
        link = AuditChainLink.objects.get(event=events[2].pk)
        sentence = f"Link {link.position}: event {events[2].pk} isn't what it was when it was linked."
        assert chain.verify().problems == [sentence]

    def test_a_moved_time_is_named(self, events):
        moved = events[1].created_at + timedelta(microseconds=1)
        execute("UPDATE annotate_auditevent SET created_at = %s WHERE id = %s", moved, events[1].pk)
        assert chain.verify().found == 1

    def test_a_removed_event_is_named(self, events):
        link = AuditChainLink.objects.get(event=events[2].pk)
        execute("DELETE FROM annotate_auditchainlink WHERE position = %s", link.position)
        execute("DELETE FROM annotate_auditevent WHERE id = %s", events[2].pk)
        missing = f"Links {link.position} to {link.position} are missing."
        after = f"Link {link.position + 1}: event {events[3].pk} isn't what it was when it was linked."
        assert chain.verify().problems == [missing, after]

    def test_what_was_cut_off_at_the_end_is_found_by_a_head_noted_before(self, events):
        head = chain.head()
        execute("DELETE FROM annotate_auditchainlink WHERE position = %s", head.position)
        execute("DELETE FROM annotate_auditevent WHERE id = %s", events[4].pk)
        assert chain.verify().problems == []
        sentence = f"The chain ends at {head.position - 1}, before the expected head at {head.position}."
        assert chain.verify(head).problems == [sentence]

    def test_a_chain_that_was_computed_anew_is_found_by_a_head_noted_before(self, events):
        head = chain.head()
        execute("UPDATE annotate_auditevent SET verb = 'project.created' WHERE id = %s", events[0].pk)
        execute("DELETE FROM annotate_auditchainlink")
        chain.link_new()
        assert chain.verify().problems == []
        assert chain.verify(head).problems == [f"Link {head.position} has another digest than the expected head."]

    def test_an_event_of_the_past_that_is_in_no_link_is_named(self, cast, events):
        slipped = audit.record(verb="gold.added", actor=cast.manager, subject=cast.project, project=cast.project)
        past = timezone.now() - timedelta(days=1)
        execute("UPDATE annotate_auditevent SET created_at = %s WHERE id = %s", past, slipped.pk)
        assert chain.verify().problems == [f"Event {slipped.pk} is in no link, though later ones are."]

    def test_an_event_whose_transaction_ended_late_is_linked_after_later_ones(self, cast):
        late = audit.record(verb="gold.added", actor=cast.manager, subject=cast.project, project=cast.project)
        execute("UPDATE annotate_auditevent SET id = id + 1000 WHERE id = %s", late.pk)
        chain.link_new()
        early = AuditEvent(pk=late.pk + 500, verb="gold.removed", subject_type="task", subject_id="1")
        early.save()
        assert chain.link_new() == 1
        assert AuditChainLink.objects.get(event=early.pk).position == chain.head().position
        assert chain.verify().problems == []

    def test_one_of_two_that_link_at_once_wins(self, cast, events, monkeypatch):
        audit.record(verb="gold.added", actor=cast.manager, subject=cast.project, project=cast.project)
        before = chain.Head(chain.head().position - 1, "0" * 64)
        monkeypatch.setattr(chain, "head", lambda: before)
        assert chain.link_new() == 0
        monkeypatch.undo()
        assert chain.link_new() == 1
        assert chain.verify().problems == []


class TestCommand:
    def test_says_the_head_and_takes_it_again(self, events, capsys):
        call_command("verify_audit")
        first, second = capsys.readouterr().out.splitlines()
        assert first == f"{chain.head().position} events are linked and intact, 0 wait to be linked."
        call_command("verify_audit", "--head", second.removeprefix("head "))

    def test_fails_with_the_problems(self, events, capsys):
        execute("UPDATE annotate_auditevent SET verb = 'gold.added' WHERE id = %s", events[2].pk)
        with pytest.raises(CommandError, match=r"The audit log isn't intact: 1 problems\.") as failure:
            call_command("verify_audit")
        assert failure.value.returncode == 1
        assert f"event {events[2].pk} isn't what it was" in capsys.readouterr().err

    @pytest.mark.parametrize("head", ["", "7", "7:abc", "x:" + "0" * 64, "7:" + "G" * 64, "٧:" + "0" * 64])
    def test_refuses_what_is_no_head(self, db, head):
        with pytest.raises(CommandError, match="is no head") as refusal:
            call_command("verify_audit", "--head", head)
        assert refusal.value.returncode == 2


def test_every_verb_that_is_written_has_a_label():
    written = set()
    for package in ("annotate", "rlhf", "config"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.keyword) and node.arg == "verb" and isinstance(node.value, ast.Constant):
                    written.add(node.value.value)
    assert len(written) > 40
    assert written <= dict(event_labels.choices()).keys()


class TestPage:
    def test_shows_a_projects_own_events_and_no_others(self, cast, client, events):
        audit.record(verb="gold.added", actor=cast.admin, subject=cast.other_project, project=cast.other_project)
        client.force_login(cast.manager)
        reply = client.get("/p/kindness/audit/")
        assert {event.project for event, _, _ in reply.context["rows"]} == {cast.project}
        assert reply.context["rows"][0][1] == "Project settings changed"
        assert reply.context["rows"][0][2] == [("changes", "4")]
        assert chain.head().digest in reply.content.decode()

    def test_the_whole_log_is_for_administrators(self, cast, client, events):
        client.force_login(cast.manager)
        assert client.get("/audit/").status_code == 403
        client.force_login(cast.admin)
        audit.record(verb="worker.drained", actor=cast.admin, subject=cast.admin, project=None, worker="cpu@here")
        rows = client.get("/audit/").context["rows"]
        assert rows[0][0].verb == "worker.drained"
        assert cast.project in {event.project for event, _, _ in rows}

    def test_filters(self, cast, client, events):
        client.force_login(cast.manager)
        audit.record(verb="labeler.paused", actor=None, subject=cast.labeler, project=cast.project, person=cast.labeler)

        def found(**chosen):
            return [event.verb for event, _, _ in client.get("/p/kindness/audit/", chosen).context["rows"]]

        everything = found()
        assert found(action="labeler.paused") == ["labeler.paused"]
        assert found(person="hone") == ["labeler.paused"]
        assert set(found(person=cast.manager.pk)) == {"project.edited"}
        today = timezone.localdate()
        assert found(since=today.isoformat(), until=today.isoformat()) == everything
        assert found(until=(today - timedelta(days=1)).isoformat()) == []
        # What is no filter changes nothing.
        assert found(person="x", action="x", since="x", until="2026-13-45") == everything

    def test_long_values_are_shortened_on_the_page_and_whole_in_the_file(self, cast, client):
        long = "a" * 5_000
        audit.record(verb="gold.added", actor=cast.manager, subject=cast.project, project=cast.project, note=long)
        client.force_login(cast.manager)
        rows = client.get("/p/kindness/audit/").context["rows"]
        assert rows[0][2] == [("note", "a" * 200 + "…")]
        reply = client.get("/p/kindness/audit/", {"format": "csv", "action": "gold.added"})
        (row,) = csv.DictReader(io.StringIO(b"".join(reply.streaming_content).decode("utf-8-sig")))
        assert json.loads(row["details"]) == {"note": long}
        assert (row["person"], row["action"], row["project"], row["position"]) == (
            "manager",
            "gold.added",
            "kindness",
            "",
        )

    def test_the_file_has_every_event_once(self, cast, events, monkeypatch):
        monkeypatch.setattr(event_list, "BATCH", 2)
        rows = list(event_list.file_rows(event_list.EventFilters(project=cast.project, verb="project.edited")))
        assert rows[0] == event_list.COLUMNS
        assert [row[0] for row in rows[1:]] == [event.pk for event in events]
        assert [row[10] for row in rows[1:]] == [AuditChainLink.objects.get(event=event.pk).digest for event in events]

    def test_a_page_goes_on_behind_the_last_row(self, cast, client):
        for n in range(30):
            audit.record(verb="gold.added", actor=cast.manager, subject=cast.project, project=cast.project, n=n)
        client.force_login(cast.manager)
        first = client.get("/p/kindness/audit/", {"action": "gold.added"})
        following = first.context["page"].following
        second = client.get("/p/kindness/audit/", {"action": "gold.added", "after": following})
        numbers = [event.detail["n"] for reply in (first, second) for event, _, _ in reply.context["rows"]]
        assert numbers == list(range(29, -1, -1))
