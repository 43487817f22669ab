"""Settings of every stage: names, types, ranges, defaults and one line of help each.

The command line's `--set key=value`, the web forms and `run.json` are all made from these dataclasses, so a setting is
described once. Standard library only: the web process reads this module and must never load torch.
"""

import dataclasses
import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from models_core.contract.settings import composite_values

METHODS = ("full", "last_n", "lora", "qlora", "adapter", "prefix", "prompt", "p_tuning", "p_tuning_v2", "ia3")
RATE_FACTORS = {
    "full": 1,
    "last_n": 2,
    "lora": 10,
    "qlora": 10,
    "adapter": 10,
    "prefix": 5,
    "prompt": 300,
    "p_tuning": 5,
    "p_tuning_v2": 200,
    "ia3": 200,
}
"""Learning rate of a method, in that of full fine-tuning: the fewer numbers learn, the further each has to go."""
PEAK = "Peak learning rate; the default is for the default method, and others take its multiple."
PRECISIONS = ("auto", "bf16", "fp32")
MOST_TOKENS = 2**20
"""In one forward pass or step: more fit no machine, and a slip of the finger is found before a run is queued."""
MOST_STEPS = 100_000_000
TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class BadInput(Exception):
    """Something the user gave cannot be used; the message is a sentence for that user."""


def setting(
    default: Any,
    explanation: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    reads: Callable[[str], object] | None = None,
    on_pages: bool = True,
) -> Any:
    """A dataclass field with its help text and the closed range or the list of values it accepts.

    reads: what parses a text of several parts; its ValueError, a sentence, refuses the text before anything starts.
    on_pages: false for what only the command line has a use for, so that forms leave it out.
    """
    metadata = {
        "help": explanation, "minimum": minimum, "maximum": maximum, "choices": choices, "reads": reads,
        "on_pages": on_pages,
    }  # fmt: skip
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every stage has."""

    seed: int = setting(0, "Seed of every random choice.", minimum=0, maximum=2**63 - 1)
    precision: str = setting(
        "auto",
        "Numbers the model computes in; auto takes bf16 where a measurement finds it faster.",
        choices=PRECISIONS,
    )
    max_length: int = setting(
        1024, "Longest row in tokens; a longer prompt loses its beginning.", minimum=8, maximum=131_072
    )


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(Settings):
    """What the training stages share."""

    method: str = setting("full", "Fine-tuning method: which weights learn; see docs/methods.md.", choices=METHODS)
    last_layers: int = setting(4, "Layers that learn under the method last_n.", minimum=1, maximum=1000)
    lora_rank: int = setting(16, "Rank of LoRA's matrices, also under qlora.", minimum=1, maximum=1024)
    adapter_width: int = setting(32, "Inner width of the method adapter's layers.", minimum=1, maximum=65_536)
    virtual_tokens: int = setting(
        20, "Virtual tokens of the methods prompt, p_tuning, p_tuning_v2 and prefix.", minimum=1, maximum=4096
    )
    learning_rate: float = setting(1e-5, PEAK, minimum=0.0, maximum=1.0)
    weight_decay: float = setting(0.0, "AdamW's weight decay.", minimum=0.0, maximum=1.0)
    warmup: float = setting(0.05, "Part of the steps over which the learning rate rises.", minimum=0.0, maximum=1.0)
    max_grad_norm: float = setting(1.0, "Gradients are scaled down to this norm.", minimum=0.0, maximum=1e6)
    micro_batch_tokens: int = setting(
        2048,
        "Tokens in one forward pass, padding included; changes memory and speed, not the result.",
        minimum=16,
        maximum=MOST_TOKENS,
    )
    processes: int = setting(
        1, "Processes of the run on this machine, each with a GPU or a share of the processor.", minimum=1, maximum=64
    )
    parallel: str = setting(
        "auto",
        "What many processes share: rows alone (ddp, and auto), or the layers' weights and moments too (fsdp).",
        choices=("auto", "ddp", "fsdp"),
    )
    gradient_checkpointing: bool = setting(
        False, "Compute each layer twice instead of keeping what its backward pass needs: less memory, a third slower."
    )
    save_every: int = setting(50, "Steps between checkpoints; 0 saves only at a stop.", minimum=0, maximum=MOST_STEPS)
    keep_checkpoints: int = setting(1, "Newest checkpoints that are kept while training.", minimum=1, maximum=1000)
    eval_every: int = setting(
        0, "Steps between measurements on held-out rows; 0 measures at the end.", minimum=0, maximum=MOST_STEPS
    )
    keep_best: bool = setting(True, "The result is the weights of the best held-out measurement, not the last ones.")
    patience: int = setting(
        0,
        "End after so many held-out measurements in a row without a better one; 0 never does.",
        minimum=0,
        maximum=MOST_STEPS,
    )


def long_prompts_setting() -> Any:
    """What is done with a conversation longer than the model, or `max_length`, allows."""
    return setting(
        "cut",
        "A prompt too long for the model or max_length loses its oldest turns (cut), or nothing is begun (refuse).",
        choices=("cut", "refuse"),
    )


def unreadable_rows_setting() -> Any:
    """What becomes of lines that are no rows."""
    return setting(
        "refuse",
        "A line that is no row of this kind ends the command (refuse), or is left out and counted (skip).",
        choices=("refuse", "skip"),
    )


def chat_template_setting() -> Any:
    """What recipes that read chats do with a tokenizer that says nothing of how they are written."""
    return setting(
        "own",
        "How turns are written: as the tokenizer says (own), or, for one that says nothing, as role: text (plain).",
        choices=("own", "plain"),
    )


def turns_setting() -> Any:
    """What the loss of a demonstration is over, where it is learned and where it is measured."""
    return setting(
        "last",
        "What the loss of a conversation is over: the final response (last), or all the assistant said (all).",
        choices=("last", "all"),
    )


def reward_objective_setting() -> Any:
    """What several opinions of an answer come to, wherever a policy's answers are scored."""
    return setting(
        "std",
        "What an ensemble's scores come to: their mean - reward_std_coef x deviation (std) or variance, or the worst.",
        choices=("std", "variance", "worst"),
    )


