"""Snapshots are pushed to a Hub by a job or a command: what arrives, what `datasets` reads of it, what is refused."""

import getpass
import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from annotate.data import snapshots
from annotate.data.hub import dataset_pushes
from annotate.data.imports import import_file
from annotate.models import AuditEvent, DatasetPush, Snapshot
from rlhf import tasks
from rlhf.runs import runs
from tests.factories.cast import Cast
from tests.harness.loopback_hub import COMMIT, TOKEN, Hub, hub

__all__ = ["hub"]

State = DatasetPush.State


@pytest.fixture(autouse=True)
def sent(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    settings.HONE_DATA = tmp_path / "var"
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(runs, "send", lambda *message, **options: found.append(message))
    return found


@pytest.fixture
def researcher(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.researcher)
    return client


def frozen(cast: Cast, tmp_path: Path, *, format: str = "hone", licence: str = "", rows: int = 30) -> Snapshot:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(
            json.dumps(
                {"prompt": f"Question {n}?", "chosen": f"Yes {n}.", "rejected": "No.", "lang": "zh-Hans" if n else "en"}
            )
            + "\n"
            for n in range(rows)
        )
    )
    import_file(project=cast.project, path=path, by=None)
    filters = {"licence": licence} if licence else {}
    return snapshots.freeze(project=cast.project, kind="rankings", format=format, filters=filters)


def push_of(client: Client, snapshot: Snapshot, **fields: str) -> DatasetPush:
    values = {"repository": "me/mine", "token_variable": "HF_TOKEN_OF_TEST", **fields}
    reply = client.post(f"/p/kindness/exports/{snapshot.pk}/push", values)
    assert reply.status_code == 302, reply.content.decode()
    push = DatasetPush.objects.latest("pk")
    tasks.push_snapshot(push.pk)
    push.refresh_from_db()
    return push


@pytest.mark.parametrize("format", ["hone", "parquet", "csv"])
def test_datasets_reads_what_was_pushed(cast: Cast, hub: Hub, tmp_path: Path, researcher: Client, format: str) -> None:
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    import datasets

    snapshot = frozen(cast, tmp_path, format=format)
    push = push_of(researcher, snapshot, private="yes")
    assert (push.state, push.revision, push.error) == (State.DONE, COMMIT, "")
    assert set(hub.files) == set(snapshot.files)
    for name in set(snapshot.files) - {"README.md"}:
        assert hub.files[name] == snapshots.path_of(snapshot, name).read_bytes()
    assert (hub.created["type"], hub.created["visibility"], hub.tokens) == ("dataset", "private", {f"Bearer {TOKEN}"})
    assert hub.messages == [f"Push snapshot {snapshot.sha256[:12]} of kindness from Hone"]
    folder = tmp_path / "pushed"
    folder.mkdir()
    for name, content in hub.files.items():
        (folder / name).write_bytes(content)
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    written = {
        split: snapshot.files[f"rankings.{split}{suffix_of(format)}"]["rows"]
        for split in ("train", "validation", "test")
    }
    assert {split: found.num_rows for split, found in loaded.items()} == {k: n for k, n in written.items() if n}
    page = researcher.get("/p/kindness/exports/").content.decode()
    assert f'href="{hub.url}/me/mine/commit/{COMMIT}"' in page


def suffix_of(format: str) -> str:
    return {"hone": ".jsonl", "parquet": ".parquet", "csv": ".csv"}[format]


def test_the_card_begins_with_a_header_for_the_hub(cast: Cast, hub: Hub, tmp_path: Path, researcher: Client) -> None:
    import yaml

    snapshot = frozen(cast, tmp_path, licence="CC BY 4.0")
    push_of(researcher, snapshot)
    _start, header, body = hub.files["README.md"].decode().split("---\n", 2)
    assert yaml.safe_load(header) == {
        "pretty_name": "Kindness: rankings",
        "language": ["en", "zh"],
        "license": "cc-by-4.0",
        "size_categories": ["n<1K"],
        "task_categories": ["reinforcement-learning"],
        "tags": ["hone", "rankings", "hone"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": split, "path": f"rankings.{split}.jsonl"}
                    for split in ("train", "validation", "test")
                    if snapshot.files[f"rankings.{split}.jsonl"]["rows"]
                ],
            }
        ],
        "snapshot_sha256": snapshot.sha256,
    }
    assert body == "\n" + (snapshots.folder_of(snapshot) / "README.md").read_text()
    first = hub.files["README.md"]
    push_of(researcher, snapshot)
    assert hub.files["README.md"] == first
    other = snapshots.freeze(project=cast.project, kind="rankings", filters={"licence": "Ours: ask"})
    push_of(researcher, other)
    header = yaml.safe_load(hub.files["README.md"].decode().split("---\n", 2)[1])
    assert (header["license"], header["license_name"]) == ("other", "Ours: ask")


