"""A submit with the next task by the API beside the work page's own, in pairs: `python -m benchmarks api --tasks N`.

Two labelers of one project, one at the page and one with a token, submit in turns the one or the other first, over
HTTP to one gunicorn with every middleware, on SQLite. Each reply brings the whole next task. The difference within
pairs is what the API adds; `cpu_ms` is the processor time of the web processes for a submit. The last line is one JSON
object:

{"page": {"p50_ms", "p90_ms", "cpu_ms"}, "api": {...}, "added": {"p50_ms", "p90_ms"}, "added_cpu_ms", "pairs"}
"""

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles
from typing import Any

from benchmarks.labeling_queue import PROJECT, WARM_UP, Labeler, web_process
from benchmarks.load import service
from benchmarks.load.browser import Browser, Times
from tests.harness.ports import free_port


class _Program:
    """A labeler with a token, who keeps the connection."""

    def __init__(self, port: int, secret: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=70)
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {secret}"}
        self.task = self._ask("next")["task"]

    def submit(self) -> None:
        keys = [response["key"] for response in self.task["responses"]]
        ranks = {key: rank for rank, key in enumerate(random.sample(keys, len(keys)), start=1)}
        fields = {"client_id": self.task["client_id"], "rubric": self.task["rubric"]["id"], "ranks": ranks}
        fields |= {"ratings": {key: {"overall": 5} for key in keys}, "seconds": 41.5, "next": True}
        self.task = self._ask(f"{self.task['id']}/submit", fields)["next"]["task"]

    def _ask(self, path: str, body: Any = None) -> Any:
        content = json.dumps(body).encode() if body is not None else None
        self._connection.request("POST", f"/api/v1/projects/{PROJECT}/work/{path}", content, self._headers)
        reply = self._connection.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise SystemExit(f"{path} got the status {reply.status}: {text[:500]!r}")
        return json.loads(text)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks api", description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=200)
    chosen = parser.parse_args(arguments)
    if chosen.tasks < chosen.pairs + WARM_UP + 2:
        parser.error("there are too few tasks for so many pairs")
    with tempfile.TemporaryDirectory(prefix="hone-api-") as folder:
        figures = _measured(chosen, Path(folder))
    for name in ("page", "api", "added"):
        print(f"{name:<8}" + "".join(f"{what} {value:<10}" for what, value in figures[name].items()), flush=True)
    print(json.dumps(figures))
    return 0


def _measured(chosen: argparse.Namespace, data: Path) -> dict[str, Any]:
    port = free_port()
    own = {"HONE_DATA": str(data), "HONE_PORT": str(port), "HONE_LOG_LEVEL": "WARNING"}
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", **own}
    session, secret = _filled(chosen.tasks, environment)
    with web_process(port, data, environment) as web:
        page, program = Labeler(Browser(port, Times()), session), _Program(port, secret)
        page.begin()
        for _number in range(WARM_UP):
            program.submit()
        acts = {"page": lambda: page.work(1, 0.0), "api": program.submit}
        seconds: dict[str, list[float]] = {name: [] for name in acts}
        used = dict.fromkeys(acts, 0.0)
        for pair in range(chosen.pairs):
            for name in sorted(acts, reverse=pair % 2 == 0):
                before, began = _processor(web), time.perf_counter()
                acts[name]()
                seconds[name].append(time.perf_counter() - began)
                used[name] += _processor(web) - before
    added = [api - page for api, page in zip(seconds["api"], seconds["page"], strict=True)]
    figures: dict[str, Any] = {name: _cuts(found) for name, found in (*seconds.items(), ("added", added))}
    cpu = {name: round(1000 * total / chosen.pairs, 2) for name, total in used.items()}
    for name, value in cpu.items():
        figures[name]["cpu_ms"] = value
    return figures | {"added_cpu_ms": round(cpu["api"] - cpu["page"], 2), "pairs": chosen.pairs}


def _processor(web: int) -> float:
    return service.processor_seconds(service.children(web))


def _cuts(seconds: list[float]) -> dict[str, float]:
    cuts = quantiles(seconds, n=10, method="inclusive")
    return {"p50_ms": round(1000 * cuts[4], 2), "p90_ms": round(1000 * cuts[8], 2)}


def _filled(tasks: int, environment: dict[str, str]) -> tuple[str, str]:
    """A session and a token of two labelers of a project with so many tasks, made by a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.api_overhead", str(tasks)],
        cwd=service.ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    session, secret = json.loads(done.stdout.strip().split("\n")[-1])
    return session, secret


def _fill(tasks: int) -> tuple[str, str]:
    from annotate.models import User
    from annotate.people import api_tokens
    from benchmarks.labeling_queue import fill

    session, _other = fill(tasks, 2)
    _token, secret = api_tokens.make(
        user=User.objects.get(username="bench1"), name="b", scopes=("label", "write"), days=7
    )
    return session, secret


if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps(_fill(int(sys.argv[1]))))
