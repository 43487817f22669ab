"""Responses while somebody waits: a process that keeps its model loaded between one turn of a chat and the next.

    python -m models_core live

Standard input has a call a line, a row of prompts with what `sample` takes as flags:
{"id", "prompt": [...], "model": M, "samples": K, "settings": {...}}. The replies are lines of JSON on standard output:
{"state": "loading"} where the model isn't loaded yet, {"state": "generating", "done": 1, "total": K} as responses end,
and last {"id", "responses": [...], "usage": {"prompt_tokens", "completion_tokens"}}, a row as `sample` writes it with
the numbers of its tokens, or {"error": "..."} for a call that is refused.
With "stream": true the text so far comes a few times a second, {"state": "generating", ..., "text": "..."}, of a call
for one response; with "reward": RM each response gets its score.
"model" may be the address of a served model, with "key_variable" for the variable of its key: its name comes back as
"served_model", and what goes wrong as "fault": {"code", "values"} beside the error. Such a call with a number, "call",
is served beside the others, and each line about it has the number; {"cancel": number} leaves it, and no line follows.
Models stay as long as there is room for them beside the next one, up to KEPT_MODELS. After --idle seconds without a
call the process ends and gives its memory back; so it does when standard input ends.
"""

import json
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from models_core.commands import sample
from models_core.commands.served_calls import ServedCall, ServedCalls, Tell, now_and_then, reported_faults
from models_core.contract.errors import BadInput
from models_core.contract.reports import reward_names
from models_core.contract.rows import records
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import SampleConfig, parse
from models_core.generation.sampled_response import SampledResponse
from models_core.modeling import chat, loading
from models_core.rl.rewards.reward_models import RewardModels
from models_core.training import precision

LOOK_SECONDS = 0.5
"""Between two looks at the stop signal while nobody asks."""
BLOCK_BYTES = 65_536
MOST_RESPONSES = 1024
FIELDS = {"model": str, "samples": int, "settings": dict}
KEPT_MODELS = 3
ROOM = 2.0
"""Free memory, in sizes of the loaded models, that must be there for them to stay."""
SCORED_TOKENS = 8192


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model in memory, by the name and the numbers that were asked for."""

    name: str
    dtype: torch.dtype
    tokenizer: Any
    network: Any


class LiveModel:
    """Serves one call after the other, with the models of the last ones at hand, and calls of servers beside them."""

    def __init__(self, *, device: torch.device, stop: StopSignal, tell: Tell) -> None:
        self._device = device
        self._stop = stop
        self._write = tell
        self._loaded: dict[tuple[str, torch.dtype], Loaded] = {}
        self._reward: tuple[str, RewardModels] | None = None
        self._telling, self._computing = threading.Lock(), threading.Lock()
        self.served = ServedCalls(self._respond, self._tell)

    def serve(self, line: str) -> None:
        """Tell the responses to one call, or what is wrong with it. Raises Stopped."""
        with reported_faults(self._tell):
            call = _parsed(line)
            if isinstance(call, dict) and isinstance(call.get("cancel"), int):
                return self.served.leave(call["cancel"])
            call = _checked(call)
            if reward_names.is_address(call["model"]) and isinstance(call.get("call"), int):
                return self.served.begin(call)
            self._respond(call, self._tell, ServedCall(self._stop))
        return None

    def _respond(self, call: dict[str, Any], tell: Tell, served_call: ServedCall) -> None:
        prompt = records.prompt(call)
        settings = parse(SampleConfig, call["settings"])
        reward = call.get("reward")
        sample.check(settings, model=call["model"], samples=call["samples"], reward=reward)
        if reward_names.is_address(call["model"]):
            facts, drawn = served_call.reply(call, prompt, settings, tell)
        else:
            with self._computing:
                model = self._model(call["model"], settings)
                streams = call.get("stream") is True and call["samples"] == 1
                facts, drawn = self._drawn(model, prompt, call["samples"], settings, streams=streams)
        with self._computing:
            reward_models = self._reward_models(reward, settings) if reward else None
            rows = sample.response_rows(prompt.messages, drawn, settings, reward_models=reward_models)
        tell({"id": prompt.id, "responses": rows, **facts})

    def _tell(self, what: Mapping[str, Any]) -> None:
        with self._telling:
            self._write(what)

    def _drawn(
        self, model: Loaded, prompt: records.Prompt, samples: int, settings: SampleConfig, *, streams: bool
    ) -> tuple[dict[str, Any], list[SampledResponse]]:
        """The tokens of the prompt as the model reads it and of all responses, and these."""

        def progress(done: int, total: int) -> None:
            self._tell({"state": "generating", "done": done, "total": total})

        progress(0, samples)
        ids, _ = sample.encode_prompts(model.network, model.tokenizer, [prompt.messages], settings=settings)
        (drawn,) = sample.draw(
            model.network,
            model.tokenizer,
            ids,
            samples=samples,
            settings=settings,
            stop=self._stop,
            progress=progress,
            streamed=self._text_teller(model) if streams else None,
        )
        responses = [
            SampledResponse(
                text=sample.text_of(model.tokenizer, item),
                finish_reason=item.finish_reason,
                logprob=sum(item.logprobs),
                tokens=sample.content_length(item),
            )
            for item in drawn
        ]
        usage = {"prompt_tokens": len(ids[0]), "completion_tokens": sum(each.tokens for each in responses)}
        return {"usage": usage}, responses

    def _text_teller(self, model: Loaded) -> Callable[[Any, torch.Tensor], None]:
        """Tells the one response so far, without a character whose last tokens are to come."""
        tell = now_and_then(
            self._tell, lambda ids: chat.decode_response(model.tokenizer, ids[0].tolist()).rstrip("\ufffd")
        )
        return lambda row_ids, ids: tell(ids)

    def _model(self, name: str, settings: SampleConfig) -> Loaded:
        dtype = precision.dtype_of(precision.resolve(settings.precision, device=self._device))
        key = (name, dtype)
        if key not in self._loaded:
            self._tell({"state": "loading"})
            self._make_room()
            tokenizer = loading.load_tokenizer(name)
            network = loading.load_policy(name, device=self._device, dtype=dtype)
            self._loaded[key] = Loaded(name=name, dtype=dtype, tokenizer=tokenizer, network=network)
        # The one that was used last goes last.
        self._loaded[key] = self._loaded.pop(key)
        return self._loaded[key]

    def _make_room(self) -> None:
        """Forget the models that were used longest ago, all of them where memory is short."""
        while self._loaded:
            sizes = [_bytes_of(kept.network) for kept in self._loaded.values()]
            if len(sizes) < KEPT_MODELS and _free_bytes(self._device) >= ROOM * max(sizes):
                return
            del self._loaded[next(iter(self._loaded))]

    def _reward_models(self, name: str, settings: SampleConfig) -> RewardModels:
        if self._reward is None or self._reward[0] != name:
            self._reward = None
            self._make_room()
            dtype = precision.dtype_of(precision.resolve(settings.precision, device=self._device))
            models = RewardModels.load(
                name, device=self._device, dtype=dtype, max_length=settings.max_length, budget=SCORED_TOKENS
            )
            self._reward = (name, models)
        return self._reward[1]


def _bytes_of(network: Any) -> int:
    return sum(weights.numel() * weights.element_size() for weights in network.parameters())


def _free_bytes(device: torch.device) -> int:
    """Of the device's memory; 0 where that is not known."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            (available,) = [line.split()[1] for line in file if line.startswith("MemAvailable:")]
    except (OSError, ValueError):
        return 0
    return int(available) * 1024


