"""The protocol of a rollout server: vLLM's, which is OpenAI's with token ids and endpoints that change the weights.

| request | what for |
| --- | --- |
| GET /v1/models | whether it is there, and which adapters it has |
| POST /v1/load_lora_adapter, /v1/unload_lora_adapter | a LoRA adapter (VLLM_ALLOW_RUNTIME_LORA_UPDATING=True) |
| POST /collective_rpc with reload_weights, /reset_prefix_cache | whole weights (VLLM_SERVER_DEV_MODE=1) |
| POST /v1/completions | responses to a prompt of token ids, as token ids with their log-probabilities |

Log-probabilities at a temperature other than 1 need a server that was started with --logprobs-mode processed_logprobs.
Prompts are sent and responses read as token ids, so that no text in between changes a token. Every reply is checked:
what is not exactly what was asked for is not trained on. Never run against vLLM itself.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from models_core.contract.errors import ServerFailed
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import PPOConfig
from models_core.generation.generate import Sample
from models_core.generation.served_model import Server, first_model, request_seed
from models_core.rl.rollout_server.published_weights import PublishedWeights

TOKEN_ID = "token_id:"
"""Before a token's number, where return_tokens_as_token_ids has it stand in the place of the token's text."""
LOOK_SECONDS = 10.0
"""The longest that a look at the server may take."""
ROUNDING = 1e-6
"""By how much a log-probability may be above 0."""


class UnusableRollouts(ServerFailed):
    """A reply that cannot be trained on; the same request is not made again."""


class RolloutServer(Server[PPOConfig]):
    """One iteration's requests to the server at `rollout_server`: `load`, then `sample`, once each."""

    def __init__(self, settings: PPOConfig, *, stop: StopSignal) -> None:
        super().__init__(settings.rollout_server, settings=settings, stop=stop)
        # Development endpoints are beside /v1, not under it.
        root = settings.rollout_server.rstrip("/").removesuffix("/v1")
        self.development: Server[PPOConfig] = Server(root, settings=settings, stop=stop)
        # It may be gone: a look at it costs seconds, not all retries.
        quick = replace(settings, server_retries=0, server_timeout=min(settings.server_timeout, LOOK_SECONDS))
        self.quick: Server[PPOConfig] = Server(settings.rollout_server, settings=quick, stop=stop)

    def find(self) -> list[str]:
        """Names of the models and adapters that it has, asked once. Raises ServerFailed, BadInput."""
        found: list[str] = self.quick.tried(lambda: self.quick.exchange("GET", "/models", None, read=_model_names))
        return found

    def load(self, weights: PublishedWeights) -> str:
        """Have it sample from these weights; returns the model to ask for. Raises ServerFailed, BadInput, Stopped."""
        served = self.find()
        if not weights.is_adapter:
            if not served:
                raise UnusableRollouts(f"The server {self.name} has no model.")
            development = self.development
            reload = {"method": "reload_weights", "kwargs": {"weights_path": weights.folder}}
            development.tried(lambda: development.content("POST", "/collective_rpc", json.dumps(reload).encode()))
            # What it computed of prompts with the weights before would be taken for theirs.
            development.tried(lambda: development.content("POST", "/reset_prefix_cache", b""))
            return self.settings.served_model or served[0]
        if weights.name not in served:
            body = {"lora_name": weights.name, "lora_path": weights.folder, "load_inplace": True}
            self.tried(lambda: self.content("POST", "/load_lora_adapter", json.dumps(body).encode()))
        return weights.name

    def unload(self, name: str) -> None:
        """Have it forget an adapter, asked once. Raises ServerFailed, BadInput."""
        body = json.dumps({"lora_name": name}).encode()
        self.quick.tried(lambda: self.quick.content("POST", "/unload_lora_adapter", body))

    def sample(
        self,
        model: str,
        prompts: Sequence[Sequence[int]],
        *,
        samples: int,
        stop_ids: Sequence[int],
        vocabulary: int,
        seed: int,
    ) -> list[list[Sample]]:
        """`samples` responses to each prompt, in order. Raises ServerFailed, BadInput, Stopped."""

        def ask(row: int) -> list[Sample]:
            body = self._request(model, prompts[row], samples=samples, stop_ids=stop_ids, seed=seed, row=row)
            read = partial(
                read_samples,
                server=self.name,
                model=model,
                prompt=prompts[row],
                samples=samples,
                stop_ids=stop_ids,
                vocabulary=vocabulary,
                max_new_tokens=self.settings.max_new_tokens,
            )
            found: list[Sample] = self.tried(lambda: self.exchange("POST", "/completions", body, read=read))
            return found

        got = dict(self.each(range(len(prompts)), ask))
        return [got[row] for row in range(len(prompts))]

    def _request(
        self, model: str, prompt: Sequence[int], *, samples: int, stop_ids: Sequence[int], seed: int, row: int
    ) -> bytes:
        """The whole distribution at the temperature, whatever the server's defaults; ends at our stop tokens alone."""
        settings = self.settings
        return json.dumps(
            {
                "model": model,
                "prompt": list(prompt),
                "n": samples,
                "max_tokens": settings.max_new_tokens,
                "temperature": settings.temperature,
                "top_p": 1.0,
                "top_k": 0,
                "min_p": 0.0,
                "repetition_penalty": 1.0,
                "presence_penalty": 0.0,
                "frequency_penalty": 0.0,
                "seed": request_seed(seed, (row, 0)),
                "stop_token_ids": list(stop_ids),
                "ignore_eos": True,
                "skip_special_tokens": False,
                "add_special_tokens": False,
                "logprobs": 0,
                "return_token_ids": True,
                "return_tokens_as_token_ids": True,
            }
        ).encode()


