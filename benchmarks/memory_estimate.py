"""The memory that `plan` reckons with beside the memory that trainings take, on the CPU and on a random model.

    python -m benchmarks plan [--stages sft reward ppo] [--methods full lora] [--precisions bf16 fp32]
    python -m benchmarks plan --shape 16 2 4 2 32 512        width, layers, heads, key-value heads, inner, vocabulary

Each training is a process of its own: `python -m models_core measure`, left after one step (benchmarks/step_memory.py).
What a process holds without a model (Python, torch, compiled kernels) is measured by the same command on a model of a
few thousand parameters, and taken off. Rows are as long as max_length allows, as the plan takes them to
be. The default is SmolLM2-135M's shape.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.children import finished
from models_core.contract.memory_estimate import model_shape
from models_core.contract.memory_estimate.estimate import estimate
from models_core.contract.memory_estimate.loaded_models import Machine
from models_core.contract.settings import STAGES, parse
from models_core.modeling import loading

SMOLLM2 = (576, 30, 9, 3, 1536, 49_152)
TINY = (16, 2, 4, 2, 32, 512)
LENGTH = 256
NEW_TOKENS = 64
SETTINGS: dict[str, dict[str, Any]] = {
    "sft": {"batch_size": 4, "held_out": 0.0},
    "reward": {"batch_size": 4, "held_out": 0.0},
    "dpo": {"batch_size": 4, "held_out": 0.0},
    "ppo": {"batch_size": 4, "max_new_tokens": NEW_TOKENS, "minibatches": 1, "eval_prompts": 4},
}
TOKENS = 2 * LENGTH
"""Of a forward pass: a step has several."""
ROWS = 64
SPECIAL = ["<pad>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
OVERHEAD = 32
"""Tokens of a row that the template adds, at the most."""


def make_models(folder: Path, shape: Sequence[int], *, dtype: torch.dtype) -> Path:
    """A random policy in FOLDER/model and a reward model in FOLDER/reward over bytes, stored as they are computed.

    Else pages of the file would count, which stay mapped beside the converted weights and can be had back.
    """
    width, layers, heads, kv_heads, inner, vocabulary = shape
    tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    raw = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token=SPECIAL[1], eos_token=SPECIAL[2], pad_token=SPECIAL[0], chat_template=TEMPLATE
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv_heads,
        intermediate_size=inner, vocab_size=vocabulary, tie_word_embeddings=True, max_position_embeddings=2048,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(config)
    model.to(dtype).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    reward = loading.new_reward_model(folder / "model", device="cpu", dtype=dtype, seed=0)
    loading.save_reward_model(folder / "reward", reward, tokenizer)
    return folder


def make_data(folder: Path) -> None:
    """Rows of max_length tokens: STAGE.jsonl."""
    folder.mkdir()
    rows: dict[str, list[dict[str, Any]]] = {stage: [] for stage in SETTINGS}
    for number in range(ROWS):
        prompt = [{"role": "user", "content": f"{number:03d}".ljust(LENGTH // 2 - OVERHEAD, "x")}]
        text = "y" * (LENGTH // 2 - 4)
        ranked = [{"text": letter * len(text), "rank": rank} for rank, letter in enumerate("yzw", start=1)]
        rows["sft"].append({"id": str(number), "prompt": prompt, "response": text})
        # A prompt and three responses that share it are a full forward pass.
        rows["reward"].append({"id": str(number), "prompt": prompt, "responses": ranked})
        rows["dpo"].append({"id": str(number), "prompt": prompt, "responses": ranked[:2]})
        long = f"{number:03d}".ljust(LENGTH - NEW_TOKENS - OVERHEAD, "x")
        rows["ppo"].append({"id": str(number), "prompt": [{"role": "user", "content": long}]})
    for stage, of_stage in rows.items():
        lines = "".join(json.dumps(row) + "\n" for row in of_stage)
        (folder / f"{stage}.jsonl").write_text(lines, encoding="utf-8")


def settings_of(stage: str, *, method: str, precision: str) -> dict[str, Any]:
    common = {"method": method, "precision": precision, "max_length": LENGTH, "max_tokens_per_forward": TOKENS}
    return common | SETTINGS[stage]


def measured(folder: Path, data: Path, stage: str, values: dict[str, Any], *, seconds: int) -> int:
    """Bytes at the peak of the first step of a training."""
    command = [sys.executable, "-m", "benchmarks.step_memory", "measure", "--seconds", str(seconds), stage]
    command += ["--model", str(folder / "model"), "--data", str(data / f"{stage}.jsonl"), "--device", "cpu"]
    command += ["--reward", str(folder / "reward")] if stage == "ppo" else []
    command += [f"--set={name}={value}" for name, value in values.items()]
    with tempfile.TemporaryDirectory() as out:
        result, _ = finished([*command, "--out", str(Path(out) / "measured")])
    if not result["measured_steps"]:
        raise SystemExit(f"No step of {stage} ended within {seconds} seconds: give --seconds more.")
    return int(result["peak_memory"])


def planned(folder: Path, stage: str, values: dict[str, Any]) -> int:
    """Bytes that the plan reckons with, on a processor."""
    is_wide = values["precision"] == "fp32"
    on = Machine(number_bytes=4 if is_wide else 2, is_cpu=True)
    settings = parse(STAGES[stage], values)
    return estimate(stage, settings, model=model_shape.read(str(folder / "model")), on=on).total


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks plan", description=__doc__)
    parser.add_argument("--stages", nargs="+", choices=list(SETTINGS), default=["sft", "reward", "ppo"])
    parser.add_argument("--methods", nargs="+", default=["full", "lora"])
    parser.add_argument("--precisions", nargs="+", choices=("bf16", "fp32"), default=["bf16", "fp32"])
    parser.add_argument("--shape", nargs=6, type=int, default=SMOLLM2, metavar="N")
    parser.add_argument("--seconds", type=int, default=600, help="the most for the first step of each training")
    given = parser.parse_args(arguments)
    figures = []
    print(f"{'stage':<8}{'method':<8}{'precision':<10}{'planned':>10}{'measured':>10}{'ratio':>8}  (MB)")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_data(folder / "data")
        for precision in given.precisions:
            dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
            large = make_models(folder / precision / "large", given.shape, dtype=dtype)
            tiny = make_models(folder / precision / "tiny", TINY, dtype=dtype)
            for stage in given.stages:
                for method in given.methods:
                    values = settings_of(stage, method=method, precision=precision)
                    peak, base = (
                        measured(each, folder / "data", stage, values, seconds=given.seconds) for each in (large, tiny)
                    )
                    reckoned = planned(large, stage, values)
                    row = {"stage": stage, "method": method, "precision": precision, "planned": reckoned}
                    row |= {"measured": peak - base, "without_model": base, "ratio": reckoned / (peak - base)}
                    figures.append(row)
                    print(
                        f"{stage:<8}{method:<8}{precision:<10}{reckoned / 1e6:>10.0f}{(peak - base) / 1e6:>10.0f}"
                        f"{row['ratio']:>8.2f}",
                        flush=True,
                    )
    print(json.dumps(figures))
    return 0
