"""Responses from a server: a small one on loopback that fails in every way that servers do."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from models_core import __main__ as command_line
from models_core.contract.errors import BadInput, ServerFailed, Stopped
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import SampleConfig, parse
from models_core.generation import served_model
from models_core.generation.sampled_response import SampledResponse
from models_core.generation.served_model import Server
from tests.harness.http_server import serving
from tests.models_core import recipe_runs

KEY = "sk-secret-of-the-test"


def completion(body):
    text = f"{body['messages'][-1]['content']}, answered with {body['seed']}"
    entries = [{"token": "x", "logprob": -0.25}] * 4
    return {
        "choices": [{"message": {"content": text}, "finish_reason": "stop", "logprobs": {"content": entries}}],
        "usage": {"completion_tokens": 5},
    }


class Fake(ThreadingHTTPServer):
    """Responses by `scenes`: one for each completion asked for, then as it should.

    A scene is what to send, the name of a fault, or a function of the handler.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.scenes = []
        self.bodies = []
        self.headers = []
        self.in_flight = self.most_in_flight = 0
        self.gate = threading.Event()
        self.gate.set()
        self.arrived = threading.Semaphore(0)
        self.lock = threading.Lock()

    def handle_error(self, request, client_address):
        """A client that hung up is no news here."""

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def send(self, status, content, **headers):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        assert self.path == "/v1/models"
        self.send(200, {"data": [{"id": "the-model"}, {"id": "another"}]})

    def do_POST(self):
        fake = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with fake.lock:
            fake.in_flight += 1
            fake.most_in_flight = max(fake.most_in_flight, fake.in_flight)
            fake.bodies.append(body)
            fake.headers.append(dict(self.headers))
            scene = fake.scenes.pop(0) if fake.scenes else None
        fake.arrived.release()
        fake.gate.wait(20)
        with fake.lock:
            fake.in_flight -= 1
        if callable(scene):
            scene(self)
        elif scene is None:
            self.send(200, completion(body))
        elif scene == "drop":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif scene == "torn":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        elif scene == "silent":
            threading.Event().wait(1.5)
        else:
            self.send(*scene[:2], **(scene[2] if len(scene) > 2 else {}))


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(served_model, "FIRST_WAIT", 0.01)
    monkeypatch.delenv(served_model.KEY_VARIABLE, raising=False)
    fake = Fake()
    with serving(fake, gate=fake.gate):
        yield fake


def ask(fake, *, chats=("one", "two"), samples=1, stop=None, **values):
    settings = parse(SampleConfig, {"server_timeout": 5, **values})
    connection = Server(fake.address, settings=settings, stop=stop or StopSignal())
    got = {}
    connection.responses(
        [tuple(recipe_runs.chat(text)) for text in chats],
        only=range(len(chats)),
        samples=samples,
        finished=got.__setitem__,
    )
    return got, connection


def test_each_response_is_asked_for_with_its_own_seed_and_the_settings(fake):
    got, _ = ask(fake, samples=2, temperature=0.5, top_p=0.9, top_k=7, max_new_tokens=9)
    assert sorted(got) == [0, 1]
    seeds = {body["seed"] for body in fake.bodies}
    assert len(seeds) == 4
    for body in fake.bodies:
        assert {name: body[name] for name in ("model", "temperature", "top_p", "top_k", "max_tokens")} == {
            "model": "the-model", "temperature": 0.5, "top_p": 0.9, "top_k": 7, "max_tokens": 9,
        }  # fmt: skip
        assert "repetition_penalty" not in body
    assert [response.text.split(",")[0] for response in got[1]] == ["two", "two"]
    assert (got[0][0].logprob, got[0][0].tokens, got[0][0].finish_reason) == (-1.0, 4, "stop")
    again, _ = ask(fake, samples=2, temperature=0.5, top_p=0.9, top_k=7, max_new_tokens=9)
    assert again == got


def test_the_key_comes_from_the_environment_and_appears_in_no_message(fake, monkeypatch):
    ask(fake)
    assert all("Authorization" not in headers for headers in fake.headers)
    monkeypatch.setenv(served_model.KEY_VARIABLE, KEY)
    fake.scenes = [(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}})]
    with pytest.raises(BadInput, match=r"refuses with status 401: Incorrect API key provided: \(key\)$") as caught:
        ask(fake, server_requests=1)
    assert KEY not in str(caught.value)
    assert fake.headers[-1]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "scene",
    [
        (429, {"error": "slow down"}, {"Retry_After": "0.01"}),
        (500, b"<html>oops</html>"),
        (503, {}),
        (200, b'{"choices": ['),
        (200, {"choices": []}),
        (200, {"choices": [{"message": {"content": 7}}]}),
        (200, b"null"),
        "drop",
        "torn",
    ],
    ids=str,
)
def test_what_passes_is_tried_again_and_no_response_is_lost(fake, scene):
    fake.scenes = [scene, scene]
    got, connection = ask(fake, server_requests=2)
    assert {number: responses[0].text.split(",")[0] for number, responses in got.items()} == {0: "one", 1: "two"}
    assert connection.retries == 2
    assert len(fake.bodies) == 4


def test_a_silent_server_is_asked_again(fake):
    fake.scenes = ["silent"]
    got, connection = ask(fake, chats=["one"], server_timeout=0.3)
    assert (len(got), connection.retries) == (1, 1)


def test_a_server_that_stays_broken_is_named_with_the_reason(fake):
    fake.scenes = [(500, {})] * 9
    with pytest.raises(ServerFailed, match=r"was asked 3 times and answered with status 500\.$"):
        ask(fake, server_requests=1, server_retries=2)
    assert len(fake.bodies) == 3


