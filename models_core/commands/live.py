"""Responses while somebody waits: a process that keeps its model loaded between one turn of a chat and the next.

    python -m models_core live

Standard input has a call a line, a row of prompts with what `sample` takes as flags:
{"id", "prompt": [...], "model": M, "samples": K, "settings": {...}}. The replies are lines of JSON on standard output:
{"state": "loading"} where the model isn't loaded yet, {"state": "generating", "done": 1, "total": K} as responses end,
and last {"id", "responses": [...]}, a row as `sample` writes it, or {"error": "..."} for a call that is refused.
The model stays until a call names another one. After --idle seconds without a call the process ends and gives its
memory back; so it does when standard input ends.
"""

import json
import os
import select
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from models_core.commands import sample
from models_core.contract.errors import BadInput, RowError
from models_core.contract.rows import records
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import SampleConfig, parse
from models_core.modeling import loading
from models_core.training import precision

LOOK_SECONDS = 0.5
"""Between two looks at the stop signal while nobody asks."""
BLOCK_BYTES = 65_536
MOST_RESPONSES = 1024
FIELDS = {"model": str, "samples": int, "settings": dict}

Tell = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model in memory, by the name and the numbers that were asked for."""

    name: str
    dtype: torch.dtype
    tokenizer: Any
    network: Any


class LiveModel:
    """Serves one call after the other, with the model of the last one at hand."""

    def __init__(self, *, device: torch.device, stop: StopSignal, tell: Tell) -> None:
        self._device = device
        self._stop = stop
        self._tell = tell
        self._loaded: Loaded | None = None

    def serve(self, line: str) -> None:
        """Tell the responses to one call, or what is wrong with it. Raises Stopped."""
        try:
            call = _read(line)
            prompt = records.prompt(call)
            settings = parse(SampleConfig, call["settings"])
            sample.check(settings, model=call["model"], samples=call["samples"], reward=None)
            model = self._model(call["model"], settings)
            self._tell({"id": prompt.id, "responses": self._drawn(model, prompt, call["samples"], settings)})
        except (BadInput, RowError) as error:
            self._tell({"error": " ".join(str(error).split())})

    def _drawn(
        self, model: Loaded, prompt: records.Prompt, samples: int, settings: SampleConfig
    ) -> list[dict[str, Any]]:
        def progress(done: int, total: int) -> None:
            self._tell({"state": "generating", "done": done, "total": total})

        progress(0, samples)
        (drawn,), _ = sample.respond(
            model.network,
            model.tokenizer,
            [prompt.messages],
            samples=samples,
            settings=settings,
            stop=self._stop,
            progress=progress,
        )
        return [
            {
                "text": sample.text_of(model.tokenizer, item),
                "finish_reason": item.finish_reason,
                "logprob": sum(item.logprobs),
            }
            for item in drawn
        ]

    def _model(self, name: str, settings: SampleConfig) -> Loaded:
        dtype = precision.dtype_of(precision.resolve(settings.precision, device=self._device))
        if self._loaded is None or (self._loaded.name, self._loaded.dtype) != (name, dtype):
            self._tell({"state": "loading"})
            self._loaded = None  # before the next one comes: there may be room for one alone
            tokenizer = loading.load_tokenizer(name)
            network = loading.load_policy(name, device=self._device, dtype=dtype)
            self._loaded = Loaded(name=name, dtype=dtype, tokenizer=tokenizer, network=network)
        return self._loaded


def serve(*, calls: int, tell: Tell, device: torch.device, stop: StopSignal, idle: float) -> dict[str, Any]:
    """Serve the calls of a file descriptor until they end, nobody asks for `idle` seconds, or a stop is requested.

    Returns how many there were. Raises Stopped within a call.
    """
    live_model = LiveModel(device=device, stop=stop, tell=tell)
    served = 0
    for line in _lines(calls, stop=stop, idle=idle):
        live_model.serve(line)
        served += 1
    return {"served": served}


def tell_line(what: Mapping[str, Any]) -> None:
    """A line on standard output, at once."""
    print(json.dumps(what, ensure_ascii=False), flush=True)


def _lines(source: int, *, stop: StopSignal, idle: float) -> Iterator[str]:
    rest, since = b"", time.monotonic()
    while not stop.requested and time.monotonic() - since < idle:
        if not select.select([source], [], [], min(LOOK_SECONDS, idle))[0]:
            continue
        block = os.read(source, BLOCK_BYTES)
        if not block:
            return
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace")
        since = time.monotonic()


def _read(line: str) -> dict[str, Any]:
    try:
        call = json.loads(line)
    except ValueError:
        raise BadInput("A call is a JSON object on a line of its own.") from None
    for name, kind in FIELDS.items():
        if not isinstance(call, dict) or not isinstance(call.get(name), kind):
            raise BadInput(f"A call has the fields id, prompt, {', '.join(FIELDS)}; {name} is missing or wrong.")
    if not 1 <= call["samples"] <= MOST_RESPONSES:
        raise BadInput(f"samples is {call['samples']}; it must be a whole number from 1 to {MOST_RESPONSES}.")
    return call