def reward_std_coef_setting() -> Any:
    return setting(
        0.0,
        "Price of an ensemble's disagreement about an answer, in its score; 0 takes the mean.",
        minimum=0.0,
        maximum=100.0,
    )


def served_model_setting(**more: Any) -> Any:
    """Here and below: what is settled about a server that is asked, for answers or for grades of them."""
    return setting("", "Model to ask for where a server's address is given; empty takes the first it names.", **more)


def server_requests_setting(**more: Any) -> Any:
    return setting(16, "Requests to a server at once.", minimum=1, maximum=1024, **more)


def server_timeout_setting(**more: Any) -> Any:
    return setting(300.0, "Seconds to wait for a server's answer.", minimum=0.01, maximum=86_400, **more)


def server_retries_setting(**more: Any) -> Any:
    explanation = "Times a request is made again when the server is busy, silent or broken."
    return setting(6, explanation, minimum=0, maximum=100, **more)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainingSettings):
    """Next-token pretraining on plain text: a fresh tokenizer and decoder, or a base model continued."""

    max_length: int = setting(
        512, "Tokens that a row of text holds, and that a fresh model can look back.", minimum=8, maximum=131_072
    )
    tokenizer: str = setting("bpe", "Kind of a fresh tokenizer.", choices=("bpe", "wordpiece", "unigram"))
    vocab_size: int = setting(3072, "Tokens of a fresh tokenizer.", minimum=261, maximum=1_000_000)
    architecture: str = setting("llama", "What a fresh model is shaped like.", choices=("llama", "gpt2"))
    size: str = setting(
        "5m", "Shape of a fresh model, named for its parameters.", choices=("1m", "5m", "15m", "40m", "100m")
    )
    layers: int = setting(0, "Layers of a fresh model; 0 takes the size's.", minimum=0, maximum=1000)
    width: int = setting(0, "Width of a fresh model; 0 takes the size's.", minimum=0, maximum=65_536)
    heads: int = setting(0, "Attention heads of a fresh model; 0 takes the size's.", minimum=0, maximum=1024)
    dropout: float = setting(0.1, "Dropout while training; text read once needs none.", minimum=0.0, maximum=0.9)
    documents: str = setting(
        "auto",
        "What parts the documents of a .txt file: a blank line (blocks), two of them (sections), or nothing (file).",
        choices=("auto", "blocks", "sections", "file"),
    )
    overlap: float = setting(
        0.125,
        "Part of a row that repeats the end of the one before, where a document is longer than a row.",
        minimum=0.0,
        maximum=0.9,
    )
    held_out: float = setting(
        0.1, "Part of the documents kept for measuring where no evaluation file is given.", minimum=0.0, maximum=0.5
    )
    epochs: int = setting(6, "Passes over the data.", minimum=1, maximum=1000)
    batch_size: int = setting(4, "Rows of max_length tokens in a step.", minimum=1, maximum=65_536)
    learning_rate: float = setting(
        0.0, "Peak learning rate; 0 takes 6e-3 for a fresh model, 1e-4 for a base model.", minimum=0.0, maximum=1.0
    )
    optimizer: str = setting(
        "auto",
        "What updates the layers' matrices; auto takes muon for a fresh model that is not split by fsdp.",
        choices=("auto", "muon", "adamw"),
    )
    final_rate: float = setting(0.05, "Part of the peak that the cosine schedule ends at.", minimum=0.0, maximum=1.0)
    weight_decay: float = setting(0.1, "AdamW's weight decay.", minimum=0.0, maximum=1.0)
    save_every: int = setting(200, "Steps between checkpoints; 0 saves only at a stop.", minimum=0, maximum=MOST_STEPS)
    eval_every: int = setting(
        200,
        "Steps between measurements on held-out text, and between samples; 0 does both at the end.",
        minimum=0,
        maximum=MOST_STEPS,
    )
    sample_tokens: int = setting(64, "Tokens of each sample along the way; 0 draws none.", minimum=0, maximum=4096)
    sample_temperature: float = setting(0.8, "Temperature of those samples.", minimum=0.0, maximum=100.0)


