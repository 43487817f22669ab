"""Tiny random decoders of many families, each with its unusual switches on, for what must hold of every model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.models_core.tiny import make_tiny_tokenizer

IDS = {"vocab_size": 259, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SIZES = IDS | {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "max_position_embeddings": 128, "initializer_range": 0.2,
}  # fmt: skip
GROUPED = SIZES | {"num_key_value_heads": 2}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 32}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
LONG = {
    "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 24, "short_factor": [1.0] * 4,
    "long_factor": [1.5, 2.0, 3.0, 4.0],
}  # fmt: skip
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
ALTERNATING = ["sliding_attention", "full_attention", "sliding_attention"]

MODELS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", GROUPED),
    "llama-biased-tied": (
        "llama",
        GROUPED | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True, "head_dim": 16},
    ),
    "llama-3-rope": ("llama", GROUPED | {"rope_parameters": LLAMA3, "hidden_act": "gelu"}),
    "llama-linear-rope": (
        "llama", GROUPED | {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}
    ),
    "llama-yarn": ("llama", GROUPED | {"rope_parameters": YARN}),
    "llama-dynamic-rope": (
        "llama", GROUPED | {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}}
    ),
    "mistral": ("mistral", GROUPED | {"sliding_window": None}),
    "mistral-window": ("mistral", GROUPED | {"sliding_window": 6}),
    "mixtral": ("mixtral", GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 7}),
    "qwen2": ("qwen2", GROUPED | {"tie_word_embeddings": True}),
    "qwen2-window": (
        "qwen2", GROUPED | {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}
    ),
    "qwen3": ("qwen3", GROUPED | {"head_dim": 16, "attention_bias": True}),
    "qwen2-moe": ("qwen2_moe", GROUPED | MOE | {"shared_expert_intermediate_size": 24, "norm_topk_prob": True}),
    "qwen3-moe": ("qwen3_moe", GROUPED | MOE | {"head_dim": 16, "decoder_sparse_step": 2}),
    "gemma": ("gemma", GROUPED | {"head_dim": 16}),
    "gemma2": (
        "gemma2",
        GROUPED | {"head_dim": 16, "sliding_window": 6, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 1.0,
                   "query_pre_attn_scalar": 24},
    ),
    "gemma3": (
        "gemma3_text",
        GROUPED | {"head_dim": 16, "sliding_window": 6, "layer_types": ALTERNATING, "query_pre_attn_scalar": 24,
                   "final_logit_softcapping": 1.5},
    ),
    "phi": ("phi", GROUPED | {"partial_rotary_factor": 0.5, "qk_layernorm": True}),
    "phi3-longrope": ("phi3", GROUPED | {"rope_parameters": LONG, "sliding_window": 40}),
    "phi3": ("phi3", GROUPED | {"sliding_window": 6}),
    "falcon-alibi": ("falcon", {**IDS, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
                                "alibi": True, "multi_query": True, "parallel_attn": False, "bias": True,
                                "initializer_range": 0.2}),
    "falcon": ("falcon", {**IDS, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
                          "max_position_embeddings": 128, "multi_query": True, "parallel_attn": True,
                          "initializer_range": 0.2}),
    "falcon-new": ("falcon", {**IDS, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
                              "num_kv_heads": 2, "max_position_embeddings": 128, "new_decoder_architecture": True,
                              "initializer_range": 0.2}),
    "bloom": ("bloom", {**IDS, "hidden_size": 32, "n_layer": 3, "n_head": 4,
                        "apply_residual_connection_post_layernorm": True, "initializer_range": 0.2}),
    "gpt2": ("gpt2", {**IDS, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128,
                      "scale_attn_by_inverse_layer_idx": True, "initializer_range": 0.2}),
    "gpt2-upcast": ("gpt2", {**IDS, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128,
                             "reorder_and_upcast_attn": True, "scale_attn_weights": False,
                             "initializer_range": 0.2}),
    "gpt-neo": ("gpt_neo", {**IDS, "hidden_size": 32, "num_layers": 3, "num_heads": 4, "window_size": 6,
                            "attention_types": [[["global", "local", "global"], 1]], "max_position_embeddings": 128,
                            "initializer_range": 0.2}),
    "gpt-neox": ("gpt_neox", SIZES | {"use_parallel_residual": False, "tie_word_embeddings": True}),
    "gpt-neox-parallel": (
        "gpt_neox",
        SIZES | {"attention_bias": False, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4,
                                                              "partial_rotary_factor": 0.5}},
    ),
    "gpt-j": ("gptj", {**IDS, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128, "rotary_dim": 4,
                       "initializer_range": 0.2}),
    "opt": ("opt", {**IDS, "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
                    "max_position_embeddings": 128, "word_embed_proj_dim": 32, "init_std": 0.2}),
    "opt-350m": ("opt", {**IDS, "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
                         "max_position_embeddings": 128, "word_embed_proj_dim": 16, "do_layer_norm_before": False,
                         "init_std": 0.2}),
    "mpt": ("mpt", {**IDS, "d_model": 32, "n_heads": 4, "n_layers": 3, "expansion_ratio": 2, "max_seq_len": 128,
                    "attn_config": {"alibi": True, "clip_qkv": 0.5}, "initializer_range": 0.2}),
    "stablelm": ("stablelm", GROUPED | {"qk_layernorm": True, "use_parallel_residual": True, "use_qkv_bias": True,
                                        "partial_rotary_factor": 0.25}),
    "starcoder2": ("starcoder2", GROUPED | {"sliding_window": 6, "use_bias": True}),
    "codegen": ("codegen", {**IDS, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128, "rotary_dim": 4,
                            "initializer_range": 0.2}),
    "cohere": ("cohere", GROUPED | {"logit_scale": 0.25, "use_qk_norm": True}),
    "cohere2": ("cohere2", GROUPED | {"logit_scale": 0.25, "sliding_window": 6, "head_dim": 8,
                                      "layer_types": ALTERNATING}),
    "olmo": ("olmo", GROUPED | {"clip_qkv": 0.5}),
    "olmo2": ("olmo2", GROUPED),
    "olmoe": ("olmoe", GROUPED | {"num_experts": 4, "num_experts_per_tok": 2, "clip_qkv": 0.5}),
    "granite": ("granite", GROUPED | {"embedding_multiplier": 3.0, "residual_multiplier": 0.4, "logits_scaling": 5.0,
                                      "attention_multiplier": 0.2}),
    "bigcode": ("gpt_bigcode", {**IDS, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128,
                                "multi_query": True, "initializer_range": 0.2}),
    "nemotron": ("nemotron", GROUPED | {"partial_rotary_factor": 0.5}),
    "xglm": ("xglm", {**IDS, "d_model": 32, "ffn_dim": 48, "num_layers": 3, "attention_heads": 4,
                      "max_position_embeddings": 128, "init_std": 0.2}),
    "persimmon": ("persimmon", SIZES | {"qk_layernorm": True, "partial_rotary_factor": 0.5}),
    "smollm3": ("smollm3", GROUPED | {"no_rope_layers": [1, 0, 1], "use_sliding_window": True, "sliding_window": 6,
                                      "layer_types": ALTERNATING}),
    "glm": ("glm", GROUPED | {"head_dim": 8, "partial_rotary_factor": 0.5, "attention_bias": True}),
    "glm4": ("glm4", GROUPED | {"head_dim": 8, "partial_rotary_factor": 0.5}),
    "deepseek-v2": (
        "deepseek_v2",
        SIZES | {"num_key_value_heads": 4, "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8,
                 "qk_nope_head_dim": 8, "v_head_dim": 12, "n_routed_experts": 4, "num_experts_per_tok": 2,
                 "n_shared_experts": 1, "moe_intermediate_size": 24, "first_k_dense_replace": 1, "n_group": 1,
                 "topk_group": 1},
    ),
    "deepseek-v3": (
        "deepseek_v3",
        SIZES | {"num_key_value_heads": 4, "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8,
                 "qk_nope_head_dim": 8, "v_head_dim": 12, "n_routed_experts": 4, "num_experts_per_tok": 2,
                 "n_shared_experts": 1, "moe_intermediate_size": 24, "first_k_dense_replace": 1, "n_group": 2,
                 "topk_group": 1},
    ),
    "mamba": ("mamba", {**IDS, "hidden_size": 32, "state_size": 8, "num_hidden_layers": 3, "conv_kernel": 4,
                        "initializer_range": 0.2}),
    "recurrent-gemma": (
        "recurrent_gemma",
        {**IDS, "hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 1, "lru_width": 32, "attention_window_size": 6, "logits_soft_cap": 2.0},
    ),
    "jamba": (
        "jamba",
        GROUPED | {"num_experts": 2, "num_experts_per_tok": 1, "attn_layer_period": 2, "attn_layer_offset": 1,
                   "mamba_d_state": 8, "mamba_d_conv": 4, "use_mamba_kernels": False},
    ),
    "gpt-oss": (
        "gpt_oss",
        GROUPED | {"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 6,
                   "rope_parameters": YARN, "layer_types": ALTERNATING},
    ),
    "diffllama": ("diffllama", GROUPED),
    "biogpt": ("biogpt", SIZES | {"scale_embedding": True}),
    "helium": ("helium", GROUPED | {"head_dim": 8}),
}  # fmt: skip
NO_REWARD_MODEL = frozenset({"codegen", "cohere", "cohere2", "olmoe", "granite", "xglm", "mamba", "recurrent-gemma"})
"""Families of which transformers has no sequence classification."""
FAST = frozenset(
    {
        "gpt-neox", "gpt-neox-parallel", "gpt2", "llama", "llama-3-rope", "llama-biased-tied", "llama-linear-rope",
        "llama-yarn", "mistral", "mistral-window", "opt", "opt-350m", "qwen2", "qwen2-window", "qwen3",
    }
)  # fmt: skip
"""Those whose configuration the fast ways know; of a window, for rows that are no longer than it."""


def make(name: str, folder: Path) -> Path:
    """Write one of MODELS, with every norm and bias off its usual value, and a tokenizer of bytes; its folder."""
    kind, settings = MODELS[name]
    state = torch.get_rng_state()
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() < 2:  # ones and zeros at first, which would hide a mistake
                parameter.add_(torch.randn(parameter.shape) * 0.1)
    torch.set_rng_state(state)
    model.save_pretrained(folder)
    make_tiny_tokenizer().save_pretrained(folder)
    return folder
