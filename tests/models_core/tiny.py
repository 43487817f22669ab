"""A random language model of a few thousand parameters, for every test that needs a real one."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def make_tiny_tokenizer() -> Any:
    """Bytes as tokens, three special ones, ChatML, EOS as padding: SmolLM2's habits at 259 tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<|endoftext|>",
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        chat_template=TEMPLATE,
    )


def make_tiny_model(folder: Path, *, kind: str = "llama", seed: int = 0) -> Path:
    """Write a random model ("llama", "qwen", "gpt2" or "neox") with its tokenizer; returns the folder."""
    tokenizer = make_tiny_tokenizer()
    common = {
        "vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": 2,
    }  # fmt: skip
    shape: dict[str, Any] = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "max_position_embeddings": 512, "initializer_range": 0.2,
    }  # fmt: skip
    makers: dict[str, Any] = {
        "llama": lambda: LlamaForCausalLM(
            LlamaConfig(num_key_value_heads=2, tie_word_embeddings=True, **shape, **common)
        ),
        "qwen": lambda: Qwen2ForCausalLM(
            Qwen2Config(num_key_value_heads=2, tie_word_embeddings=False, **shape, **common)
        ),
        "neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**shape, **common)),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=512, **common)),
    }
    torch_state = torch.get_rng_state()
    torch.manual_seed(seed)
    model = makers[kind]()
    torch.set_rng_state(torch_state)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)
