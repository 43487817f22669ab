"""The gateway of a real web process: every block of docs/gateway.md, programs that leave, and pages beside a flood."""

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from annotate.models import Demonstration, GatewayCompletion, GatewaySettings, Judgment, Prompt
from annotate.people import api_tokens
from tests.conftest import ROOT, end, free_port, wait_until
from tests.factories.cast import Cast, make_cast
from tests.harness.openai_server import KEY, OpenAIServer, openai_server, says_nothing

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database, pytest.mark.both_databases]

DOCUMENT = ROOT / "docs/gateway.md"
PLACES = 4
"""For requests of the gateway; half as many for one token."""
PATIENCE = 60.0


@dataclass
class Site:
    port: int
    cast: Cast
    secret: str
    upstream: OpenAIServer

    def program(self) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"http://127.0.0.1:{self.port}/v1", api_key=self.secret, max_retries=0, timeout=PATIENCE
        )

    def open(self, path: str = "/v1/chat/completions", **values: Any) -> http.client.HTTPConnection:
        """A request that was sent, whose reply nobody has read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        body = {"model": "policy", "messages": [{"role": "user", "content": "Hello"}], **values}
        headers = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(body), headers)
        return connection


@dataclass
class Web:
    """The one web process of all tests here, and the server that it passes on to."""

    port: int
    upstream: OpenAIServer
    process: subprocess.Popen[bytes] | None = None

    def start(self, environment: dict[str, str], log: Path) -> None:
        environment = {
            **environment,
            "HONE_PORT": str(self.port),
            "HONE_WEB_THREADS": "2",
            "HONE_GATEWAY_REQUESTS": str(PLACES),
            "HONE_AI_ENDPOINTS": f"local={self.upstream.address} UPSTREAM_KEY",
            "UPSTREAM_KEY": KEY,
        }
        subprocess.run([sys.executable, "manage.py", "prepare"], cwd=ROOT, env=environment, check=True)
        # One process, so that its places are all there are.
        command = [sys.executable, "-m", "gunicorn", "--config", "python:config.web.gunicorn", "--workers", "1"]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, "config.wsgi"], cwd=ROOT, env=environment, stdout=output, stderr=output
            )
        wait_until(lambda: status_of(self.port, "/healthz") == 200, seconds=PATIENCE, what="the web process")


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with openai_server() as upstream:
        web = Web(free_port(), upstream)
        yield web
        upstream.gate.set()
        if web.process is not None:
            end(web.process)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("web") / "web.log"


@pytest.fixture
def site(process_environment: dict[str, str], web: Web, log: Path) -> Iterator[Site]:
    cast = make_cast()
    GatewaySettings.objects.create(
        project=cast.project, enabled=True, endpoint="local", served_model="served", stores=True
    )
    _token, secret = api_tokens.make(
        user=cast.researcher, name="app", scopes=api_tokens.GATEWAY_SCOPES, days=7, project=cast.project
    )
    if web.process is None:
        web.start(process_environment, log)
    web.upstream.reset()
    yield Site(web.port, cast, secret, web.upstream)
    web.upstream.gate.set()
    assert "Traceback" not in log.read_text()


def status_of(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def blocks(language: str, site: Site) -> list[str]:
    """The document's blocks, for this site and its token."""
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    own = (("http://127.0.0.1:8000", f"http://127.0.0.1:{site.port}"), ("hone_…", site.secret))
    for placeholder, value in own:
        found = [block.replace(placeholder, value) for block in found]
    return found


def test_every_block_of_the_document(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    code = "\n".join(blocks("python", site))
    exec(compile(code, str(DOCUMENT), "exec"), {})
    said = capsys.readouterr().out
    assert "['policy']" in said
    assert "You said: Why is the sky blue? (0)" in said
    completion = GatewayCompletion.objects.get()
    assert f"{completion.key} True" in said
    assert said.count("'repeated': False") == 3
    assert sorted(Judgment.objects.values_list("task__kind", flat=True)) == ["compare", "demonstrate", "rate"]
    assert Demonstration.objects.get().response.text == "Hens hum."
    if shutil.which("curl") is None:
        return
    streamed, sent = (
        subprocess.run(
            ["bash", "-euc", block], capture_output=True, text=True, check=True, timeout=PATIENCE, env=os.environ
        ).stdout
        for block in blocks("sh", site)
    )
    assert streamed.endswith("data: [DONE]\n\n")
    assert json.loads(sent) | {"id": ""} == {"id": "", "object": "feedback", "kind": "rating", "repeated": False}
    assert Prompt.objects.filter(source="gateway").count() == 2


def test_programs_that_leave_end_the_work_of_the_model(site: Site) -> None:
    upstream = site.upstream
    upstream.scene = says_nothing
    for stream in (False, True):
        # Before the first word, of which the web process sends nothing that could fail.
        waiting = site.open(stream=stream)
        assert upstream.asked.wait(PATIENCE)
        waiting.close()
        assert upstream.left.wait(PATIENCE), stream
        upstream.asked.clear()
        upstream.left.clear()
    # Within a stream.
    upstream.scene = None
    upstream.gate.clear()
    leaving = site.open(stream=True, store=True)
    assert leaving.getresponse().readline().startswith(b"data: ")
    leaving.close()
    upstream.gate.set()
    wait_until(lambda: GatewayCompletion.objects.exists(), seconds=PATIENCE, what="the prompt that is kept")
    assert GatewayCompletion.objects.get().responses == [None]


def test_pages_are_served_beside_a_flood(site: Site) -> None:
    upstream = site.upstream
    upstream.gate.clear()
    streams = [site.open(stream=True) for _ in range(2)]
    replies = [stream.getresponse() for stream in streams]
    assert [reply.status for reply in replies] == [200, 200]
    flood = [site.open(stream=number % 2 == 0) for number in range(20)]
    # All are refused at once, with what a client of the protocol needs to try again.
    for connection in flood:
        reply = connection.getresponse()
        assert (reply.status, reply.getheader("Retry-After")) == (429, "2")
        assert json.loads(reply.read())["error"]["type"] == "rate_limit_error"
    assert status_of(site.port, "/accounts/login/") == 200
    # An address that is written otherwise would take a thread of the pages.
    assert site.open("/%761/chat/completions").getresponse().status == 400
    # A body that is too large for the main loop to collect takes none of them either.
    for _ in range(2):
        large = site.open(stream=True, messages=[{"role": "user", "content": "x" * 300_000}])
        assert large.getresponse().status == 429
    upstream.gate.set()
    for reply in replies:
        assert reply.read().endswith(b"data: [DONE]\n\n")
    with pytest.raises(openai.NotFoundError, match="no model “gpt”"):
        site.program().chat.completions.create(model="gpt", messages=[{"role": "user", "content": "Hi"}])
    upstream.scene = lambda handler, body: handler.send(500, {})
    with pytest.raises(openai.InternalServerError, match="broke off"):
        site.program().chat.completions.create(model="policy", messages=[{"role": "user", "content": "Hi"}])
