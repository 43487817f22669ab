"""The process that keeps a model loaded between calls, fed through a pipe."""

import json
import os
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from models_core.commands import live, sample, served_calls
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import SampleConfig
from tests.conftest import wait_until
from tests.models_core.generation.test_served_model import Fake, fake
from tests.models_core.generation.test_served_stream import silent
from tests.models_core.recipe_runs import make_reward_model
from tests.models_core.tiny import make_tiny_model

CPU = torch.device("cpu")
__all__ = ["fake"]  # a fixture

SETTINGS = {"precision": "fp32", "max_length": 128, "max_new_tokens": 6, "seed": 3}
LOADING = {"state": "loading"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    return [str(make_tiny_model(folder / str(seed), seed=seed)) for seed in (0, 1)]


def call(model: str, text: str = "How?", **values: Any) -> dict[str, Any]:
    prompt = [{"role": "user", "content": text}]
    return {"id": "7", "prompt": prompt, "model": model, "samples": 3, "settings": SETTINGS} | values


Served = Callable[..., list[Mapping[str, Any]]]


@pytest.fixture
def served() -> Served:
    """What is replies to these calls, all of them written before the first is read; then their end."""

    def serve(*calls: object, idle: float = 60.0) -> list[Mapping[str, Any]]:
        read, write = os.pipe()
        os.write(
            write, b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in calls)
        )
        os.close(write)
        replies: list[Mapping[str, Any]] = []
        summary = live.serve(calls=read, tell=replies.append, device=CPU, stop=StopSignal(), idle=idle)
        os.close(read)
        assert summary == {"served": len(calls)}
        return replies

    return serve


def last_words(replies: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [line for line in replies if "state" not in line]


def test_responses_are_those_that_sample_writes(served: Served, models: list[str], tmp_path: Path) -> None:
    data, out = tmp_path / "prompts.jsonl", tmp_path / "responses.jsonl"
    data.write_text(json.dumps({"id": "7", "prompt": call("")["prompt"]}) + "\n")
    settings = SampleConfig(**SETTINGS)
    sample.run(settings, model=models[0], data=data, samples=3, out=out, device=CPU, stop=StopSignal())
    (row,) = last_words(served(call(models[0])))
    written = json.loads(out.read_text())
    assert row["id"] == written["id"]
    assert [item["text"] for item in row["responses"]] == [item["text"] for item in written["responses"]]
    assert [item.keys() for item in row["responses"]] == [item.keys() for item in written["responses"]]


def test_a_model_is_loaded_once_and_stays_beside_others(served: Served, models: list[str]) -> None:
    first, second = models
    replies = served(call(first), call(first, "And then?"), call(second), call(first))
    assert [line for line in replies if line == LOADING] == [LOADING] * 2
    assert replies[0] == LOADING
    assert len(last_words(replies)) == 4


def test_where_memory_is_short_one_model_is_kept(
    served: Served, models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_free_bytes", lambda device: 0)
    first, second = models
    replies = served(call(first), call(second), call(first))
    assert [line for line in replies if line == LOADING] == [LOADING] * 3


def test_a_streamed_response_grows_to_what_it_is_without(
    served: Served, models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_calls, "STREAM_SECONDS", 0.0)
    (plain,) = last_words(served(call(models[0], samples=1)))
    replies = served(call(models[0], samples=1, stream=True))
    texts = [line["text"] for line in replies if "text" in line]
    assert len(texts) > 1
    whole = plain["responses"][0]["text"]
    assert last_words(replies) == [plain]
    assert all(whole.startswith(text) for text in texts)
    assert texts == sorted(texts, key=len)
    # Several responses at once, or nobody who asked for it: no text before the end.
    assert not [line for line in served(call(models[0], stream=True)) if "text" in line]


def test_a_reward_model_scores_the_responses(served: Served, models: list[str], tmp_path: Path) -> None:
    reward = str(make_reward_model(Path(models[0]), tmp_path / "reward"))
    (row,) = last_words(served(call(models[0], reward=reward)))
    assert all(isinstance(item["score"], float) for item in row["responses"])


def test_says_how_many_responses_are_there(served: Served, models: list[str]) -> None:
    replies = [line for line in served(call(models[0])) if line.get("state") == "generating"]
    assert replies[0] == {"state": "generating", "done": 0, "total": 3}
    assert replies[-1] == {"state": "generating", "done": 3, "total": 3}
    assert [line["done"] for line in replies] == sorted(line["done"] for line in replies)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"{", "A call is a JSON object on a line of its own."),
        (b"[]", "A call has the fields id, prompt, model, samples, settings; model is missing or wrong."),
        ({"samples": "3"}, "A call has the fields id, prompt, model, samples, settings; samples is missing or wrong."),
        ({"samples": 0}, "samples is 0; it must be a whole number from 1 to 1024."),
        ({"prompt": []}, '"prompt" must be a non-empty list of turns'),
        ({"settings": {"temperature": -1}}, "The setting temperature must be a number from 0 to 100, not -1."),
        ({"settings": {"best_of": 4}}, "best_of needs a reward model to choose by: --reward RM."),
        ({"model": "/no/where"}, "There is no model folder /no/where."),
    ],
)
def test_a_call_that_cannot_be_answered_gets_a_sentence_and_the_next_a_response(
    served: Served, models: list[str], broken: object, reason: str
) -> None:
    wrong = call(models[0]) | broken if isinstance(broken, dict) else broken
    refused, answered = last_words(served(wrong, call(models[0])))
    assert refused == {"error": reason}
    assert len(answered["responses"]) == 3