def test_refusals_are_sentences_without_the_token(
    cast: Cast, hub: Hub, tmp_path: Path, researcher: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = frozen(cast, tmp_path, rows=3)
    for refuses, said in (
        ({"/api/": 401}, "The Hub does not know the token."),
        ({"/api/": 403}, "The token may not do this at me/mine."),
        ({"/commit/": 422}, "The Hub replied with status 422 about me/mine."),
    ):
        hub.refuses = refuses
        push = push_of(researcher, snapshot)
        assert (push.state, push.error) == (State.REFUSED, said)
    hub.refuses = {}
    assert "HF_NOTHING is not set" in push_of(researcher, snapshot, token_variable="HF_NOTHING").error
    page = researcher.get("/p/kindness/exports/").content.decode()
    assert "HF_NOTHING is not set for this worker" in page
    assert TOKEN not in page
    for fields, said in (
        ({"repository": "mine"}, "A repository is named OWNER/NAME."),
        ({"repository": "me/mine", "token_variable": "SECRET_KEY"}, "begins with HF_"),
        ({"repository": "me/mine", "token_variable": ""}, "Name the environment variable that holds the token"),
    ):
        reply = researcher.post(f"/p/kindness/exports/{snapshot.pk}/push", {"token_variable": "HF_TOKEN", **fields})
        assert (reply.status_code, said in reply.content.decode()) == (400, True)
    file = snapshots.folder_of(snapshot) / "manifest.json"
    file.chmod(0o600)
    file.write_text("{}")
    assert push_of(researcher, snapshot).error == "manifest.json differs from the frozen file."
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    file.unlink()
    assert hub.files == {}


def test_the_command_pushes_with_a_variables_token_or_a_typed_one(
    cast: Cast, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    snapshot = frozen(cast, tmp_path, rows=3)
    call_command("push_snapshot", "kindness", snapshot.pk, "me/mine", "--token-variable", "HF_TOKEN_OF_TEST")
    assert capsys.readouterr().out == f"me/mine, commit {COMMIT}: {hub.url}/me/mine/commit/{COMMIT}\n"
    monkeypatch.setattr(getpass, "getpass", lambda said: "hf_typed")
    call_command("push_snapshot", "kindness", snapshot.pk, "me/mine", "--ask-token")
    assert hub.tokens == {f"Bearer {TOKEN}", "Bearer hf_typed"}
    stored = [*DatasetPush.objects.order_by("pk").values_list("token_variable", "state", "created_by")]
    assert stored == [("HF_TOKEN_OF_TEST", "done", None), ("", "done", None)]
    assert [event.detail["repository"] for event in AuditEvent.objects.filter(verb="snapshot.pushed")] == [
        "me/mine"
    ] * 2
    for arguments, said in (
        ([0, "me/mine"], "kindness has no snapshot 0."),
        ([snapshot.pk, "mine"], "A repository is named OWNER/NAME."),
        ([snapshot.pk, "me/mine", "--token-variable", "HF_NOTHING"], "HF_NOTHING is not set"),
    ):
        with pytest.raises(CommandError, match=said):
            call_command("push_snapshot", "kindness", *arguments)
    monkeypatch.setattr(getpass, "getpass", lambda said: " ")
    with pytest.raises(CommandError, match="No token was typed"):
        call_command("push_snapshot", "kindness", snapshot.pk, "me/mine", "--ask-token")


def test_a_push_whose_process_ended_is_begun_again_three_times(
    cast: Cast, hub: Hub, tmp_path: Path, researcher: Client, sent: list[tuple[Any, ...]]
) -> None:
    snapshot = frozen(cast, tmp_path, rows=3)
    push = push_of(researcher, snapshot)
    assert ("rlhf.push_snapshot", push.pk) not in sent or push.state == State.DONE
    for attempts, state in ((1, State.DONE), (dataset_pushes.MOST_ATTEMPTS, State.REFUSED)):
        DatasetPush.objects.filter(pk=push.pk).update(
            state=State.WORKING, attempts=attempts, lease_until="2020-01-01T00:00:00+00:00", error=""
        )
        sent.clear()
        tasks.reap_queue()
        assert ("rlhf.push_snapshot", push.pk) in sent
        tasks.push_snapshot(push.pk)
        push.refresh_from_db()
        assert push.state == state
    assert "was begun 3 times" in push.error
    # One whose token was typed can't be begun again.
    DatasetPush.objects.filter(pk=push.pk).update(state=State.WAITING, attempts=0, token_variable="")
    tasks.push_snapshot(push.pk)
    push.refresh_from_db()
    assert push.error == "The process ended in which the token was typed. Push the snapshot again."
