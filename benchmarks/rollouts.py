"""Sampling beside transformers' `generate`: tokens a second and memory, on the same prompts, in one sitting.

    python -m benchmarks rollouts [--data prompts.jsonl] [--model M] [--rows 64] [--new 64] [--runs 3]
    python -m benchmarks rollouts --greedy     also compare the likeliest responses of both, in fp32

Each run is a process of its own, as a user's command is, and the two engines take turns. No response ends early, so
that both make the same number of steps: temperature 1, nothing cut off, bf16. The time is that of sampling, prompts
included; loading and tokenising are left out. Keep the machine quiet.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from annotate import demo
from benchmarks.children import finished
from models_core.contract.rows import records, row_parser
from models_core.generation import generate as rollout
from models_core.modeling import chat, loading

BASE = "smollm2-135m-instruct"
LONGEST_PROMPT = 200
"""Characters; longer prompts are passed over, and chats of several turns."""
Engine = Callable[[Any, Any, list[list[int]], int], list[list[int]]]


def ours(model: Any, tokenizer: Any, prompts: list[list[int]], new: int, *, temperature: float = 1.0) -> Any:
    responses = rollout.sample(
        model, prompts, samples=1, max_new_tokens=new, temperature=temperature, seed=0, batch_size=len(prompts),
        stop_ids=[] if temperature else [tokenizer.eos_token_id], release=temperature > 0,
    )  # fmt: skip
    return [list(response.ids) for (response,) in responses]


def generate(model: Any, tokenizer: Any, prompts: list[list[int]], new: int, *, temperature: float = 1.0) -> Any:
    """transformers' own loop: padded on the left, drawing from all tokens, or greedy at temperature 0.

    Drawn responses never end early, greedy ones at EOS: to keep `generate` from it takes EOS out of the distribution.
    """
    width = max(map(len, prompts))
    padded = [[tokenizer.eos_token_id] * (width - len(ids)) + ids for ids in prompts]
    mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts]
    drawing = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    out = model.generate(
        input_ids=torch.tensor(padded),
        attention_mask=torch.tensor(mask),
        max_new_tokens=new,
        min_new_tokens=new if temperature else None,
        pad_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **(drawing if temperature else {"do_sample": False}),
    )
    return out[:, width:].tolist()


ENGINES: dict[str, Engine] = {"ours": ours, "generate": generate}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks rollouts", description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=demo.PROMPTS, metavar="FILE", help="prompts")
    parser.add_argument("--model", default=BASE, metavar="M")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--new", type=int, default=64, help="tokens of each response")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--greedy", action="store_true", help="compare greedy responses in fp32 too")
    parser.add_argument("--engine", choices=list(ENGINES), help="measure this one alone, in this process")
    options = parser.parse_args(arguments)
    if options.engine:
        print(json.dumps(measure(options)))
        return 0
    runs = [{engine: _apart(engine, arguments) for engine in ENGINES} for _ in range(options.runs)]
    figures: dict[str, Any] = {}
    for engine in ENGINES:
        own = sorted((run[engine] for run in runs), key=lambda figure: float(figure["tokens_per_s"]))
        figures[engine] = own[len(own) // 2] | {
            "runs": [figure["tokens_per_s"] for figure in own],
            "peak_mb": max(figure["peak_mb"] for figure in own),
        }
        print(f"{engine:<12}{figures[engine]['tokens_per_s']:>8.0f} tokens/s{figures[engine]['peak_mb']:>8.0f} MB")
    figures["ratio"] = round(figures["ours"]["tokens_per_s"] / figures["generate"]["tokens_per_s"], 2)
    if options.greedy:
        figures["equal_greedy_responses"] = equal_greedy(options)
    print(json.dumps(figures))
    return 0


def _apart(engine: str, arguments: list[str]) -> dict[str, Any]:
    """The last line of a process that measures this engine alone."""
    result, _ = finished([sys.executable, "-m", "benchmarks", "rollouts", *arguments, "--engine", engine])
    return result


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Tokens a second of one run, and the most memory that this process had."""
    model, tokenizer, prompts = _loaded(options, dtype=torch.bfloat16)
    for parameter in model.parameters():
        parameter.sum()  # reads it from the disk
    if options.engine == "ours":
        rollout.prepare(model)  # as the sample command does while it loads
    start = time.perf_counter()
    responses = ENGINES[options.engine](model, tokenizer, prompts, options.new)
    seconds = time.perf_counter() - start
    return {
        "rows": len(prompts),
        "new_tokens": options.new,
        "threads": torch.get_num_threads(),
        "tokens_per_s": round(sum(map(len, responses)) / seconds, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def equal_greedy(options: argparse.Namespace) -> str:
    """How many rows have the same likeliest response in both engines, fp32."""
    model, tokenizer, prompts = _loaded(options, dtype=torch.float32)
    mine = ours(model, tokenizer, prompts, options.new, temperature=0.0)
    padded = generate(model, tokenizer, prompts, options.new, temperature=0.0)
    end = tokenizer.eos_token_id
    theirs = [ids[: ids.index(end) + 1] if end in ids else ids for ids in padded]
    return f"{sum(one == other for one, other in zip(mine, theirs, strict=True))} of {len(prompts)}"


def _loaded(options: argparse.Namespace, *, dtype: torch.dtype) -> tuple[Any, Any, list[list[int]]]:
    tokenizer = loading.load_tokenizer(options.model)
    model = loading.load_policy(options.model, device="cpu", dtype=dtype)
    prompts = (prompt for prompt in row_parser.read(options.data, "prompts") if _is_short(prompt))
    return (
        model,
        tokenizer,
        [chat.encode_prompt(tokenizer, prompt.messages, max_tokens=1024) for prompt in islice(prompts, options.rows)],
    )


def _is_short(prompt: records.Prompt) -> bool:
    is_english = prompt.extra.get("lang", "en") == "en"
    return is_english and len(prompt.messages) == 1 and len(prompt.messages[0]["content"]) < LONGEST_PROMPT
