"""Pushing to a Hub by its own client, against a small server on loopback: what it is sent, and what it refuses."""

import base64
import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from huggingface_hub import constants

from models_core.commands.registry import hub_push
from models_core.contract.errors import BadInput
from models_core.contract.runs.stopping import StopSignal
from tests.models_core.tiny import make_tiny_model

TOKEN = "hf_" + "t" * 34
COMMIT = "c" * 40


class Hub:
    """The few addresses that a push uses. `files`: what was committed. `refuses`: {part of a path: status}."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.stored: dict[str, bytes] = {}
        self.refuses: dict[str, int] = {}
        self.tokens: set[str] = set()
        self.created: dict[str, Any] = {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if "/lfs/put/" not in self.path:
                    hub.tokens.add(self.headers.get("Authorization", ""))
                status = next((status for part, status in hub.refuses.items() if part in self.path), 200)
                found = json.dumps(hub.reply(self.path, body) if status == 200 else {"error": "no"}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(found)))
                self.end_headers()
                self.wfile.write(found)

            do_GET = do_POST = do_PUT = reply  # noqa: N815

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def reply(self, path: str, body: bytes) -> dict[str, Any]:
        if path == "/api/repos/create":
            self.created = json.loads(body)
            return {"url": f"{self.url}/me/mine", "name": "me/mine"}
        if "/preupload/" in path:
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = {True: "lfs", False: "regular"}
            files = [{"path": name, "uploadMode": modes[name.endswith(".safetensors")]} for name in names]
            return {"files": [file | {"shouldIgnore": False, "oid": None} for file in files]}
        if path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            for each in objects:
                each["actions"] = {"upload": {"href": f"{self.url}/lfs/put/{each['oid']}", "header": {}}}
            return {"transfer": "basic", "objects": objects}
        if path.startswith("/lfs/put/"):
            self.stored[path.rpartition("/")[2]] = body
            return {}
        if "/commit/" in path:
            for line in map(json.loads, body.decode().splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    self.files[value["path"]] = self.stored[value["oid"]]
            return {"commitUrl": f"{self.url}/me/mine/commit/{COMMIT}", "commitOid": COMMIT, "success": True}
        return {}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    found = Hub()
    monkeypatch.setenv("HF_ENDPOINT", found.url)
    monkeypatch.setenv("HF_TOKEN_OF_TEST", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield found
    found.server.shutdown()
    found.server.server_close()


def pushed(model: Path, out: Path, **values: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "repository": "me/mine", "token_variable": "HF_TOKEN_OF_TEST", "private": True, "card": None,
    }  # fmt: skip
    return hub_push.run(model=str(model), out=out, stop=StopSignal(), **arguments | values)


def test_every_file_arrives_with_the_card_as_readme(hub: Hub, tmp_path: Path) -> None:
    source = make_tiny_model(tmp_path / "source")
    (tmp_path / "card.md").write_text("# Policy 1\n")
    found = pushed(source, tmp_path / "pushed.json", card=tmp_path / "card.md")
    assert (found["revision"], found["files"]) == (COMMIT, len(list(source.iterdir())) + 1)
    assert json.loads((tmp_path / "pushed.json").read_text()) == found
    wanted = {path.name: path.read_bytes() for path in source.iterdir()} | {"README.md": b"# Policy 1\n"}
    assert {name: hashlib.sha256(value).hexdigest() for name, value in hub.files.items()} == {
        name: hashlib.sha256(value).hexdigest() for name, value in wanted.items()
    }
    assert hub.created["visibility"] == "private"
    assert hub.tokens == {f"Bearer {TOKEN}"}
    assert TOKEN not in json.dumps(found)


def test_refusals_are_sentences_that_never_hold_the_token(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_tiny_model(tmp_path / "source")
    for status, said in (
        (401, "the Hub does not know the token in HF_TOKEN_OF_TEST"),
        (403, "the token in HF_TOKEN_OF_TEST may not write there"),
    ):
        hub.refuses = {"/api/": status}
        with pytest.raises(BadInput, match=said) as refused:
            pushed(source, tmp_path / "out.json")
        assert TOKEN not in str(refused.value)
    hub.refuses = {"/commit/": 400}
    with pytest.raises(BadInput, match="the Hub replied with status 400"):
        pushed(source, tmp_path / "out.json")
    for values, said in (
        ({"repository": "mine"}, "names no repository; it is OWNER/NAME"),
        ({"token_variable": "AWS_SECRET"}, "must begin with HF_"),
        ({"token_variable": "HF_NOTHING"}, "HF_NOTHING is not set for this worker"),
    ):
        with pytest.raises(BadInput, match=said):
            pushed(source, tmp_path / "out.json", **values)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadInput, match="the Hub cannot be reached"):
        pushed(source, tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()
    assert hub.files == {}