def read_samples(
    row: Any,
    *,
    server: str,
    model: str,
    prompt: Sequence[int],
    samples: int,
    stop_ids: Sequence[int],
    vocabulary: int,
    max_new_tokens: int,
) -> list[Sample]:
    """The samples in a reply of /v1/completions. Raises UnusableRollouts with what is wrong in them."""

    def refuse(what: str) -> UnusableRollouts:
        return UnusableRollouts(f"The server {server} {what}.")

    if row["model"] != model:
        raise refuse(f"answered as {str(row['model'])[:80]} where {model} was asked")
    choices = sorted(row["choices"], key=lambda choice: choice["index"])
    if len(choices) != samples:
        raise refuse(f"sent {len(choices)} responses to a prompt where {samples} were asked for")
    found = []
    for choice in choices:
        if choice.get("prompt_token_ids") not in (None, list(prompt)):
            raise refuse("sampled from another prompt than the one that it was sent")
        noted = (choice.get("logprobs") or {}).get("token_logprobs")
        if not noted:
            raise refuse("sent no log-probabilities")
        named = _named_ids(choice["logprobs"].get("tokens") or [])
        ids = choice.get("token_ids") or named
        if not ids:
            raise refuse("sent no token ids (vLLM before 0.10.2 knows no return_token_ids)")
        if not all(type(token) is int and 0 <= token < vocabulary for token in ids) or named not in ([], ids):
            raise refuse("sent token ids that are not the policy's")
        if len(noted) != len(ids) or not all(_is_log_probability(value) for value in noted):
            raise refuse("sent log-probabilities that are not one number for each token")
        ends = [position for position, token in enumerate(ids) if token in stop_ids]
        is_ended = ends == [len(ids) - 1]
        if len(ids) > max_new_tokens or not (is_ended or (not ends and len(ids) == max_new_tokens)):
            raise refuse("ended responses neither at a stop token nor at max_new_tokens")
        found.append(
            Sample(ids=tuple(ids), logprobs=tuple(map(float, noted)), finish_reason="stop" if is_ended else "length")
        )
    return found


def _is_log_probability(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value <= ROUNDING


def _named_ids(tokens: Sequence[Any]) -> list[int]:
    """The numbers of tokens that are named by them; [] where a token is named otherwise."""
    numbers = [
        token.removeprefix(TOKEN_ID) for token in tokens if isinstance(token, str) and token.startswith(TOKEN_ID)
    ]
    return [int(number) for number in numbers] if len(numbers) == len(tokens) else []


def _model_names(row: Any) -> list[str]:
    first_model(row)
    return [str(model["id"]) for model in row["data"]]