@dataclass(frozen=True, kw_only=True)
class SFTConfig(TrainingSettings):
    """Supervised fine-tuning on demonstrations."""

    epochs: int = setting(2, "Passes over the data.", minimum=1, maximum=1000)
    batch_size: int = setting(16, "Demonstrations in a step.", minimum=1, maximum=65_536)
    batch_tokens: int = setting(
        0,
        "Tokens in a step, in place of batch_size demonstrations; 0 counts demonstrations.",
        minimum=0,
        maximum=MOST_TOKENS,
    )
    learning_rate: float = setting(2e-5, PEAK, minimum=0.0, maximum=1.0)
    turns: str = turns_setting()
    long_prompts: str = long_prompts_setting()
    lm_coef: float = setting(
        0.0, "Weight of an auxiliary language-model loss; 0 learns from responses alone.", minimum=0.0, maximum=100.0
    )
    lm_scope: str = setting(
        "row", "Tokens of that loss: all of a demonstration (row), or its prompt (prompt).", choices=("row", "prompt")
    )
    held_out: float = setting(
        0.1, "Part of the prompts kept for measuring where no evaluation file is given.", minimum=0.0, maximum=0.5
    )
    data_weights: str = setting(
        "",
        "Passes over each data file in an epoch, in their order and parted by commas: 1,0.3 reads 30% of the second.",
        reads=composite_values.data_weights,
    )
    replay_ratio: float = setting(
        0.25, "Earlier demonstrations (--replay) in a step, for each new one.", minimum=0.0, maximum=100.0
    )
    ewc_lambda: float = setting(
        100.0, "Weight of elastic weight consolidation where --ewc names the old task's data.", minimum=0.0, maximum=1e9
    )
    ewc_samples: int = setting(
        64, "Demonstrations of the old task that its Fisher information is estimated from.", minimum=1, maximum=100_000
    )
    chat_template: str = chat_template_setting()
    pad_token: str = setting(
        "own",
        "The saved tokenizer's padding: its own, or its end-of-sequence token where it has none (eos).",
        choices=("own", "eos"),
    )


