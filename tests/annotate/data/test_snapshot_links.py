"""Links to a snapshot: open without an account until they expire or are revoked, and to nothing else."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from annotate.data import snapshots
from annotate.data.sharing import links
from annotate.models import AuditEvent, Snapshot
from config.web.log_filters import SECRET
from tests.factories.cast import Cast
from tests.harness.markup import markup

pytestmark = pytest.mark.django_db


@pytest.fixture
def snapshot(cast: Cast) -> Snapshot:
    made = Snapshot.objects.create(
        project=cast.project,
        kind="prompts",
        state="ready",
        folder="snapshots/9",
        sha256="a" * 64,
        finished_at=timezone.now(),
        files={"prompts.jsonl": {"rows": 1, "bytes": 3, "sha256": "b" * 64}},
    )
    folder = snapshots.folder_of(made)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prompts.jsonl").write_bytes(b"{}\n")
    (folder / "other.txt").write_bytes(b"not of the list")
    return made


def test_a_link_opens_the_files_without_an_account_until_it_is_revoked(
    cast: Cast, snapshot: Snapshot, client: Client
) -> None:
    client.force_login(cast.researcher)
    address = f"/p/kindness/exports/{snapshot.pk}/link"
    page = markup(client.post(address, {"days": "7"}))
    token = page.partition("/shared/")[2].partition("/")[0]
    assert token.startswith(f"{snapshot.pk}-")
    stranger = Client()
    page = markup(stranger.get(f"/shared/{token}/"))
    assert "Kindness" in page
    assert f'href="/shared/{token}/prompts.jsonl"' in page
    reply = stranger.get(f"/shared/{token}/prompts.jsonl")
    assert b"".join(reply) == b"{}\n"
    assert reply["Cache-Control"].startswith("max-age=0")
    for name in ("other.txt", "../9/prompts.jsonl", "prompts.jsonl/", "x"):
        assert stranger.get(f"/shared/{token}/{name}").status_code == 404, name
    client.post(address, {"revoke": "yes"})
    assert stranger.get(f"/shared/{token}/prompts.jsonl").status_code == 404
    again = markup(client.post(address, {"days": "1"})).partition("/shared/")[2].partition("/")[0]
    assert stranger.get(f"/shared/{again}/").status_code == 200
    assert stranger.get(f"/shared/{token}/").status_code == 404
    verbs = AuditEvent.objects.filter(verb__startswith="snapshot.").order_by("pk").values_list("verb", "actor")
    assert list(verbs) == [
        (verb, cast.researcher.pk) for verb in ("snapshot.shared", "snapshot.links_revoked", "snapshot.shared")
    ]
    assert token not in str(list(AuditEvent.objects.values()))


def test_a_link_ends_in_time_and_opens_no_other_snapshot(cast: Cast, snapshot: Snapshot, client: Client) -> None:
    Snapshot.objects.filter(pk=snapshot.pk).update(link_key="k")
    snapshot.refresh_from_db()
    now = timezone.now()
    good = links.token(snapshot, now + timedelta(minutes=1))
    assert client.get(f"/shared/{good}/").status_code == 200
    assert links.find(good).snapshot == snapshot
    other = Snapshot.objects.create(project=cast.other_project, kind="prompts", state="ready", sha256="c", link_key="k")
    number, _dash, signed = good.partition("-")
    for wrong in (
        links.token(snapshot, now - timedelta(seconds=2)),
        f"{other.pk}-{signed}",
        f"{number}-{signed[:-1]}",
        f"{number}-",
        "9" * 40 + "-x",
        "x",
    ):
        reply = client.get(f"/shared/{wrong}/")
        assert reply.status_code == 404, wrong
        assert "This link has expired or was revoked." in markup(reply)


@pytest.mark.parametrize(
    ("days", "state", "status", "sentence"),
    [
        ("8", "ready", 400, "Choose how long the link lasts."),
        ("9²", "ready", 400, "Choose how long the link lasts."),
        ("7", "building", 409, "This snapshot isn’t ready"),
    ],
)
def test_what_makes_no_link_gets_a_sentence(
    cast: Cast, snapshot: Snapshot, client: Client, days: str, state: str, status: int, sentence: str
) -> None:
    Snapshot.objects.filter(pk=snapshot.pk).update(state=state)
    client.force_login(cast.manager)
    reply = client.post(f"/p/kindness/exports/{snapshot.pk}/link", {"days": days})
    assert reply.status_code == status
    assert sentence in markup(reply)
    assert not AuditEvent.objects.filter(verb="snapshot.shared").exists()


def test_the_log_holds_no_link() -> None:
    assert SECRET.sub(r"\1***", "GET /shared/12-abc:d-E_f=/x.jsonl 200") == "GET /shared/***/x.jsonl 200"
