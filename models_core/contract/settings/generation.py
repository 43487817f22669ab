"""Settings of generation: sampling, beam search, served models, and scores of an ensemble."""

from dataclasses import dataclass
from typing import Any

from models_core.contract.settings.base import (
    Settings,
    chat_template_setting,
    long_prompts_setting,
    max_new_tokens_setting,
    setting,
)


def reward_objective_setting() -> Any:
    return setting(
        "std",
        "Ensemble score: mean minus reward_std_coef x standard deviation (std) or variance, or the minimum (worst).",
        choices=("std", "variance", "worst"),
    )


def reward_std_coef_setting() -> Any:
    return setting(
        0.0,
        "Penalty coefficient of ensemble disagreement in the score; 0 uses the mean.",
        minimum=0.0,
        maximum=100.0,
    )


def served_model_setting(**options: Any) -> Any:
    return setting("", "Model name requested from a server; empty selects the first one that it lists.", **options)


def server_requests_setting(**options: Any) -> Any:
    return setting(16, "Number of concurrent requests to a server.", minimum=1, maximum=1024, **options)


def server_timeout_setting(**options: Any) -> Any:
    return setting(300.0, "Timeout of a server request in seconds.", minimum=0.01, maximum=86_400, **options)


def server_retries_setting(**options: Any) -> Any:
    return setting(
        6, "Number of retries of a server request that fails or times out.", minimum=0, maximum=100, **options
    )


@dataclass(frozen=True, kw_only=True)
class GenerationSettings(Settings):
    """Settings of every command that generates responses."""

    batch_size: int = setting(64, "Number of responses generated in parallel.", minimum=1, maximum=65_536)
    max_new_tokens: int = max_new_tokens_setting(256)
    temperature: float = setting(1.0, "Sampling temperature; 0 selects greedy decoding.", minimum=0.0, maximum=100.0)
    top_k: int = setting(
        0, "Top-k sampling: number of most likely tokens to sample from; 0 disables it.", minimum=0, maximum=10_000_000
    )
    top_p: float = setting(
        1.0, "Nucleus sampling: cumulative probability of the tokens to sample from; 1 disables it.",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    repetition_penalty: float = setting(
        1.0, "Penalty of tokens already in the prompt or response; 1 disables it.", minimum=0.01, maximum=100
    )
    num_beams: int = setting(1, "Number of beams; above 1, beam search replaces sampling.", minimum=1, maximum=256)
    length_penalty: float = setting(
        1.0, "Beam search: exponent of the length normalisation; larger values favour longer responses.",
        minimum=-10.0, maximum=10.0,
    )  # fmt: skip
    batch_invariant: bool = setting(
        False,
        "Bitwise identical responses in any batch, on the CPU only: about a fifth slower with compiled kernels, "
        "about ten times slower without.",
    )
    long_prompts: str = long_prompts_setting()
    chat_template: str = chat_template_setting()


@dataclass(frozen=True, kw_only=True)
class SampleConfig(GenerationSettings):
    """Sampling responses."""

    best_of: int = setting(
        1, "Best-of-n sampling: number of candidates per response, ranked by the reward model.", minimum=1, maximum=1024
    )
    weight_format: str = setting(
        "full",
        "Weights in memory: as they are (full), linear layers in int8 (int8), or in 4 bits by bitsandbytes "
        "(nf4); smaller, and the responses differ.",
        choices=("full", "int8", "nf4"),
    )
    reward_objective: str = reward_objective_setting()
    reward_std_coef: float = reward_std_coef_setting()
    served_model: str = served_model_setting(on_pages=False)
    server_requests: int = server_requests_setting(on_pages=False)
    server_timeout: float = server_timeout_setting(on_pages=False)
    server_retries: int = server_retries_setting(on_pages=False)
    server_logprobs: bool = setting(
        True, "Request log-probabilities from the server; disable it for servers that refuse.", on_pages=False
    )
