"""Judgments by the product's AI labeler, of a chat model on loopback that perceives the gold reward.

The labeler is `models_core judge`, which runs of AI labelers start: its prompt, both orders of every pair, a tie where
they contradict each other, its budget. The model prefers the first of two responses with the probability
sigmoid(difference of gold / noise + bias): as noisy as a simulated person, and fond of what it is shown first.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gold_reward import stages
from benchmarks.gold_reward.golds import Positivity, Scores, positivity
from benchmarks.gold_reward.labelers import AGREEMENT
from benchmarks.gold_reward.stages import Row
from models_core.ai_feedback import rankings
from tests.harness import http_server
from tests.harness.ports import free_port

USUAL: Mapping[str, Any] = {"judge_rubric": "The better response sounds more positive."}
MODEL = "perceives-gold"
SHOWN = re.compile(r"<response ([AB]) ([0-9a-f]{12})>\n(.*?)\n</response \1 \2>", re.DOTALL)
SLACK = 1.05
"""Requests of the budget for each question: a connection that breaks is asked for again."""


def judgments(
    data: Path, *, out: Path, served_from: Path, noise: float, bias: float, settings: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The AI labeler's rankings of a file of responses, and measures of it.

    data: rows as `sample` writes them. served_from: the folder that keeps the port of the chat model.

    Rows that it ties altogether are left out. agreement: of the pairs, the part judged alike in both orders. right: of
    the pairs that differ by gold, the part in its order; a tie counts one half.
    """
    rows = stages.read(data)
    questions = sum(len(rankings.orders(len(row["responses"]))) for row in rows)
    budget = {"max_requests": int(questions * SLACK)}
    with serving(served_from, noise=noise, bias=bias) as address:
        summary = stages.run("judge", out=out, settings={**settings, **budget}, model=address, data=data)
    if summary["budget_spent"]:
        raise SystemExit(f"{out}: {budget['max_requests']} requests were not enough.")
    found, scores = [], Positivity().scores(rows)
    right: list[float] = []
    for row, own, said in zip(rows, scores, stages.read(out), strict=True):
        if said["tiers"] is None:
            continue
        ranks = {place: number for number, tier in enumerate(said["tiers"], start=1) for place in tier}
        right += [
            _rightness(own[a] - own[b], ranks[b] - ranks[a]) for a, b in combinations(ranks, 2) if own[a] != own[b]
        ]
        if len(said["tiers"]) > 1:
            responses = [
                {"text": response["text"], "rank": ranks[place]} for place, response in enumerate(row["responses"])
            ]
            found.append({"id": row["id"], "prompt": row["prompt"], "responses": responses, "judge": "ai"})
    facts = {
        "agreement": summary["position_consistency"],
        "right": float(np.mean(right)),
        "requests": summary["requests"],
    }
    return found, facts


def _rightness(by_gold: float, by_judge: float) -> float:
    return 0.5 if by_judge == 0 else float((by_gold > 0) == (by_judge > 0))


def calibrated(scores: Scores, *, bias: float) -> float:
    """The noise at which such a model judges AGREEMENT of the pairs of these responses alike in both orders."""
    differences = np.array([abs(a - b) for own in scores for a, b in combinations(own, 2)])
    low, high = 1e-6, 1e3
    if _consistency(differences, low, bias=bias) < AGREEMENT:
        raise SystemExit(f"No noise lets a judge of bias {bias:g} agree with itself on {AGREEMENT:.0%} of these pairs.")
    while high / low > 1 + 1e-9:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if _consistency(differences, middle, bias=bias) > AGREEMENT else (low, middle)
    return low


def _consistency(differences: np.ndarray, noise: float, *, bias: float) -> float:
    """Mean probability that both orders name the same response. differences: [pairs], none below 0."""
    ahead = np.minimum(differences / noise, 500.0)
    first, second = _sigmoid(ahead + bias), _sigmoid(ahead - bias)  # named as A, and as B
    return float(np.mean(first * second + (1 - first) * (1 - second)))


def _sigmoid(values: Any) -> Any:
    return 1 / (1 + np.exp(-values))


def verdict(request: Mapping[str, Any], *, noise: float, bias: float) -> str:
    """ "A" or "B" for a request that `models_core judge` sends. The same request has the same verdict."""
    shown = {name: text for name, _mark, text in SHOWN.findall(request["messages"][1]["content"])}
    first, second = positivity([{}, {}], [shown["A"], shown["B"]])
    digest = hashlib.sha256(json.dumps([request["messages"], request["seed"]]).encode()).digest()
    noticed = np.random.default_rng(int.from_bytes(digest[:16], "big")).logistic()
    return "A" if (first - second) / noise + bias + noticed > 0 else "B"


@contextmanager
def serving(folder: Path, *, noise: float, bias: float) -> Iterator[str]:
    """Serve the model; its address. The port is kept in FOLDER, since what was asked names the address."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # with the usual 5 some of the judge's connections are refused, and asked for again

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply({"data": [{"id": MODEL}]})

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            said = verdict(json.loads(content), noise=noise, bias=bias)
            usage = {"prompt_tokens": len(content) // 4, "completion_tokens": 1}
            self._reply({"choices": [{"message": {"content": said}, "finish_reason": "stop"}], "usage": usage})

        def _reply(self, row: Row) -> None:
            content = json.dumps(row).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    kept = folder / "port.json"
    port = stages.read(kept)[0] if kept.exists() else free_port()
    try:
        server = Server(("127.0.0.1", port), Handler)
    except OSError as error:
        raise SystemExit(f"The port {port}, by which {folder} was begun, cannot be had: {error.strerror}.") from None
    stages.write(kept, f"{port}\n")
    with http_server.serving(server, gate=threading.Event()):
        yield f"http://127.0.0.1:{port}/v1"