def serve(*, calls: int, tell: Tell, device: torch.device, stop: StopSignal, idle: float) -> dict[str, Any]:
    """Serve the calls of a file descriptor until they end, nobody asks for `idle` seconds, or a stop is requested.

    Returns how many there were. Raises Stopped within a call.
    """
    live_model = LiveModel(device=device, stop=stop, tell=tell)
    served = 0
    try:
        for line in _lines(calls, stop=stop, idle=idle, is_busy=lambda: live_model.served.are_under_way):
            live_model.serve(line)
            served += 1
    finally:
        live_model.served.leave_all()
    return {"served": served}


def tell_line(what: Mapping[str, Any]) -> None:
    """A line on standard output, at once."""
    print(json.dumps(what, ensure_ascii=False), flush=True)


def _lines(source: int, *, stop: StopSignal, idle: float, is_busy: Callable[[], bool]) -> Iterator[str]:
    rest, since = b"", time.monotonic()
    while not stop.requested and time.monotonic() - since < idle:
        if is_busy():
            since = time.monotonic()
        if not select.select([source], [], [], min(LOOK_SECONDS, idle))[0]:
            continue
        block = os.read(source, BLOCK_BYTES)
        if not block:
            return
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace")
        since = time.monotonic()


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise BadInput("A call is a JSON object on a line of its own.") from None


def _checked(call: Any) -> dict[str, Any]:
    for name, kind in FIELDS.items():
        if not isinstance(call, dict) or not isinstance(call.get(name), kind):
            raise BadInput(f"A call has the fields id, prompt, {', '.join(FIELDS)}; {name} is missing or wrong.")
    if not 1 <= call["samples"] <= MOST_RESPONSES:
        raise BadInput(f"samples is {call['samples']}; it must be a whole number from 1 to {MOST_RESPONSES}.")
    checked: dict[str, Any] = call
    return checked
