"""Time to the first token through the gateway beside the upstream's own, in pairs.

The upstream is a small server of OpenAI's protocol on loopback, in a process of its own, which streams a few words with
a pause between two. The gateway is a whole web process (gunicorn, every middleware) on a database of its own in SQLite.
A pair asks both, in turns the one or the other first; the difference within pairs is what the gateway adds. Both
clients keep their connections. With --store each conversation is kept as well, after its last word.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.labeling_queue import web_process
from benchmarks.load.service import children, processor_seconds
from tests.harness.ports import free_port

ROOT = Path(__file__).parents[1]
WORDS, PAUSE_SECONDS = 12, 0.002
WARM_PAIRS = 20


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(WORDS):
            self._send({"delta": {"content": f" word{number}"}, "finish_reason": None})
            time.sleep(PAUSE_SECONDS)
        self._send({"delta": {}, "finish_reason": "stop"})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _send(self, choice: dict[str, Any]) -> None:
        chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        self._chunk(b"data: " + json.dumps(chunk | {"choices": [{"index": 0, **choice}]}).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


def _serve(port_known: Connection) -> None:
    """Sends its port once it listens."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    port_known.send(server.server_port)
    server.serve_forever()


class _Program:
    """A client that keeps its connection."""

    def __init__(self, port: int, secret: str, *, store: bool) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._connection.connect()
        assert self._connection.sock is not None
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {secret}"}
        self._store, self._asked = store, 0

    def first_token(self) -> tuple[float, float]:
        """Seconds to the first token, and to the end."""
        self._asked += 1
        question = [{"role": "user", "content": f"Question {self._asked}: why is the sky blue?"}]
        body: dict[str, Any] = {"model": "policy", "messages": question, "stream": True}
        if self._store:
            body |= {"store": True, "user": f"user-{self._asked}"}
        began = time.perf_counter()
        self._connection.request("POST", "/v1/chat/completions", json.dumps(body), self._headers)
        reply = self._connection.getresponse()
        line = reply.readline()
        first = time.perf_counter() - began
        if reply.status != 200 or b'"content"' not in line:
            raise SystemExit(f"No first token came: {reply.status} {(line + reply.read())[:500]!r}")
        if not reply.read().endswith(b"data: [DONE]\n\n"):
            raise SystemExit("A stream did not end.")
        return first, time.perf_counter() - began


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gateway", description=__doc__)
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--store", action="store_true", help="keep each conversation as a prompt")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hone-gateway-") as folder:
        return _measured(Path(folder), chosen)


def _measured(folder: Path, chosen: argparse.Namespace) -> int:
    spawn = multiprocessing.get_context("spawn")
    own, theirs = spawn.Pipe()
    upstream = spawn.Process(target=_serve, args=(theirs,), daemon=True)
    upstream.start()
    upstream_port, port = own.recv(), free_port()
    os.environ |= {
        "HONE_DATA": str(folder),
        "HONE_PORT": str(port),
        "HONE_AI_ENDPOINTS": f"local=http://127.0.0.1:{upstream_port}/v1",
        "HONE_ACCESS_LOG": "0",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    secret = _token()
    try:
        with web_process(port, folder, dict(os.environ)) as master:
            return _report(master, _pairs(upstream_port, port, secret, chosen), chosen)
    finally:
        upstream.terminate()
        upstream.join()


def _token() -> str:
    """Of a project whose gateway passes on to the upstream."""
    subprocess.run([sys.executable, "manage.py", "prepare"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    import django

    django.setup()
    from django.db import connection

    from annotate.models import GatewaySettings, User
    from annotate.people import api_tokens
    from annotate.people.projects import create_project

    user = User.objects.create(username="benchmark", is_superuser=True)
    project = create_project(by=user, name="Gateway")
    GatewaySettings.objects.create(
        project=project, enabled=True, endpoint="local", served_model="m", stores=True, prompts_per_user=1_000_000
    )
    _made, secret = api_tokens.make(
        user=user, name="benchmark", scopes=api_tokens.GATEWAY_SCOPES, days=7, project=project
    )
    connection.close()
    return secret


def _pairs(
    upstream_port: int, port: int, secret: str, chosen: argparse.Namespace
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """(seconds to the first token of the upstream, through the gateway), and the same to the end, of each pair."""
    programs = [_Program(upstream_port, secret, store=False), _Program(port, secret, store=chosen.store)]
    firsts, ends = [], []
    for number in range(WARM_PAIRS + chosen.pairs):
        order = (0, 1) if number % 2 else (1, 0)
        found = {which: programs[which].first_token() for which in order}
        if number >= WARM_PAIRS:
            firsts.append((found[0][0], found[1][0]))
            ends.append((found[0][1], found[1][1]))
        # Fewer than a person may send: 600 at once and 20 a second after that, to each process.
        time.sleep(max(0.0, 0.05 - found[0][1] - found[1][1]))
    return firsts, ends


def _report(
    master: int, measured: tuple[list[tuple[float, float]], list[tuple[float, float]]], chosen: argparse.Namespace
) -> int:
    firsts, ends = measured
    rows = {
        "upstream alone": [own for own, _through in firsts],
        "through the gateway": [through for _own, through in firsts],
        "added to the first token": [through - own for own, through in firsts],
        "added to the end": [through - own for own, through in ends],
    }
    figures: dict[str, Any] = {"pairs": chosen.pairs, "store": chosen.store}
    print(f"{'milliseconds':<28}{'median':>9}{'p90':>9}{'p99':>9}")
    for name, seconds in rows.items():
        ordered = sorted(1000 * each for each in seconds)
        at = [median(ordered), ordered[int(0.9 * len(ordered))], ordered[int(0.99 * len(ordered))]]
        print(f"{name:<28}" + "".join(f"{value:>9.2f}" for value in at))
        figures[f"{name}, ms"] = dict(zip(("median", "p90", "p99"), (round(value, 3) for value in at), strict=True))
    processor = processor_seconds(children(master)) / (WARM_PAIRS + chosen.pairs)
    print(f"processor of the web process: {1000 * processor:.2f} ms a request, its start included")
    print(json.dumps(figures | {"processor, ms": round(1000 * processor, 3), "load average": os.getloadavg()[0]}))
    return 0
