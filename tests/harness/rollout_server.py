"""A small server of vLLM's protocol on loopback: a tiny model samples for real, with adapters that it loads by name.

Its forward pass is transformers' own, one whole sequence a token, so its log-probabilities come another way than ours.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.harness.http_server import serving
from tests.harness.openai_server import Handler as OpenAIHandler

BASE = "base"
Fault = Callable[["Handler", dict[str, Any]], bool]
"""Answers a request in place of the server: True where it has."""
Edit = Callable[[dict[str, Any]], Any]


class TinyVLLM(ThreadingHTTPServer):
    """`asked`: (path, body) of every request. `faults`: by path. `edit` changes a reply of completions.

    `gate`: completions wait for it. `is_stale`: adapters are taken, and the base model goes on sampling.
    """

    daemon_threads = True

    def __init__(self, model: Path, *, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.folder = model
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self.adapters: dict[str, Any] = {}
        self.lock = threading.Lock()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.faults: dict[str, Fault] = {}
        self.edit: Edit | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.sampling = threading.Event()
        self.is_stale = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [body for where, body in self.asked if where == path]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news here."""

    def load(self, name: str, folder: str) -> None:
        base = AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.float32)
        self.adapters[name] = PeftModel.from_pretrained(base, folder).eval()

    def reload(self, folder: str) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    @torch.no_grad()
    def choices(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        model = self.model if self.is_stale or body["model"] == BASE else self.adapters[body["model"]]
        found = []
        for number in range(body["n"]):
            generator = torch.Generator().manual_seed(body["seed"] + number)
            ids, log_probs = [], []
            while len(ids) < body["max_tokens"] and not (ids and ids[-1] in body["stop_token_ids"]):
                logits = model(torch.tensor([[*body["prompt"], *ids]])).logits[0, -1] / body["temperature"]
                distribution = logits.double().log_softmax(-1)
                token = int(torch.multinomial(distribution.exp(), 1, generator=generator))
                ids.append(token)
                log_probs.append(distribution[token].item())
            found.append(
                {
                    "index": number,
                    "text": "",
                    "finish_reason": "stop" if ids[-1] in body["stop_token_ids"] else "length",
                    "token_ids": ids,
                    "prompt_token_ids": body["prompt"],
                    "logprobs": {"tokens": [f"token_id:{token}" for token in ids], "token_logprobs": log_probs},
                }
            )
        return found


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: TinyVLLM
    send = OpenAIHandler.send
    hang_up = OpenAIHandler.hang_up

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.take({})

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"] or 0)
        self.take(json.loads(self.rfile.read(size)) if size else {})

    def take(self, body: dict[str, Any]) -> None:
        server, path = self.server, self.path
        server.asked.append((path, body))
        fault = server.faults.get(path)
        if fault is not None and fault(self, body):
            return
        if path == "/v1/models":
            self.send(200, {"data": [{"id": name} for name in (BASE, *server.adapters)]})
        elif path == "/v1/load_lora_adapter":
            with server.lock:
                server.load(body["lora_name"], body["lora_path"])
            self.send(200, b"Success: LoRA adapter added successfully.")
        elif path == "/v1/unload_lora_adapter":
            server.adapters.pop(body["lora_name"], None)
            self.send(200, b"Success: LoRA adapter removed successfully.")
        elif path == "/collective_rpc":
            with server.lock:
                server.reload(body["kwargs"]["weights_path"])
            self.send(200, {"results": [None]})
        elif path == "/reset_prefix_cache":
            self.send(200, b"")
        elif path == "/v1/completions":
            server.sampling.set()
            server.gate.wait(60)
            with server.lock:
                reply = {"model": body["model"], "choices": server.choices(body)}
            if server.edit is not None:
                server.edit(reply)
            self.send(200, reply)
        else:
            self.send(404, {"error": {"message": "Not Found"}})


@contextmanager
def tiny_vllm(model: Path, *, port: int = 0) -> Iterator[TinyVLLM]:
    server = TinyVLLM(model, port=port)
    with serving(server, gate=server.gate):
        yield server


# --- faults ---


def refuses(status: int, words: str = "") -> Fault:
    def fault(handler: Handler, body: dict[str, Any]) -> bool:
        handler.send(status, {"error": {"message": words}})
        return True

    return fault


def hangs_up(handler: Handler, body: dict[str, Any]) -> bool:
    """In the middle of the reply."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"model"')
    handler.wfile.flush()
    handler.hang_up()
    return True


def says_nothing(handler: Handler, body: dict[str, Any]) -> bool:
    """Until whoever asked hangs up."""
    with suppress(OSError):
        while handler.connection.recv(1024):
            pass
    handler.close_connection = True
    return True
