"""Settings of reinforcement learning: PPO, RLOO and GRPO."""

from dataclasses import dataclass

from models_core.contract.settings import composite_values
from models_core.contract.settings.base import MAX_STEPS, held_out_setting, max_new_tokens_setting, setting
from models_core.contract.settings.generation import (
    reward_objective_setting,
    reward_std_coef_setting,
    served_model_setting,
    server_requests_setting,
    server_retries_setting,
    server_timeout_setting,
)
from models_core.contract.settings.training import (
    TrainingSettings,
    fine_tuning_method,
    offload_reference_setting,
    peak_learning_rate,
)


@dataclass(frozen=True, kw_only=True)
class PPOConfig(TrainingSettings):
    """PPO against a reward model with a KL penalty to the reference policy."""

    method: str = fine_tuning_method("lora")
    learning_rate: float = peak_learning_rate(1e-4, method="LoRA")
    algorithm: str = setting(
        "ppo",
        "Advantage estimation: a value model (ppo), or the other responses to the same prompt (rloo, grpo).",
        choices=("ppo", "rloo", "grpo"),
    )
    episodes: int = setting(1024, "Total number of rollouts.", minimum=1, maximum=100_000_000)
    batch_size: int = setting(64, "Rollouts per iteration.", minimum=1, maximum=65_536)
    samples_per_prompt: int = setting(
        0, "Responses per prompt in an iteration; 0 selects 1 for ppo, 4 for rloo and grpo.",
        minimum=0, maximum=1024,
    )  # fmt: skip
    minibatches: int = setting(2, "Optimizer steps per pass over an iteration's rollouts.", minimum=1, maximum=65_536)
    ppo_epochs: int = setting(1, "Passes over an iteration's rollouts.", minimum=1, maximum=100)
    reward_train_overlap: str = setting(
        "skip",
        "Prompts that the reward model was trained on: skip and count them (skip), end with an error (refuse), or "
        "keep them (keep).",
        choices=("skip", "refuse", "keep"),
    )
    long_prompts: str = setting(
        "cut",
        "Prompts longer than the model or max_length allows: remove their oldest turns (cut), skip them (skip), or "
        "end with an error (refuse).",
        choices=("cut", "skip", "refuse"),
    )
    max_new_tokens: int = max_new_tokens_setting(64)
    temperature: float = setting(
        1.0, "Sampling temperature, also applied to the log-probabilities in the loss.", minimum=0.01, maximum=100.0
    )
    sampler_log_probs: str = setting(
        "auto",
        "Log-probabilities of rollouts: reuse the sampler's where a check finds them equal to the policy's (auto), or "
        "recompute them (recompute).",
        choices=("auto", "recompute"),
    )
    rollout_server: str = setting(
        "", "Address of a vLLM server that samples the rollouts (docs/ppo.md); empty samples them in this process.",
        on_pages=False,
    )  # fmt: skip
    rollout_server_folder: str = setting(
        "", "Run folder as the rollout server sees it; empty where it has the same path there.", on_pages=False
    )
    rollouts_ahead: int = setting(
        0,
        "Iterations that the rollout server samples ahead of training, with importance weights; 0 waits for it.",
        minimum=0,
        maximum=1,
    )
    importance_weight_cap: float = setting(
        2.0, "Truncation of the importance weights of a rollout server's tokens.", minimum=1.0, maximum=1e6
    )
    kl_coef: float = setting(
        0.05, "KL penalty coefficient (beta) against the reference policy.", minimum=0.0, maximum=100.0
    )
    kl_target: float = setting(
        0.0,
        "Target KL divergence per response in nats for the adaptive controller; 0 keeps kl_coef fixed.",
        minimum=0.0,
        maximum=1e6,
    )
    kl_horizon: int = setting(
        2048, "Horizon of the adaptive KL controller in rollouts.", minimum=1, maximum=1_000_000_000
    )
    clip_range: float = setting(0.2, "PPO clip range (epsilon) of the probability ratio.", minimum=0.0, maximum=1000.0)
    value_clip_range: float = setting(
        0.2, "Clip range of value predictions around the rollout's predictions.", minimum=0.0, maximum=1e6
    )
    vf_coef: float = setting(0.1, "Coefficient of the value loss.", minimum=0.0, maximum=1e6)
    gamma: float = setting(1.0, "Discount factor (gamma) per token.", minimum=0.0, maximum=1.0)
    gae_lambda: float = setting(1.0, "Lambda of generalised advantage estimation (GAE).", minimum=0.0, maximum=1.0)
    whiten_rewards: bool = setting(False, "Divide rewards by their standard deviation.")
    value_init: str = setting(
        "auto",
        "Value model: a head on the policy's trunk (head), or a copy of the reward model (reward) or the policy "
        "(policy); auto selects head for methods that keep the base weights, else reward.",
        choices=("auto", "head", "reward", "policy"),
    )
    value_learning_rate: float = setting(
        0.0, "Peak learning rate of the value model; 0 uses learning_rate.",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    share_base_weights: str = setting(
        "auto",
        "Reference policy and reward model as trained models with adapters disabled: where possible (auto), always, "
        "or never (separate copies).",
        choices=("auto", "always", "never"),
    )
    offload_reference: bool = offload_reference_setting()
    ptx_coef: float = setting(
        1.0, "Coefficient of the pretraining loss (PPO-ptx) on --ptx text.", minimum=0.0, maximum=1e6
    )
    ptx_ratio: float = setting(1.0, "Sequences of --ptx text per rollout.", minimum=0.0, maximum=1000.0)
    missing_eos_mode: str = setting(
        "subtract",
        "Responses without an end-of-sequence token: subtract a penalty from the score, replace the score by it, or "
        "none.",
        choices=("subtract", "replace", "none"),
    )
    missing_eos_penalty: float = setting(
        1.0, "Penalty of responses without an end-of-sequence token.", minimum=0.0, maximum=1e6
    )
    reward_objective: str = reward_objective_setting()
    reward_std_coef: float = reward_std_coef_setting()
    ema_decay: float = setting(
        0.992, "Decay of the exponential moving average of the saved policy; 0 disables it.", minimum=0.0, maximum=1
    )
    max_kl: float = setting(
        100.0, "Early stopping: maximum KL divergence per response in nats; 0 disables it.", minimum=0.0, maximum=1e6
    )
    min_entropy: float = setting(
        0.1, "Early stopping: minimum entropy per token in nats; 0 disables it.", minimum=0.0, maximum=100.0
    )
    min_length: float = setting(
        1.5, "Early stopping: minimum mean response length in tokens; 0 disables it.", minimum=0.0, maximum=131_072
    )
    zero_variance_patience: int = setting(
        3,
        "Early stopping: number of consecutive iterations in which all scores are equal; 0 disables it.",
        minimum=0,
        maximum=MAX_STEPS,
    )
    held_out: float = held_out_setting()
    eval_prompts: int = setting(64, "Maximum number of held-out prompts per evaluation.", minimum=1, maximum=65_536)
    eval_every: int = setting(
        5,
        "Iterations between evaluations on held-out prompts; 0 evaluates at the start and the end.",
        minimum=0,
        maximum=MAX_STEPS,
    )
    reward_baseline: bool = setting(False, "Subtract the score of the reference policy's response to the same prompt.")
    reward_normalise: str = setting(
        "none",
        "Score normalisation by running statistics: standard deviation (scale), mean and standard deviation "
        "(standard), or none.",
        choices=("none", "scale", "standard"),
    )
    reward_clip: float = setting(0.0, "Clip range of the normalised score; 0 disables it.", minimum=0.0, maximum=1e6)
    length_target: int = setting(0, "Response length in tokens without a length penalty.", minimum=0, maximum=131_072)
    length_penalty_coef: float = setting(
        0.0, "Length penalty per token beyond length_target.", minimum=0.0, maximum=1e6
    )
    required_pattern: str = setting(
        "", "Regular expression that every response must contain; empty disables it.",
        parser=composite_values.regular_expression,
    )  # fmt: skip
    forbidden_pattern: str = setting(
        "", "Regular expression that no response may contain; empty disables it.",
        parser=composite_values.regular_expression,
    )  # fmt: skip
    format_penalty: float = setting(1.0, "Penalty for each violated pattern.", minimum=0.0, maximum=1e6)
    judge_rubric: str = setting(
        "The response is helpful, honest and harmless, does what was asked, and is well written.",
        "Grading rubric of an LLM judge (--reward with a server address).",
        on_pages=False,
    )
    judge_retries: int = setting(
        2, "Number of retries of an LLM judge whose reply is no grade.", minimum=0, maximum=100, on_pages=False
    )
    served_model: str = served_model_setting(on_pages=False)
    server_requests: int = server_requests_setting(on_pages=False)
    server_timeout: float = server_timeout_setting(on_pages=False)
    server_retries: int = server_retries_setting(on_pages=False)

    @property
    def group_size(self) -> int:
        """Responses per prompt in an iteration."""
        return self.samples_per_prompt or (1 if self.algorithm == "ppo" else 4)
