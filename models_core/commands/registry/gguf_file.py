"""A policy as one GGUF file (f16 or q8_0), the format that llama.cpp and what is built on it read.

Families: those whose forward pass llama.cpp has under one name with the same numbers, as long as no key of the
configuration says otherwise (models_core.modeling.families knows what each key changes). Others, adapters and
tokenizers that llama.cpp splits text otherwise with, are refused by name: a file that loads and answers a little worse
is the worst outcome.

The rotary positions of llama.cpp's llama architecture turn neighbouring pairs, those of transformers pairs half a head
apart: rows of the query's and the key's projection change places (`_interleaved`). q8_0 keeps blocks of 32 weights with
one scale; rows that are no multiple of it stay f16, norms and biases f32, as llama.cpp's own converter does.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from models_core.commands.registry import gguf_comparison, gguf_tokenizer
from models_core.contract.errors import BadInput, Stopped
from models_core.contract.runs.run_folder import file_sha256
from models_core.contract.runs.stopping import StopSignal
from models_core.modeling import chat, families, loading
from models_core.modeling.adapters import storage

ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
}
INTERLEAVED = ("llama", "mistral")
"""Families whose rotary positions llama.cpp turns in neighbouring pairs."""
TYPES = {
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
Q8_BLOCK = 32
LARGEST_F16 = 65_504.0


def run(*, model: str, kind: str, out: Path, name: str, stop: StopSignal) -> dict[str, Any]:
    """Write the file and compare it with the model where llama.cpp's package is installed. Raises BadInput, Stopped."""
    source = loading.locate(model)
    network: Any = loading.load_policy(source, device="cpu", dtype=torch.float32)
    tokenizer = loading.load_tokenizer(source)
    check(network, name=model)
    vocabulary = gguf_tokenizer.read(Path(source), size=network.config.vocab_size, name=model)
    partial = out.with_name(f".{out.name}.partial")
    try:
        _write(partial, network, tokenizer, vocabulary, kind=kind, name=name, stop=stop)
        compared = gguf_comparison.compare(partial, network, tokenizer)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return {"bytes": out.stat().st_size, "sha256": file_sha256(out), "type": kind, **compared}


def check(network: Any, *, name: str) -> None:
    """Raise BadInput for a model that llama.cpp would not compute the same."""
    config = network.config
    if config.model_type not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise BadInput(f"{name} is a {config.model_type}; GGUF files are written of {known}.")
    if getattr(config, storage.KEY, None) is not None:
        raise BadInput(
            f"{name} was fine-tuned with an adapter that lies beside its weights, and a GGUF file has no place for it: "
            "train with method=lora, ia3 or full."
        )
    ways = families.fast_ways(network)
    reasons = list(ways.reasons)
    if ways.window is not None:
        reasons.append(f"sliding_window={ways.window}")
    rope = getattr(config, "rope_parameters", None) or {}
    if (kind := rope.get("rope_type", "default")) != "default" or rope.get("partial_rotary_factor", 1.0) != 1.0:
        reasons.append(f"rope_type={kind}")
    if config.hidden_act != "silu":
        reasons.append(f"hidden_act={config.hidden_act}")
    reasons += [f"{key}=True" for key in ("attention_bias", "mlp_bias") if getattr(config, key, False)]
    if reasons:
        raise BadInput(f"{name} can't be written as GGUF: its {config.model_type} has {', '.join(reasons)}.")


def _write(
    path: Path, network: Any, tokenizer: Any, vocabulary: gguf_tokenizer.Vocabulary, *, kind: str, name: str,
    stop: StopSignal,
) -> None:  # fmt: skip
    config = network.config
    architecture = ARCHITECTURES[config.model_type]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    try:
        _add_sizes(writer, config, name=name, file_type=TYPES[kind][1])
        vocabulary.add_to(writer)
        _add_ends(writer, network, tokenizer)
        for tensor, values, stored in _tensors(network, architecture, kind=kind):
            if stop.requested:
                raise Stopped("The export was stopped; it begins again when it is resumed.")
            writer.add_tensor(tensor, values, raw_dtype=stored)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _add_sizes(writer: Any, config: Any, *, name: str, file_type: gguf.LlamaFileType) -> None:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_name(name)
    writer.add_file_type(file_type)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(float((config.rope_parameters or {}).get("rope_theta", 10_000.0)))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _add_ends(writer: Any, network: Any, tokenizer: Any) -> None:
    """The tokens that begin and end, and the chat template. llama.cpp ends a response at `eos` and at `eot`."""
    writer.add_eos_token_id(tokenizer.eos_token_id)
    if others := [token for token in chat.eos_ids(network, tokenizer) if token != tokenizer.eos_token_id]:
        writer.add_eot_token_id(others[0])
    for token, add in (
        (tokenizer.bos_token_id, writer.add_bos_token_id),
        (tokenizer.unk_token_id, writer.add_unk_token_id),
        (tokenizer.pad_token_id, writer.add_pad_token_id),
    ):
        if token is not None:
            add(token)
    begins = tokenizer("x")["input_ids"][:1] == [tokenizer.bos_token_id]
    writer.add_add_bos_token(begins)
    writer.add_add_space_prefix(False)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _tensors(network: Any, architecture: Any, *, kind: str) -> Iterator[tuple[str, np.ndarray, Any]]:
    """(name in the file, values, type in the file) of every weight. Raises BadInput."""
    config = network.config
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    for name, weights in network.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue  # llama.cpp takes the embeddings where there is none
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if stored is None:
            raise BadInput(f"The weight {name} has no place in a GGUF file.")
        if config.model_type in INTERLEAVED and ".q_proj." in name:
            weights = _interleaved(weights, heads=config.num_attention_heads)
        if config.model_type in INTERLEAVED and ".k_proj." in name:
            weights = _interleaved(weights, heads=config.num_key_value_heads)
        values = weights.detach().float().numpy()
        if values.ndim == 1:
            yield stored, values, None
        elif kind == "q8_0" and values.shape[-1] % Q8_BLOCK == 0:
            yield stored, gguf.quants.quantize(values, TYPES[kind][0]), TYPES[kind][0]
        elif np.abs(values).max(initial=0.0) > LARGEST_F16:
            raise BadInput(f"The weight {name} has values beyond {LARGEST_F16:,.0f}, the largest of f16.")
        else:
            yield stored, values.astype(np.float16), None


def _interleaved(weights: torch.Tensor, *, heads: int) -> torch.Tensor:
    """(heads * width, inner): of each head, rows i and i + width/2 become rows 2i and 2i + 1."""
    halves = weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
    return halves.transpose(1, 2).reshape(weights.shape)
