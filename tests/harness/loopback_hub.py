"""A Hub on loopback for its own client: the few addresses by which data sets are read and repositories are pushed."""

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

TOKEN = "hf_" + "t" * 34
COMMIT = "c" * 40


class Hub:
    """`data`: {data set: {file: bytes}} that can be read, `cards`: {data set: metadata}, `private`: those that TOKEN
    opens alone. `files`: what was committed. `refuses`: {part of a path: status}. `asked`: the paths that were."""

    def __init__(self) -> None:
        self.data: dict[str, dict[str, bytes]] = {}
        self.cards: dict[str, dict[str, Any]] = {}
        self.private: set[str] = set()
        self.shortened: set[str] = set()
        self.files: dict[str, bytes] = {}
        self.stored: dict[str, bytes] = {}
        self.messages: list[str] = []
        self.refuses: dict[str, int] = {}
        self.tokens: set[str] = set()
        self.asked: list[str] = []
        self.created: dict[str, Any] = {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = unquote(urlsplit(self.path).path)
                hub.asked.append(path)
                if "/lfs/put/" not in path:
                    hub.tokens.add(self.headers.get("Authorization", ""))
                status, headers, found = hub.answer(path, body, self.headers.get("Authorization", ""))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(found)))
                self.end_headers()
                if path.rpartition("/")[2] in hub.shortened:
                    found, self.close_connection = found[: len(found) // 2], True
                if self.command != "HEAD":
                    self.wfile.write(found)

            do_GET = do_HEAD = do_POST = do_PUT = reply  # noqa: N815

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str, body: bytes, token: str) -> tuple[int, dict[str, str], bytes]:
        if status := next((status for part, status in self.refuses.items() if part in path), 0):
            return status, {"Content-Type": "application/json"}, b'{"error": "no"}'
        if path.startswith("/datasets/") and "/resolve/" in path:
            repository, _sign, place = path.removeprefix("/datasets/").partition("/resolve/")
            commit, _slash, name = place.partition("/")
            found = self.data.get(repository, {}).get(name) if commit == COMMIT else None
            if found is not None:
                return 200, {"Content-Type": "application/octet-stream"}, found
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        if path.startswith("/api/datasets/") and "/preupload/" not in path and "/commit/" not in path:
            owner, name, *rest = path.removeprefix("/api/datasets/").split("/")
            return self.described(f"{owner}/{name}", rest, token)
        return 200, {"Content-Type": "application/json"}, json.dumps(self.reply(path, body)).encode()

    def described(self, repository: str, rest: list[str], token: str) -> tuple[int, dict[str, str], bytes]:
        may = repository not in self.private or token == f"Bearer {TOKEN}"
        if repository not in self.data or not may:
            return 401 if not token else 404, {"X-Error-Code": "RepoNotFound"}, b""
        if rest and rest[1:] not in (["main"], [COMMIT]):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        siblings = [{"rfilename": name, "size": len(found)} for name, found in self.data[repository].items()]
        found = {"id": repository, "sha": COMMIT, "siblings": siblings, "cardData": self.cards.get(repository, {})}
        return 200, {"Content-Type": "application/json"}, json.dumps(found).encode()

    def reply(self, path: str, body: bytes) -> dict[str, Any]:
        if path == "/api/repos/create":
            self.created = json.loads(body)
            return {"url": f"{self.url}/me/mine", "name": "me/mine"}
        if "/preupload/" in path:
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = {True: "lfs", False: "regular"}
            files = [{"path": name, "uploadMode": modes[name.endswith((".safetensors", ".parquet"))]} for name in names]
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
                if line["key"] == "header":
                    self.messages.append(value["summary"])
                elif line["key"] == "file":
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
