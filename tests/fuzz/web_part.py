"""Requests to a server that runs: every address, with the fields that it reads and others, and bodies that are none.

Each case begins with the same database, into which a manager's records of every kind were put, so that a case doesn't
depend on the ones before it.
"""

import http.client
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from benchmarks.load import service
from tests.fuzz import hostile_data
from tests.fuzz.campaign import Part

REQUESTS = 40
SLOWEST = 5.0
"""Seconds of processor time that the server may use for a request."""
FINE = (*range(200, 500), 503)
"""503 is what a person gets who asks for too much at once, with a sentence."""


class Server:
    """gunicorn as `manage.py serve` starts it, on a SQLite database that is put back before each case."""

    def __init__(self, folder: Path, *, port: int) -> None:
        self.folder, self.port = folder, port
        self.database = folder / "hone.sqlite3"
        self.kept = folder / "kept.sqlite3"
        self.log = folder / "web.log"
        self.cookies = ""
        self.token = ""
        self.paths: dict[str, list[str]] = {}
        self.fields: dict[str, list[str]] = {}
        self.looked_at = 0
        self.process = 0

    def fill(self) -> None:
        """A project with records of every kind, whose manager is signed in."""
        from django.db import connection
        from django.test import Client

        from annotate.models import Membership
        from tests.annotate.views import test_odd_values
        from tests.factories.cast import make_cast
        from tests.factories.records import make_records

        cast = make_cast()
        Membership.objects.create(user=cast.manager, project=cast.project, role="labeler")
        records = make_records(cast.project, cast.manager, "OWN")
        client = Client()
        client.force_login(cast.manager)
        self.token = "f" * 32
        self.cookies = f"sessionid={client.cookies['sessionid'].value}; csrftoken={self.token}"
        self.paths = {name: test_odd_values.addresses(name, records) for name in sorted(test_odd_values.ROUTES)}
        for name in test_odd_values.FIELDS:
            self.fields[name] = test_odd_values.fields_of(name, records)
        connection.close()
        with closing(sqlite3.connect(self.database)) as source, closing(sqlite3.connect(self.kept)) as kept:
            source.backup(kept)

    def put_back(self) -> None:
        with closing(sqlite3.connect(self.kept)) as kept, closing(sqlite3.connect(self.database, timeout=30)) as now:
            kept.backup(now)

    @contextmanager
    def running(self) -> Iterator[None]:
        own = {"HONE_DATA": str(self.folder), "HONE_PORT": str(self.port), "HONE_LOG_LEVEL": "ERROR"}
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", **own}
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "gunicorn", "--config", "python:config.web.gunicorn", "config.wsgi"]
            process = subprocess.Popen(command, cwd=service.ROOT, env=environment, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 60
            while self._status("GET", "/healthz") != 200:
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"The web process didn't come up: {self.log.read_text()[-2000:]}")
                time.sleep(0.1)
            self.process = process.pid
            yield
        finally:
            process.terminate()
            process.wait(30)

    def check(self, rng: random.Random) -> None:
        """Some requests, one after the other: each has a reply below 500, soon, and the log has no traceback."""
        self.put_back()
        for _ in range(REQUESTS):
            method, path, body, headers = self._request(rng)
            before = self._processor_seconds()
            status = self._status(method, path, body, headers)
            taken = self._processor_seconds() - before
            said = f"{method} {path[:300]} {headers.get('Content-Type')} {body[:600]!r}"
            trouble = self._trouble()
            assert status in FINE, f"status {status}: {said}\n{trouble}"
            assert not trouble, f"{said}\n{trouble}"
            assert taken < SLOWEST, f"took {taken:.1f} s of processor time: {said}"
        assert self._status("GET", "/healthz") == 200

    def _request(self, rng: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
        from tests.annotate.views.test_odd_values import QUERY

        name = rng.choice(list(self.paths))
        path = rng.choice(self.paths[name])
        headers = {"Cookie": self.cookies, "X-CSRFToken": self.token, "Referer": f"http://127.0.0.1:{self.port}/"}
        if rng.random() < 0.3:
            headers |= {"HX-Request": "true"}
        if rng.random() < 0.2:
            odd = rng.choice(["Accept-Language", "If-Modified-Since", "Range", "If-None-Match", "HX-Target", "Accept"])
            headers[odd] = quote(_value(rng)[:200], safe=" =/,;*-")
        if rng.random() < 0.5:
            query = {key: _value(rng)[:1_000] for key in rng.sample(QUERY, rng.randint(1, 4))}
            path += f"?{urlencode(query, errors='surrogatepass')}"
        if name not in self.fields or rng.random() < 0.2:
            return rng.choice(["GET", "GET", "GET", "HEAD", "OPTIONS", "PUT", "DELETE"]), path, b"", headers
        body, headers["Content-Type"] = self._body(rng, self.fields[name])
        return "POST", path, body, headers

    def _body(self, rng: random.Random, names: list[str]) -> tuple[bytes, str]:
        asked = [*rng.sample(names, rng.randint(0, len(names))), *(_value(rng)[:30] for _ in range(rng.randint(0, 2)))]
        fields = [(name, _value(rng)) for name in asked for _ in range(rng.choice([1, 1, 1, 3]))]
        form = "application/x-www-form-urlencoded"
        match rng.randrange(6):
            case 0:
                edge = "edge"
                parts = b"".join(
                    b'--edge\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
                    % (quote(name).encode(), rng.choice([b"", b'; filename="x.jsonl"']), _bytes(value))
                    for name, value in fields
                )
                file, content = hostile_data.file(rng)
                head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{file}"\r\n\r\n'
                return parts + head.encode() + content + b"\r\n--edge--\r\n", f"multipart/form-data; boundary={edge}"
            case 1:
                return hostile_data.damaged(rng, _encoded(fields)), form
            case 2:
                return json.dumps(dict(fields)).encode(), "application/json"
            case _:
                return _encoded(fields), form

    def _status(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> int:
        """Of the reply; 0 where there was none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request(method, path, body or None, headers or {})
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()
        return response.status

    def _processor_seconds(self) -> float:
        return service.processor_seconds(service.children(self.process))

    def _trouble(self) -> str:
        """What the log says since one looked last that no log should say."""
        with self.log.open("rb") as file:
            file.seek(self.looked_at)
            said = file.read()
            self.looked_at += len(said)
        text = said.decode("utf-8", "replace")
        return text[-3_000:] if "Traceback" in text or "database is locked" in text else ""


def _value(rng: random.Random) -> str:
    from tests.annotate.views.test_odd_values import ODD

    return rng.choice(ODD) if rng.random() < 0.6 else hostile_data.text(rng, longest=rng.choice([20, 2_000, 60_000]))


def _bytes(written: str) -> bytes:
    return written.encode("utf-8", "surrogatepass")


def _encoded(fields: list[tuple[str, Any]]) -> bytes:
    return urlencode(fields, errors="surrogatepass").encode()


def parts(server: Server) -> list[Part]:
    return [Part("web", server.check, seconds=60.0, repeats=False, hang=900)]
