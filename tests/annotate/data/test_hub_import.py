"""Data sets of a Hub: which files are taken, fetched by a job or a command, and what is refused with which sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from annotate.data import uploads
from annotate.data.hub import hub_downloads, hub_files
from annotate.data.hub.hub_files import HubSource, chosen, matches
from annotate.errors import Refused
from annotate.models import Prompt, Upload
from rlhf import tasks
from rlhf.runs import runs
from tests.factories.cast import Cast
from tests.harness.loopback_hub import COMMIT, Hub, hub
from tests.harness.ports import free_port

__all__ = ["hub"]

PAGE = "/p/kindness/prompts/"


@pytest.fixture(autouse=True)
def data_folder(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.HONE_DATA = tmp_path / "var"
    monkeypatch.setattr(runs, "send", lambda *message, **options: None)
    return tmp_path / "var"


@pytest.fixture
def manager(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.manager)
    return client


def lines(*numbers: int) -> bytes:
    rows = [{"prompt": f"Question {n}?", "response": f"Reply {n}.", "lang": "en"} for n in numbers]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def asked_for(client: Client, repository: str = "people/questions", **fields: str) -> Upload:
    """What becomes of a data set that the page is asked for."""
    values = {f"hub-{name}": value for name, value in {"format": "auto", "repository": repository, **fields}.items()}
    checked = {"check": "yes"} if "check" in fields else {}
    reply = client.post(f"{PAGE}import/hub", values | checked)
    assert reply.status_code == 302, reply.content.decode()
    return dealt_with(Upload.objects.latest("pk"))


def fetched(cast: Cast, repository: str = "people/questions", **parts: str) -> Upload:
    """The same without the page, which allows few in a short while."""
    source = HubSource.checked(repository=repository, **parts)
    return dealt_with(uploads.keep_source(project=cast.project, by=cast.manager, source=source, options={}))


def dealt_with(upload: Upload) -> Upload:
    tasks.import_upload(upload.pk)
    upload.refresh_from_db()
    return upload


def test_a_data_set_is_fetched_and_imported_once(cast: Cast, manager: Client, hub: Hub, data_folder: Path) -> None:
    hub.data["people/questions"] = {
        "README.md": b"# Questions",
        "data/train.jsonl": lines(1, 2, 3),
        "data/test.jsonl": lines(4),
        "dataset_infos.json": b"{}",
        "notes/paper.pdf": b"%PDF",
    }
    found = asked_for(manager, check="yes")
    assert (found.state, found.report["created"], Prompt.objects.count()) == ("done", {"demonstrations": 4}, 0)
    found = asked_for(manager)
    assert (found.state, found.report["created"]["demonstrations"]) == ("done", 4)
    assert (found.bytes, found.fetched_bytes) == (len(lines(1, 2, 3)) + len(lines(4)),) * 2
    assert found.hub["revision"] == COMMIT
    assert not [path for path in hub.asked if "README" in path or "pdf" in path]
    assert hub.tokens == {""}
    page = manager.get(PAGE).content.decode()
    assert "people/questions" in page
    assert "From the Hub" in page
    assert asked_for(manager).report["duplicates"] == 4
    assert asked_for(manager, split="test").report["read"] == 1
    assert list((data_folder / "uploads").iterdir()) == []


def test_a_private_data_set_needs_a_token_by_the_name_of_its_variable(manager: Client, hub: Hub) -> None:
    hub.data["people/secret"] = {"rows.jsonl": lines(1)}
    hub.private.add("people/secret")
    found = asked_for(manager, "people/secret")
    assert found.error == (
        "There is no data set people/secret on the Hub, or it is private: name a token that may read it."
    )
    assert asked_for(manager, "people/secret", token_variable="HF_TOKEN_OF_TEST").state == "done"
    found = asked_for(manager, "people/secret", token_variable="HF_NOTHING")
    assert "HF_NOTHING is not set for this worker" in found.error
    reply = manager.post(
        f"{PAGE}import/hub",
        {"hub-repository": "people/secret", "hub-format": "auto", "hub-token_variable": "SECRET_KEY"},
    )
    assert (reply.status_code, "begins with HF_" in reply.content.decode()) == (400, True)


def test_a_broken_row_refuses_all_and_the_report_names_file_and_line(manager: Client, hub: Hub) -> None:
    hub.data["people/questions"] = {"train.jsonl": lines(1), "test.jsonl": lines(2) + b"{oops\n"}
    found = asked_for(manager)
    assert (found.state, Prompt.objects.count()) == ("refused", 0)
    assert found.report["errors"][0].startswith("test.jsonl, line 2: not valid JSON")


def test_refusals_are_sentences_and_leave_nothing(
    cast: Cast, hub: Hub, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.data["people/questions"] = {"train.jsonl": lines(1, 2)}
    hub.data["people/code"] = {"code.py": b"import os", "rows.jsonl": lines(1)}
    hub.data["people/pictures"] = {"README.md": b"", "a.png": b""}
    for repository, fields, said in (
        ("people/none", {}, "There is no data set people/none on the Hub, or it is private"),
        ("people/code", {}, "is made by a script (code.py), which Hone doesn't run"),
        ("people/pictures", {}, "holds no data files that Hone reads"),
        ("people/questions", {"revision": "v9"}, "people/questions has no revision v9."),
        ("people/questions", {"split": "test"}, "people/questions has no split test; it has train."),
        ("people/questions", {"config": "zh"}, "people/questions has no configuration zh; it has –."),
    ):
        found = fetched(cast, repository, **fields)
        assert (found.state, said in found.error) == ("refused", True), found.error
    hub.refuses = {"/api/datasets/": 500}
    assert "The Hub replied with status 500 about people/questions." in fetched(cast).error
    hub.refuses = {"/resolve/": 403}
    assert "The token may not do this at people/questions." in fetched(cast).error
    hub.refuses = {}
    hub.cards["people/questions"] = ["no", "mapping"]  # type: ignore[assignment]
    assert "The Hub’s reply about people/questions can’t be read" in fetched(cast).error
    hub.cards = {}
    hub.shortened = {"train.jsonl"}
    assert fetched(cast).error
    hub.shortened = set()
    monkeypatch.setattr(hub_downloads, "LARGEST_IN_ALL", 100)
    assert "are larger than" in fetched(cast).error
    monkeypatch.setattr(hub_files, "LARGEST_IN_ALL", 100)
    assert "Choose a configuration or a split." in fetched(cast).error
    monkeypatch.setattr(hub_files, "LARGEST_IN_ALL", 2**30)
    monkeypatch.setattr(hub_downloads, "RESERVED", 2**62)
    assert "there is no room on the disk" in fetched(cast).error
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "switched off on this machine" in fetched(cast).error
    monkeypatch.delenv("HF_HUB_OFFLINE")
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert f"The Hub at {address} can’t be reached from this machine." in fetched(cast).error
    assert (Prompt.objects.count(), list((data_folder / "uploads").iterdir())) == (0, [])


def test_a_cancelled_import_ends_while_files_are_fetched(
    manager: Client, hub: Hub, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.data["people/questions"] = {"train.jsonl": lines(*range(50))}
    monkeypatch.setattr(uploads, "REPORT_SECONDS", 0.0)
    said, say = [], uploads._Job._say

    def cancel(job: Any, **values: Any) -> None:
        if values.get("fetched_bytes"):
            said.append(manager.get(f"{PAGE}imports", headers={"HX-Request": "true"}).content.decode())
            uploads.cancel(job.upload)
        say(job, **values)

    monkeypatch.setattr(uploads._Job, "_say", cancel)
    assert asked_for(manager).state == "cancelled"
    assert "fetched." in said[0]
    assert (Prompt.objects.count(), list((data_folder / "uploads").iterdir())) == (0, [])


def test_the_command_fetches_and_imports(cast: Cast, hub: Hub, data_folder: Path, capsys: Any) -> None:
    hub.data["people/questions"] = {"en/rows.jsonl": lines(1, 2), "zh/rows.jsonl": lines(3)}
    call_command("import_data", "kindness", "--hub", "people/questions", "--config", "en")
    assert capsys.readouterr().out == "2 rows read: 2 prompts, 2 demonstrations.\n"
    for arguments, said in (
        (["--hub", "questions"], "A repository is named OWNER/NAME."),
        (["a.jsonl", "--hub", "people/questions"], "Give a FILE, or --hub OWNER/NAME"),
        (["a.jsonl", "--split", "train"], "Give a FILE, or --hub OWNER/NAME"),
        ([], "Give a FILE, or --hub OWNER/NAME"),
        (["--hub", "people/none"], "There is no data set people/none"),
        (["--hub", "people/questions", "--revision", "../main"], "is a short name"),
    ):
        with pytest.raises(CommandError, match=said):
            call_command("import_data", "kindness", *arguments)
    assert list((data_folder / "uploads").iterdir()) == []


CONFIGS = {
    "configs": [
        {
            "config_name": "en",
            "data_files": [{"split": "train", "path": "en/train-*"}, {"split": "dev", "path": ["d.json"]}],
        },
        {"config_name": "zh", "data_files": "zh/**/*.parquet"},
        {"config_name": "all", "data_dir": "en", "default": True},
        {"config_name": 7},
        "odd",
    ]
}
FILES = dict.fromkeys(
    ["en/train-1.jsonl", "en/train-0.jsonl", "d.json", "zh/a/b/x.parquet", "zh/x.parquet", "zh/test.parquet"], 10
)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"config": "en"}, ["en/train-0.jsonl", "en/train-1.jsonl", "d.json"]),
        ({"config": "en", "split": "dev"}, ["d.json"]),
        ({"config": "zh"}, ["zh/a/b/x.parquet", "zh/x.parquet", "zh/test.parquet"]),
        ({"config": "zh", "split": "test"}, ["zh/test.parquet"]),
    ],
)
def test_configurations_of_the_card_choose_files(fields: dict[str, str], names: list[str]) -> None:
    source = HubSource.checked(repository="a/b", **fields)
    assert chosen(source, FILES, CONFIGS) == names


def test_files_are_chosen_as_the_hub_has_them() -> None:
    source = HubSource.checked(repository="a/b")
    assert chosen(source, FILES, CONFIGS) == ["en/train-0.jsonl", "en/train-1.jsonl"]
    with pytest.raises(Refused, match="several configurations: en, zh"):
        chosen(source, FILES, {"configs": CONFIGS["configs"][:2]})
    with pytest.raises(Refused, match="has no configuration fr; it has en, zh, all"):
        chosen(HubSource.checked(repository="a/b", config="fr"), FILES, CONFIGS)
    elsewhere = {"configs": [{"data_files": "https://example.org/rows.jsonl"}]}
    with pytest.raises(Refused, match="are elsewhere than in the repository"):
        chosen(source, FILES, elsewhere)
    # Without a card the most common kind counts, training first.
    names = ["data/validation.csv", "data/train.csv", "rows.parquet", "config.json", "b/training/part.csv"]
    assert chosen(source, dict.fromkeys(names, 1), {}) == [
        "b/training/part.csv",
        "data/train.csv",
        "data/validation.csv",
    ]
    saved = ["dataset_dict.json", "test/state.json", "test/data-0.arrow", "test/dataset_info.json"]
    assert chosen(source, dict.fromkeys(saved, 1), {}) == ["test/data-0.arrow", "dataset_dict.json", "test/state.json"]
    converted = {"b.py": 1, "default/train/0000.parquet": 1}
    with pytest.raises(Refused, match="give the revision refs/convert/parquet"):
        chosen(source, converted, {})


def test_patterns_match_within_folders() -> None:
    for name, pattern, is_match in (
        ("a/b.json", "a/*", True),
        ("a/b/c.json", "a/*", False),
        ("a/b/c.json", "a/**", True),
        ("c.json", "**/*.json", True),
        ("a/c.json", "**/**/**/**/*.json", True),
        ("a/b/c.json", "**/b/**/c.*/**/**", True),
        ("a/b/c.json", "**/**/x", False),
        ("a" * 200, "*a" * 100 + "b", False),
    ):
        assert matches(name, pattern) is is_match, (name, pattern)