def test_what_does_not_pass_is_not_tried_again(fake):
    fake.scenes = [(400, {"error": {"message": "This model's maximum context length is 16 tokens."}})] * 9
    with pytest.raises(BadInput, match="maximum context length is 16 tokens"):
        ask(fake, server_requests=1)
    assert len(fake.bodies) == 1


def test_no_more_requests_are_in_flight_than_allowed(fake):
    fake.gate.clear()
    asking = threading.Thread(target=ask, args=(fake,), kwargs={"samples": 5, "server_requests": 3})
    asking.start()
    for _ in range(3):
        assert fake.arrived.acquire(timeout=10)
    fake.gate.set()
    asking.join(20)
    assert (len(fake.bodies), fake.most_in_flight) == (10, 3)


def test_a_stop_does_not_wait_for_the_server(fake):
    fake.gate.clear()
    stop = StopSignal()
    raised = []

    def run():
        with pytest.raises(Stopped) as caught:
            ask(fake, stop=stop, server_timeout=600)
        raised.append(caught)

    asking = threading.Thread(target=run)
    asking.start()
    assert fake.arrived.acquire(timeout=10)
    stop.requested = True
    asking.join(5)
    assert raised


def test_a_response_without_probabilities_or_counts_is_taken(fake):
    fake.scenes = [(200, {"choices": [{"message": {"content": "yes"}, "finish_reason": "length"}]})]
    got, _ = ask(fake, chats=["one"], server_logprobs=False)
    assert got[0] == [SampledResponse(text="yes", finish_reason="length", logprob=None, tokens=0)]
    assert "logprobs" not in fake.bodies[0]


@pytest.mark.parametrize("address", ["http://", "http://host:port/v1", "http://key@host/v1", "http://host/v1?key=1"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(BadInput):
        Server(address, settings=SampleConfig(), stop=StopSignal())


def test_the_command_writes_what_the_server_answers(fake, tmp_path, capsys):
    data, out = recipe_runs.prompts(tmp_path, count=5), tmp_path / "out.jsonl"
    arguments = ["sample", "--model", fake.address, "--data", data, "--samples", 2, "--out", out]
    assert command_line.main([str(argument) for argument in arguments]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["responses"], summary["tokens"], summary["server"]) == (10, 40, fake.address)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert all(response["text"].startswith(f"tell {row['id']}, ") for row in rows for response in row["responses"])


def test_a_server_that_is_not_there_ends_the_command_with_a_sentence(fake, tmp_path, capsys):
    address = fake.address
    fake.shutdown()
    fake.server_close()
    data, out = recipe_runs.prompts(tmp_path), tmp_path / "out.jsonl"
    arguments = ["sample", "--model", address, "--data", data, "--out", out, "--set", "server_retries=1"]
    assert command_line.main([str(argument) for argument in arguments]) == 1
    last = capsys.readouterr().err.strip().split("\n")[-1]
    assert last == f"The server {address} was asked 2 times and broke off (Connection refused)."
    assert list(tmp_path.iterdir()) == [data]


HOSTILE = {
    "null": ('{"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}', ""),
    "half": (
        '{"choices": [{"message": {"content": "a\\ud83d b\\ude00"}, "finish_reason": "stop"}]}', "a\ufffd b\ufffd"
    ),
    "NUL": ('{"choices": [{"message": {"content": "a\\u0000b"}, "logprobs": {"content": [{}]}}]}', "a\ufffdb"),
    "infinite": (
        '{"choices": [{"message": {"content": "a"}, "logprobs": {"content": [{"logprob": -Infinity}]}}]}', "a"
    ),
    "huge": (
        '{"choices": [{"message": {"content": "a"}, "logprobs": {"content": [{"logprob": -' + "9" * 400 + "}]}}], "
        '"usage": {"completion_tokens": ' + "9" * 400 + "}}", "a",
    ),
    "nothing": ('{"choices": [{"message": {"content": "a"}, "logprobs": {"content": [{"logprob": null}]}}]}', "a"),
}  # fmt: skip


def test_what_no_file_can_hold_is_repaired_said_and_counted(fake, tmp_path, capsys):
    from models_core.contract.rows import row_parser

    fake.scenes = [(200, content.encode()) for content, _ in HOSTILE.values()]
    data, out = recipe_runs.prompts(tmp_path, count=len(HOSTILE)), tmp_path / "out.jsonl"
    argv = ["sample", "--model", fake.address, "--data", str(data), "--out", str(out), "--set", "server_requests=1"]
    assert command_line.main([*argv, "--device", "cpu"]) == 0
    said = capsys.readouterr()
    summary = json.loads(said.out.strip().split("\n")[-1])
    assert (summary["null_responses"], summary["repaired_responses"], summary["unknown_logprobs"]) == (1, 2, 6)
    assert "1 responses came without any text (content: null) and are empty." in said.err
    assert "2 responses held half of a surrogate pair or a NUL, which is U+FFFD now." in said.err
    assert [row.texts for row in row_parser.read(out, "responses")] == [(text,) for _, text in HOSTILE.values()]
    assert all(json.loads(line)["responses"][0]["logprob"] is None for line in out.read_text().strip().split("\n"))


def test_a_complaint_with_half_a_surrogate_pair_can_be_printed(fake, tmp_path, capsys):
    fake.scenes = [(400, b'{"error": {"message": "\\u202eno\\u0007 \\ud83d"}}')]
    data = recipe_runs.prompts(tmp_path, count=1)
    argv = ["sample", "--model", fake.address, "--data", str(data), "--out", str(tmp_path / "out.jsonl")]
    assert command_line.main(argv) == 2
    assert capsys.readouterr().err.strip().endswith("refuses with status 400: no \ufffd")