@dataclass(frozen=True, kw_only=True)
class PreferenceSettings(TrainingSettings):
    """What the stages share that learn from judgments."""

    epochs: int = setting(1, "Passes over the data.", minimum=1, maximum=1000)
    batch_size: int = setting(4, "Rankings in a step.", minimum=1, maximum=65_536)
    long_prompts: str = long_prompts_setting()
    ties: str = setting("skip", "Tied answers teach nothing (skip) or to score alike (half).", choices=("skip", "half"))
    margin: str = setting(
        "none",
        "Difference of scores to ask for: none, the row's margin (row), or by how far ranks or ratings are apart.",
        choices=("none", "row", "ranks", "ratings"),
    )
    margin_scale: float = setting(1.0, "Factor on that margin.", minimum=0.0, maximum=100.0)
    judgments: str = setting(
        "each",
        "Several judgments of the same answers: each counts (each), they share one (share), or most decide (majority).",
        choices=("each", "share", "majority"),
    )
    labeler_weights: str = setting(
        "", "What labelers' judgments count, NAME=WEIGHT parted by commas; others count 1.",
        reads=composite_values.labeler_weights,
    )  # fmt: skip
    ai_weight: float = setting(
        1.0, "What a judgment counts that a model or a classifier made; 0 leaves them out.", minimum=0.0, maximum=100.0
    )
    deduplicate: bool = setting(True, "The same order of the same answers by the same judge counts once.")
    contradictions: str = setting(
        "keep",
        "Two answers that one judge ordered both ways: learned both ways (keep), left out (skip), or refused (refuse).",
        choices=("keep", "skip", "refuse"),
    )
    unusable_rows: str = setting(
        "skip",
        "A ranking that orders no two different answers is left out and counted (skip), or ends the run (refuse).",
        choices=("skip", "refuse"),
    )
    unreadable_rows: str = unreadable_rows_setting()
    long_responses: str = setting(
        "skip",
        "An answer too long for max_length counts as not ranked (skip), or ends the run (refuse).",
        choices=("skip", "refuse"),
    )
    demonstration_pairs: float = setting(
        0.0,
        "Weight of a ranking of each --demonstrations answer above the --samples of its prompt; 0 makes none.",
        minimum=0.0,
        maximum=100.0,
    )
    prefix_sharing: str = setting(
        "auto",
        "Compute a prompt once for its answers: where that saves work (auto), always, or never; the same scores.",
        choices=("auto", "always", "never"),
    )
    chat_template: str = chat_template_setting()
    held_out: float = setting(
        0.1, "Part of the prompts kept for measuring where no evaluation file is given.", minimum=0.0, maximum=0.5
    )


@dataclass(frozen=True, kw_only=True)
class RewardConfig(PreferenceSettings):
    """Reward model trained on rankings."""

    learning_rate: float = setting(6e-5, PEAK, minimum=0.0, maximum=1.0)
    trunk_layers: int = setting(
        0,
        "First layers of the model that are kept, 0 all: fewer are faster, and see surface features better.",
        minimum=0,
        maximum=1000,
    )
    head_start: str = setting(
        "random",
        "A fresh head's first weights: random, or fitted to the rankings on what the model sees before any training.",
        choices=("random", "fitted"),
    )
    head_scale: float = setting(
        1.0,
        "Size of the fresh head's random weights; 1 is a deviation of 1/sqrt(width + 1).",
        minimum=0.0,
        maximum=100.0,
    )
    ensemble: int = setting(
        1, "Heads on the one trunk: their mean is the score, and where they differ it is unsure.", minimum=1, maximum=64
    )
    bootstrap: bool = setting(
        True, "Each head of an ensemble learns from prompts drawn anew, so that they can differ; false: from all alike."
    )


