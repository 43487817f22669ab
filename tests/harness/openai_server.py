"""A small server of OpenAI's protocol on loopback, which replies, streams, and fails as servers do."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.harness.http_server import serving

KEY = "sk-of-the-upstream"
PATIENCE = 60.0
Scene = Callable[["Handler", dict[str, Any]], None]


class OpenAIServer(ThreadingHTTPServer):
    """`scene`: what it does in place of replying. `gate`: what comes after the first word waits for it. `left`: set
    when whoever asked has hung up before the end."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reset()

    def reset(self) -> None:
        """As if nobody had asked anything."""
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.scene: Scene | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Event()
        self.left = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news here."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OpenAIServer

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.bodies.append(body)
        server.keys.append(self.headers["Authorization"])
        server.asked.set()
        if server.scene is not None:
            server.scene(self, body)
        elif body.get("stream"):
            with self.stream() as send:
                for piece in pieces(body):
                    send(json.dumps(piece))
                    server.gate.wait(PATIENCE)
                send("[DONE]")
        else:
            server.gate.wait(PATIENCE)
            self.send(200, whole(body))

    def send(self, status: int, content: Any, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    @contextmanager
    def stream(self) -> Iterator[Callable[[str], None]]:
        """Sends events; `left` is set when they arrive nowhere."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

        def send(data: str) -> None:
            event = f"data: {data}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()

        try:
            yield send
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.server.left.set()
            self.close_connection = True

    def hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def texts(body: dict[str, Any]) -> list[str]:
    """The text of each choice."""
    said = body["messages"][-1]["content"]
    return [f"You said: {said} ({number})" for number in range(body.get("n", 1))]


def whole(body: dict[str, Any]) -> dict[str, Any]:
    choices = [
        {"index": number, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for number, text in enumerate(texts(body))
    ]
    return {"id": "of-the-upstream", "object": "chat.completion", "created": 1, "model": body["model"]} | {
        "choices": choices,
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }


def pieces(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The chunks of a stream: a word each, then how it ended."""
    about = {"id": "of-the-upstream", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
    for number, text in enumerate(texts(body)):
        for place, word in enumerate(text.split(" ")):
            delta = {"content": word if not place else f" {word}"} | ({} if place else {"role": "assistant"})
            yield about | {"choices": [{"index": number, "delta": delta, "finish_reason": None}]}
        yield about | {"choices": [{"index": number, "delta": {}, "finish_reason": "stop"}]}
    if (body.get("stream_options") or {}).get("include_usage"):
        yield about | {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}


@contextmanager
def openai_server() -> Iterator[OpenAIServer]:
    server = OpenAIServer()
    with serving(server, gate=server.gate):
        yield server


# --- scenes ---


def refuses(status: int, content: Any = None, **headers: str) -> Scene:
    return lambda handler, body: handler.send(status, content if content is not None else {}, **headers)


def drops(handler: Handler, body: dict[str, Any]) -> None:
    handler.hang_up()


def breaks_off(handler: Handler, body: dict[str, Any]) -> None:
    """After the first word."""
    with handler.stream() as send:
        send(json.dumps(next(pieces(body))))
        handler.hang_up()


def says_nothing(handler: Handler, body: dict[str, Any]) -> None:
    """Until whoever asked hangs up."""
    with suppress(OSError):
        while handler.connection.recv(1024):
            pass
    handler.server.left.set()
    handler.close_connection = True