def test_ends_when_nobody_asks(models: list[str]) -> None:
    read, write = os.pipe()
    replies: list[Mapping[str, Any]] = []
    assert live.serve(calls=read, tell=replies.append, device=CPU, stop=StopSignal(), idle=0.05) == {"served": 0}
    os.close(read)
    os.close(write)


def test_ends_when_it_is_asked_to(models: list[str]) -> None:
    read, write = os.pipe()
    stop = StopSignal()
    stop.requested = True
    assert live.serve(calls=read, tell=lambda _: None, device=CPU, stop=stop, idle=60.0) == {"served": 0}
    os.close(read)
    os.close(write)


def test_calls_of_servers_go_on_beside_each_other_until_they_are_left(models: list[str], fake: Fake) -> None:
    told = queue.SimpleQueue[Mapping[str, Any]]()
    read, write = os.pipe()
    serving = threading.Thread(
        target=live.serve,
        kwargs={"calls": read, "tell": told.put, "device": CPU, "stop": StopSignal(), "idle": 60.0},
    )
    serving.start()

    def say(row: Mapping[str, Any]) -> None:
        os.write(write, json.dumps(row).encode() + b"\n")

    settings = {**SETTINGS, "served_model": "mine", "server_logprobs": False}
    fake.scenes = [silent, silent]
    for number in (1, 2):
        say(call(fake.address, samples=1, settings=settings, call=number))
        assert told.get(timeout=30) == {"call": number, "state": "generating", "done": 0, "total": 1}
        wait_until(lambda wanted=number: len(fake.bodies) == wanted, what="the request")
    # While both are silent a third one and a model in memory respond.
    say(call(fake.address, samples=1, settings=settings, call=3))
    said = [told.get(timeout=30) for _ in range(2)]
    assert [line["call"] for line in said] == [3, 3]
    assert said[1]["served_model"] == "mine"
    say(call(models[0], samples=1))
    assert told.get(timeout=30) == LOADING
    while "responses" not in (line := told.get(timeout=30)):
        assert "call" not in line
    say({"cancel": 1})
    say({"cancel": 7})
    say(call(fake.address, samples=2, settings=settings, call=4))
    assert told.get(timeout=30) == {"call": 4, "error": "A served model gives one response to a call."}
    os.close(write)
    serving.join(timeout=30)
    assert not serving.is_alive()
    assert told.empty()  # nothing of those that were left
    os.close(read)