@dataclass(frozen=True, kw_only=True)
class DPOConfig(PreferenceSettings):
    """Direct preference optimisation: a policy trained on rankings, without a reward model and without sampling."""

    learning_rate: float = setting(5e-6, PEAK, minimum=0.0, maximum=1.0)
    beta: float = setting(
        0.1,
        "How much leaving the reference costs: the larger, the closer the policy stays.",
        minimum=1e-6,
        maximum=100.0,
    )


@dataclass(frozen=True, kw_only=True)
class PPOConfig(TrainingSettings):
    """PPO against a reward model with a KL penalty to the reference."""

    method: str = setting("lora", "Fine-tuning method: which weights learn; see docs/methods.md.", choices=METHODS)
    learning_rate: float = setting(1e-4, PEAK, minimum=0.0, maximum=1.0)
    algorithm: str = setting(
        "ppo",
        "What an answer is compared with: a value model's forecast (ppo), or others to its prompt (rloo, grpo).",
        choices=("ppo", "rloo", "grpo"),
    )
    episodes: int = setting(1024, "Answers sampled and learned from in all.", minimum=1, maximum=100_000_000)
    batch_size: int = setting(64, "Episodes in a rollout phase.", minimum=1, maximum=65_536)
    samples_per_prompt: int = setting(
        0, "Answers to each prompt of a phase, which is computed once for them; 0 takes 1 for ppo, else 4.",
        minimum=0, maximum=1024,
    )  # fmt: skip
    minibatches: int = setting(2, "Optimizer steps over one phase's episodes.", minimum=1, maximum=65_536)
    ppo_epochs: int = setting(1, "Passes over one phase's episodes.", minimum=1, maximum=100)
    seen_prompts: str = setting(
        "skip",
        "A prompt that the reward model was trained on: left out and counted (skip), refused, or kept.",
        choices=("skip", "refuse", "keep"),
    )
    long_prompts: str = setting(
        "cut",
        "A prompt too long for the model or max_length loses its oldest turns (cut), is left out (skip), or refused.",
        choices=("cut", "skip", "refuse"),
    )
    max_new_tokens: int = setting(64, "Longest sampled answer in tokens.", minimum=1, maximum=32_768)
    temperature: float = setting(1.0, "Sampling temperature, also inside the loss.", minimum=0.01, maximum=100.0)
    sampler_log_probs: str = setting(
        "auto",
        "What sampling knew of its tokens stands in for a pass of the policy where a test finds both alike (auto), or "
        "never (recompute).",
        choices=("auto", "recompute"),
    )
    kl_coef: float = setting(0.05, "Price of a nat of divergence from the reference.", minimum=0.0, maximum=100.0)
    kl_target: float = setting(
        0.0,
        "Divergence per answer, in nats, that kl_coef is steered to; 0 keeps kl_coef fixed.",
        minimum=0.0,
        maximum=1e6,
    )
    kl_horizon: int = setting(2048, "Episodes over which kl_coef is steered.", minimum=1, maximum=1_000_000_000)
    clip_range: float = setting(
        0.2, "Furthest a probability ratio may move and still be rewarded.", minimum=0.0, maximum=1000.0
    )
    value_clip_range: float = setting(0.2, "Furthest a value may move in one phase.", minimum=0.0, maximum=1e6)
    vf_coef: float = setting(0.1, "Weight of the value loss.", minimum=0.0, maximum=1e6)
    gamma: float = setting(1.0, "Discount per token.", minimum=0.0, maximum=1.0)
    gae_lambda: float = setting(1.0, "Decay of advantage estimation.", minimum=0.0, maximum=1.0)
    whiten_rewards: bool = setting(False, "Divide rewards by their standard deviation.")
    value_model: str = setting(
        "auto",
        "What forecasts scores: a head on the policy's trunk, a copy of the reward model, or of the policy; auto takes "
        "head where the method leaves weights alone, else reward.",
        choices=("auto", "head", "reward", "policy"),
    )
    value_learning_rate: float = setting(
        0.0, "Peak learning rate of what forecasts scores; 0 takes learning_rate.",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    memory_plan: str = setting(
        "auto",
        "Frozen networks are learning ones with their adapters off (shared, and auto where that can be), or copies.",
        choices=("auto", "shared", "separate"),
    )
    ptx_coef: float = setting(
        1.0, "Weight of the language-model loss where a --ptx text is given.", minimum=0.0, maximum=1e6
    )
    ptx_ratio: float = setting(1.0, "Samples of that text beside each episode.", minimum=0.0, maximum=1000.0)
    missing_eos: str = setting(
        "subtract",
        "An answer that was cut off: subtract a penalty from its score, replace the score by it, or none.",
        choices=("subtract", "replace", "none"),
    )
    missing_eos_penalty: float = setting(1.0, "Size of that penalty.", minimum=0.0, maximum=1e6)
    reward_objective: str = reward_objective_setting()
    reward_std_coef: float = reward_std_coef_setting()
    ema: float = setting(
        0.992, "Decay of the averaged policy that is saved; 0 saves the last one.", minimum=0.0, maximum=1
    )
    kl_ceiling: float = setting(
        100.0, "Stop when the divergence per answer passes this; 0 never stops.", minimum=0.0, maximum=1e6
    )
    min_entropy: float = setting(
        0.1, "Stop when the entropy per token falls below this; 0 never stops.", minimum=0.0, maximum=100.0
    )
    min_length: float = setting(
        1.5, "Stop when the mean answer is shorter than this many tokens.", minimum=0.0, maximum=131_072
    )
    flat_phases: int = setting(
        3, "Stop when all answers score alike in so many phases in a row; 0 never stops.", minimum=0, maximum=MOST_STEPS
    )
    held_out: float = setting(
        0.1, "Part of the prompts kept for measuring where no evaluation file is given.", minimum=0.0, maximum=0.5
    )
    eval_prompts: int = setting(
        64, "Most held-out prompts that are answered at each measurement.", minimum=1, maximum=65_536
    )
    eval_every: int = setting(
        5,
        "Phases between measurements on held-out prompts; 0 measures at the beginning and the end.",
        minimum=0,
        maximum=MOST_STEPS,
    )
    reward_baseline: bool = setting(
        False, "Take off the score of the reference's own answer to the same prompt, which is drawn once."
    )
    reward_normalise: str = setting(
        "none",
        "Divide scores by their deviation in all phases so far (scale), less their mean too (standard), or none.",
        choices=("none", "scale", "standard"),
    )
    reward_clip: float = setting(0.0, "Largest size of a score after that; 0 clips none.", minimum=0.0, maximum=1e6)
    length_target: int = setting(
        0, "Tokens of an answer that cost nothing under length_price.", minimum=0, maximum=131_072
    )
    length_price: float = setting(
        0.0, "Taken off the score for each token beyond length_target.", minimum=0.0, maximum=1e6
    )
    format_must: str = setting(
        "", "Regular expression that every answer must hold somewhere; empty asks for nothing.",
        reads=composite_values.regular_expression,
    )  # fmt: skip
    format_must_not: str = setting(
        "", "Regular expression that no answer may hold; empty forbids nothing.",
        reads=composite_values.regular_expression,
    )  # fmt: skip
    format_penalty: float = setting(
        1.0, "Taken off the score for each of the two that is broken.", minimum=0.0, maximum=1e6
    )
    judge_rubric: str = setting(
        "The answer is helpful, honest and harmless, does what was asked, and is well written.",
        "What a judge grades by, where --reward is the address of a server.",
        on_pages=False,
    )
    judge_tries: int = setting(
        3, "Times a judge is asked for a grade that can be read.", minimum=1, maximum=100, on_pages=False
    )
    served_model: str = served_model_setting(on_pages=False)
    server_requests: int = server_requests_setting(on_pages=False)
    server_timeout: float = server_timeout_setting(on_pages=False)
    server_retries: int = server_retries_setting(on_pages=False)

    @property
    def group_size(self) -> int:
        """Answers to each prompt of a phase."""
        return self.samples_per_prompt or (1 if self.algorithm == "ppo" else 4)


@dataclass(frozen=True, kw_only=True)
class AnsweringSettings(Settings):
    """How answers are drawn, or searched for."""

    batch_size: int = setting(64, "Answers in flight at once.", minimum=1, maximum=65_536)
    max_new_tokens: int = setting(256, "Longest sampled answer in tokens.", minimum=1, maximum=32_768)
    temperature: float = setting(1.0, "0 takes the likeliest token each time.", minimum=0.0, maximum=100.0)
    top_k: int = setting(0, "Sample among this many likeliest tokens; 0 among all.", minimum=0, maximum=10_000_000)
    top_p: float = setting(
        1.0, "Sample among the likeliest tokens that hold this probability.", minimum=0.0, maximum=1.0
    )
    repetition_penalty: float = setting(
        1.0, "Above 1, tokens that the prompt or the answer has already become less likely.", minimum=0.01, maximum=100
    )
    num_beams: int = setting(
        1, "Above 1, search for the likeliest answers with so many beams instead of drawing.", minimum=1, maximum=256
    )
    length_penalty: float = setting(
        1.0, "Beam search divides log-probabilities by length to this power: more favours long answers.",
        minimum=-10.0, maximum=10.0,
    )  # fmt: skip
    exact: bool = setting(
        False,
        "The same answers to the bit whatever else is in the batch, on the CPU alone; a fifth slower where compiled "
        "kernels decode, else about ten times.",
    )
    long_prompts: str = long_prompts_setting()
    chat_template: str = chat_template_setting()


@dataclass(frozen=True, kw_only=True)
class SampleConfig(AnsweringSettings):
    """Sampling answers."""

    best_of: int = setting(
        1, "Each answer is the best of so many by the reward model of --reward.", minimum=1, maximum=1024
    )
    reward_objective: str = reward_objective_setting()
    reward_std_coef: float = reward_std_coef_setting()
    served_model: str = served_model_setting()
    server_requests: int = server_requests_setting()
    server_timeout: float = server_timeout_setting()
    server_retries: int = server_retries_setting()
    server_logprobs: bool = setting(True, "Ask the server for log-probabilities; some know none and refuse.")


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(Settings):
    """Scoring answers with a reward model."""

    micro_batch_tokens: int = setting(
        8192, "Tokens in one forward pass, padding included.", minimum=16, maximum=MOST_TOKENS
    )
    batch_size: int = setting(64, "Rows read, scored and written together.", minimum=1, maximum=65_536)
    long_responses: str = setting(
        "refuse",
        "An answer too long for max_length ends the command (refuse), or gets null in the place of a score (null).",
        choices=("refuse", "null"),
    )
    unreadable_rows: str = unreadable_rows_setting()
    chat_template: str = chat_template_setting()


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(AnsweringSettings):
    """Perplexity, labels and answers, reward accuracy, or the win rate between two models."""

    max_new_tokens: int = setting(64, "Longest sampled answer in tokens.", minimum=1, maximum=32_768)
    micro_batch_tokens: int = setting(
        8192, "Tokens in one forward pass, padding included.", minimum=16, maximum=MOST_TOKENS
    )
    documents: str = setting(
        "auto",
        "What parts the documents of a .txt file: a blank line (blocks), two of them (sections), or nothing (file).",
        choices=("auto", "blocks", "sections", "file"),
    )
    turns: str = turns_setting()
    ends: bool = setting(True, "The end of a document is a token to predict too.")
    labels: str = setting("", "Labels to choose from, parted by commas; empty takes those that occur in the rows.")
    predict: str = setting(
        "score",
        "A row's label: the one whose response is likeliest (score), or that which a written answer names (generate).",
        choices=("score", "generate"),
    )
    answers: int = setting(
        100, "Demonstrations that are answered and compared with their responses; 0 none.", minimum=0, maximum=1_000_000
    )
    answer_temperature: float = setting(
        0.0, "Temperature of those answers; 0 takes the likeliest token each time.", minimum=0.0, maximum=100.0
    )


STAGES: dict[str, type[Settings]] = {
    "pretrain": PretrainConfig,
    "sft": SFTConfig,
    "reward": RewardConfig,
    "ppo": PPOConfig,
    "dpo": DPOConfig,
    "sample": SampleConfig,
    "score": ScoreConfig,
    "evaluate": EvaluateConfig,
}

SettingsT = TypeVar("SettingsT", bound=Settings)


def parse(cls: type[SettingsT], values: Mapping[str, Any]) -> SettingsT:
    """Settings from texts (`{"epochs": "2"}`) or typed values, checked for name, type and range.

    Raises BadInput that names the setting and what it accepts.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    types = typing.get_type_hints(cls)
    unknown = [name for name in values if name not in fields]
    if unknown:
        raise BadInput(f"There is no setting {unknown[0]!r} here; the settings are {', '.join(sorted(fields))}.")
    parsed = {name: _parsed(fields[name], types[name], value) for name, value in values.items()}
    return cls(**(_own_rate(fields, parsed) | parsed))


def _own_rate(fields: Mapping[str, "dataclasses.Field[Any]"], given: Mapping[str, Any]) -> dict[str, float]:
    """The learning rate of a method that is not the stage's own: its default is meant for that one."""
    if given.get("method") is None:
        return {}
    usual: dict[str, Any] = {name: fields[name].default for name in ("method", "learning_rate")}
    factor = RATE_FACTORS[given["method"]] / RATE_FACTORS[usual["method"]]
    return {"learning_rate": min(usual["learning_rate"] * factor, 1.0)}


def _parsed(field: "dataclasses.Field[Any]", kind: type, value: Any) -> Any:
    converters: dict[type, Callable[[Any], Any]] = {int: _whole, float: _number, bool: _truth, str: str}
    text = value.strip() if isinstance(value, str) else value
    try:
        parsed = converters[kind](text)
    except (ValueError, TypeError, OverflowError):
        raise BadInput(f"The setting {field.name} must be {_accepted(field, kind)}, not {value!r}.") from None
    low, high, choices = (field.metadata[key] for key in ("minimum", "maximum", "choices"))
    in_range = (low is None or parsed >= low) and (high is None or parsed <= high)
    if not in_range or (choices and parsed not in choices):
        raise BadInput(f"The setting {field.name} must be {_accepted(field, kind)}, not {value!r}.")
    if field.metadata["reads"] is not None:
        try:
            field.metadata["reads"](parsed)
        except ValueError as error:
            raise BadInput(f"The setting {field.name} {error}") from None
    return parsed


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(number := float(value)):
        raise ValueError
    return number


def _truth(value: Any) -> bool:
    text = str(value).lower()
    if text not in TRUTHS:
        raise ValueError
    return TRUTHS[text]


def _accepted(field: "dataclasses.Field[Any]", kind: type) -> str:
    """The values a setting accepts, in words."""
    low, high, choices = (field.metadata[key] for key in ("minimum", "maximum", "choices"))
    if choices:
        return f"one of {', '.join(choices)}"
    if kind is bool:
        return "true or false"
    noun = {int: "a whole number", float: "a number", str: "a text"}[kind]
    if low is not None and high is not None:
        return f"{noun} from {_figure(low)} to {_figure(high)}"
    return f"{noun} of at least {_figure(low)}" if low is not None else noun


def _figure(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"
