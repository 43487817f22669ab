"""Errors go to Sentry and traces to a collector where that is configured: servers on loopback record what comes."""

import gzip
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError
from django.test import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from annotate.models import PersonDeletion
from config.monitoring import observers
from config.monitoring.error_reports import ReportHandler, cleaned
from rlhf import tasks
from rlhf.models import Stage, TrainingRun
from rlhf.runs import runs
from tests.conftest import ROOT, wait_until
from tests.factories.cast import Cast

TEXT = "what a labeler wrote of Ottoline"
BROKEN = "annotate.people.audit.chain.head"


@dataclass
class Recorder:
    """A server on loopback that takes every POST."""

    port: int = 0
    received: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def dsn(self) -> str:
        return f"http://key@127.0.0.1:{self.port}/7"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def events(self) -> list[dict[str, Any]]:
        """The events in the envelopes of Sentry's client."""
        found = []
        for path, body in list(self.received):
            if path == "/api/7/envelope/":
                lines = body.split(b"\n")
                found += [
                    json.loads(line) for line in lines[2:] if line.startswith(b'{"event_id') or b'"exception"' in line
                ]
        return found

    def spans(self) -> list[tuple[str, Any]]:
        """(program, span) of what exporters sent."""
        found = []
        for path, body in list(self.received):
            if path == "/v1/traces":
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    names = {each.key: each.value.string_value for each in resource.resource.attributes}
                    found += [(names["service.name"], span) for scope in resource.scope_spans for span in scope.spans]
        return found


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            recorder.received.append((self.path, gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    recorder.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield recorder
    server.shutdown()
    server.server_close()


@pytest.fixture
def observed(recorder: Recorder, settings: Any) -> Iterator[Recorder]:
    """This process reports there, as a web process does."""
    settings.HONE_SENTRY_DSN, settings.HONE_OTLP_ENDPOINT = recorder.dsn, recorder.endpoint
    observers.start("hone-web")
    yield recorder
    observers.stop()


class TestErrors:
    def test_of_a_request_are_reported_without_a_text_or_a_person(self, cast: Cast, observed: Recorder) -> None:
        client = Client(raise_request_exception=False, headers={"User-Agent": "Ottolines browser"})
        client.force_login(cast.manager)
        with mock.patch(BROKEN, side_effect=RuntimeError(TEXT)):
            reply = client.get("/p/kindness/audit/?person=Ottoline")
        assert reply.status_code == 500
        observers.stop()
        (event,) = observed.events()
        (value,) = event["exception"]["values"]
        assert (value["type"], event["level"]) == ("RuntimeError", "error")
        assert event["tags"] == {
            "program": "hone-web",
            "logger": "django.request",
            "request": reply["X-Request-ID"],
        }
        assert value["stacktrace"]["frames"][-1]["function"] == "_execute_mock_call"
        assert set(event) <= {"event_id", "timestamp", "platform", "level", "sdk", "tags", "exception", "trace"}
        for _path, body in observed.received:
            for secret in (b"Ottoline", b"kindness", b"127.0.0.1", cast.manager.username.encode() + b'"'):
                assert secret not in body

    def test_of_a_task_are_reported_with_its_run(self, db: None, observed: Recorder) -> None:
        tasks.after_run.apply(args=[10**9])
        observers.stop()
        (event,) = observed.events()
        assert [value["type"] for value in event["exception"]["values"]] == ["TrainingRun.DoesNotExist"]
        assert event["tags"] == {"program": "hone-web", "logger": "celery.app.trace", "run": "1000000000"}

    def test_that_code_caught_are_reported_and_plain_lines_are_not(self, observed: Recorder) -> None:
        log = logging.getLogger("hone.test")
        log.error("Nothing to trace")
        try:
            raise ValueError(TEXT)
        except ValueError:
            log.exception("Caught: %s", TEXT)
            log.warning("Only a warning", exc_info=True)
        observers.stop()
        assert [event["tags"]["logger"] for event in observed.events()] == ["hone.test"]

    def test_of_a_database_that_does_not_respond_are_not_reported_one_by_one(
        self, cast: Cast, observed: Recorder
    ) -> None:
        client = Client(raise_request_exception=False)
        client.force_login(cast.manager)
        with mock.patch(BROKEN, side_effect=OperationalError("gone")):
            assert client.get("/p/kindness/audit/").status_code == 503
        observers.stop()
        assert observed.events() == []

    def test_are_built_from_an_allowed_list(self) -> None:
        """Whatever a later version of the client adds stays here."""
        frame = {"function": "f", "lineno": 3, "vars": {"text": TEXT}, "abs_path": "/home/ottoline"}
        value = {"type": "E", "value": TEXT, "mechanism": {"data": TEXT}, "stacktrace": {"frames": [frame]}}
        event = {
            "event_id": "1",
            "user": {"ip": TEXT},
            "request": {"url": TEXT},
            "extra": {"sys.argv": [TEXT]},
            "logentry": {"message": TEXT},
            "tags": {"request": "r", "run": "", "other": TEXT},
            "exception": {"values": [value]},
        }
        assert cleaned(event, {}) == {
            "event_id": "1",
            "tags": {"request": "r"},
            "exception": {
                "values": [{"type": "E", "module": None, "stacktrace": {"frames": [{"function": "f", "lineno": 3}]}}]
            },
        }
        assert TEXT not in json.dumps(cleaned({"message": TEXT}, {}))


class TestTraces:
    def test_a_request_is_a_span_without_its_address(self, cast: Cast, observed: Recorder) -> None:
        client = Client(headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
        client.force_login(cast.manager)
        reply = client.get("/p/kindness/?words=Ottoline")
        client.get("/healthz")
        client.get("/static/nothing.css")
        observers.stop()
        ((program, span),) = observed.spans()
        assert (program, span.name, span.kind) == ("hone-web", "GET annotate:overview", span.SPAN_KIND_SERVER)
        assert attributes(span) == {
            "hone.request": reply["X-Request-ID"],
            "http.request.method": "GET",
            "http.route": "annotate:overview",
            "http.response.status_code": 200,
        }
        # A stranger's trace isn't taken up: there is no proxy of one's own.
        assert span.trace_id != bytes.fromhex("a" * 32)
        assert span.end_time_unix_nano > span.start_time_unix_nano

    def test_the_trace_of_ones_own_proxy_goes_on(self, db: None, observed: Recorder, settings: Any) -> None:
        settings.HONE_PROXIES = 1
        for traceparent in (f"00-{'a' * 32}-{'b' * 16}-01", "nonsense"):
            Client(headers={"traceparent": traceparent}).get("/accounts/login/")
        observers.stop()
        first, second = (span for _program, span in observed.spans())
        assert (first.trace_id, first.parent_span_id) == (bytes.fromhex("a" * 32), bytes.fromhex("b" * 16))
        assert second.parent_span_id == b""

    def test_a_failed_request_is_marked(self, cast: Cast, observed: Recorder) -> None:
        client = Client(raise_request_exception=False)
        client.force_login(cast.manager)
        with mock.patch(BROKEN, side_effect=RuntimeError(TEXT)):
            client.get("/p/kindness/audit/")
        observers.stop()
        ((_program, span),) = observed.spans()
        assert span.status.code == span.status.STATUS_CODE_ERROR
        assert TEXT not in str(span)


@pytest.mark.any_database
def test_a_request_and_what_its_worker_does_are_one_trace(
    cast: Cast, celery_worker_process: Any, observed: Recorder, transactional_db: None
) -> None:
    """A real worker: a job of a request, a job that fails, and a run."""
    run = TrainingRun.objects.create(project=cast.project, stage=Stage.REWARD, status="cancelled")
    elsewhere = {"HONE_SENTRY_DSN": observed.dsn, "HONE_OTLP_ENDPOINT": observed.endpoint}
    celery_worker_process("default", env=elsewhere)
    client = Client()
    client.force_login(cast.admin)
    form = {"person": "labeler", "confirm": "labeler", "judgments": "keep"}
    reply = client.post("/people/deletions/", form)
    assert reply.status_code == 302
    runs.send("rlhf.execute_run", run.pk)
    runs.send("rlhf.after_run", 10**9)
    wait_until(lambda: PersonDeletion.objects.filter(state="done").exists(), seconds=60, what="the deletion")
    observers.stop()

    def of_worker() -> dict[str, Any]:
        return {span.name: span for program, span in observed.spans() if program == "hone-worker"}

    wanted = {"rlhf.delete_person", "run reward", "rlhf.after_run"}
    wait_until(lambda: wanted <= set(of_worker()), seconds=60, what="the worker's spans")
    (request,) = [span for program, span in observed.spans() if program == "hone-web"]
    spans = of_worker()
    task = spans["rlhf.delete_person"]
    assert (task.trace_id, task.parent_span_id) == (request.trace_id, request.span_id)
    assert attributes(task) == {"hone.task": "rlhf.delete_person", "hone.request": reply["X-Request-ID"]}
    assert attributes(spans["run reward"]) == {
        "hone.task": "rlhf.execute_run",
        "hone.run": str(run.pk),
        "hone.run.stage": "reward",
        "hone.run.status": "cancelled",
        "hone.run.attempt": 0,
    }
    failed = spans["rlhf.after_run"]
    assert failed.status.code == failed.status.STATUS_CODE_ERROR
    wait_until(observed.events, seconds=60, what="the worker's error")
    assert [event["tags"]["program"] for event in observed.events()] == ["hone-worker"]


def test_nothing_is_left_when_it_ends(observed: Recorder) -> None:
    assert any(isinstance(each, ReportHandler) for each in logging.getLogger().handlers)
    observers.stop()
    assert not any(isinstance(each, ReportHandler) for each in logging.getLogger().handlers)
    logging.getLogger("hone.test").exception("Nobody hears it")
    assert observed.received == []


@pytest.mark.parametrize(
    ("variable", "value", "package"),
    [
        ("HONE_SENTRY_DSN", "https://key@errors.example/7", "sentry_sdk"),
        ("HONE_OTLP_ENDPOINT", "http://127.0.0.1:4318", "opentelemetry"),
    ],
)
def test_what_is_configured_and_not_installed_is_said_at_the_start(variable: str, value: str, package: str) -> None:
    from config.environment import Environment, WrongSetting

    env = Environment({variable: value})
    env.needs_package(variable, package=package, extra="observability")
    with pytest.raises(WrongSetting) as refused:
        env.needs_package(variable, package="not_installed_anywhere", extra="observability")
    assert str(refused.value) == (
        f"{variable} needs packages that aren't installed: pip install --constraint constraints.txt --editable "
        "'.[observability]'."
    )
    Environment({}).needs_package(variable, package="not_installed_anywhere", extra="observability")


def test_a_dsn_that_cannot_be_read_is_refused_without_showing_it() -> None:
    from config.environment import Environment, WrongSetting

    with pytest.raises(WrongSetting) as refused:
        Environment({"HONE_SENTRY_DSN": "secret-key"}).address_of_server(
            "HONE_SENTRY_DSN", example="https://KEY@errors.example/7", shown=False
        )
    assert str(refused.value) == "HONE_SENTRY_DSN can’t be read; it must be like https://KEY@errors.example/7."


def test_the_web_process_starts_both(recorder: Recorder, process_environment: dict[str, str]) -> None:
    """As gunicorn imports it; one request, and at its end what waited was sent."""
    program = "import config.wsgi; from django.test import Client;Client(SERVER_NAME='localhost').get('/readyz')"
    env = {**process_environment, "HONE_SENTRY_DSN": recorder.dsn, "HONE_OTLP_ENDPOINT": recorder.endpoint}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [(name, span.name) for name, span in recorder.spans()] == [("hone-web", "GET readyz")]
