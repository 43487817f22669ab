"""Labels of settings and metrics: words of the reader's language beside the name that commands and files use."""

import re

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop


def in_words(name: str) -> str:
    """`eval_kl` as "eval KL", or as the catalogue has it."""
    spaced = name.replace("_", " ")
    words = _(METRICS.get(name) or OPTIONS.get(name) or spaced)
    # A catalogue's words are written out already; English has no catalogue.
    return re.sub(r"\w+", lambda word: WRITTEN_OUT.get(word[0], word[0]), words) if words == spaced else words


def of_name(name: str) -> SafeString:
    """The words as a label, and the name itself where these differ from it by more than a space and capitals."""
    words = in_words(name)
    label = words[:1].upper() + words[1:]
    if words.casefold() == name.replace("_", " "):
        return format_html('<span lang="en">{}</span>', label)
    return format_html('{} <code lang="en">{}</code>', label, name)


def of_system(name: str) -> str:
    """`gpu_0_memory` as "GPU 0: memory (GiB)"."""
    device, number, measure = re.fullmatch(r"(?:(gpu)_(\d+)_)?(\w+)", name).groups()  # type: ignore[union-attr]
    label = _(SYSTEM.get(measure, measure))
    return f"GPU {number}: {label}" if device else label


WRITTEN_OUT = {
    "ai": "AI",
    "auc": "AUC",
    "coef": "coefficient",
    "ece": "ECE",
    "ema": "EMA",
    "eos": "EOS",
    "ewc": "EWC",
    "gae": "GAE",
    "kl": "KL",
    "lm": "LM",
    "lora": "LoRA",
    "lr": "learning rate",
    "ppo": "PPO",
    "ptx": "PPO-ptx",
    "sft": "SFT",
    "std": "standard deviation",
    "vf": "value function",
}
"""Parts of names that a reader of English expects in another form."""
SYSTEM = {
    "cores": gettext_noop("Processor cores in use"),
    "memory": gettext_noop("Memory (GiB)"),
    "utilisation": gettext_noop("Utilisation (%)"),
}
OPTIONS = {
    "corpus": gettext_noop("corpus"),
    "file": gettext_noop("file"),
    "sha256": gettext_noop("SHA-256"),
    "ptx": gettext_noop("pretraining text of PPO-ptx"),
    "samples": gettext_noop("responses per prompt"),
    "order": gettext_noop("order of prompts"),
    "requests": gettext_noop("requests"),
    "model": gettext_noop("model"),
    "kind": gettext_noop("kind"),
    "type": gettext_noop("type of weights"),
    "name": gettext_noop("name"),
    "repository": gettext_noop("repository"),
    "private": gettext_noop("private"),
    "token_variable": gettext_noop("environment variable of the token"),
}
"""Labels of a run's options, which are no settings."""
METRICS = {
    "loss": gettext_noop("loss"),
    "eval_loss": gettext_noop("eval loss"),
    "gradient_norm": gettext_noop("gradient norm"),
    "best_step": gettext_noop("best step"),
    "planned_steps": gettext_noop("planned steps"),
    "steps": gettext_noop("steps"),
    "seconds": gettext_noop("seconds"),
    "seconds_per_step": gettext_noop("seconds per step"),
    "measured_steps": gettext_noop("measured steps"),
    "measured_seconds": gettext_noop("most seconds for the steps"),
    "peak_memory": gettext_noop("peak memory in bytes"),
    "tokens_per_s": gettext_noop("tokens per s"),
    "parameters": gettext_noop("parameters"),
    "trained_parameters": gettext_noop("trained parameters"),
    "truncated": gettext_noop("truncated"),
    "truncated_prompts": gettext_noop("truncated prompts"),
    "documents": gettext_noop("documents"),
    "held_out_documents": gettext_noop("held out documents"),
    "tokens": gettext_noop("tokens"),
    "perplexity": gettext_noop("perplexity"),
    "bits_per_byte": gettext_noop("bits per byte"),
    "demonstrations": gettext_noop("demonstrations"),
    "fewer_examples": gettext_noop("fewer examples"),
    "no_template_fits": gettext_noop("no template fits"),
    "merged_turns": gettext_noop("merged turns"),
    "replay_loss": gettext_noop("replay loss"),
    "ewc_penalty": gettext_noop("ewc penalty"),
    "old_loss": gettext_noop("old loss"),
    "old_loss_before": gettext_noop("old loss before"),
    "held_out_prompts_also_learned": gettext_noop("held out prompts also learned"),
    "rankings": gettext_noop("rankings"),
    "rankings_per_s": gettext_noop("rankings per s"),
    "accuracy": gettext_noop("accuracy"),
    "eval_accuracy": gettext_noop("eval accuracy"),
    "eval_pairs": gettext_noop("eval pairs"),
    "eval_rankings": gettext_noop("eval rankings"),
    "lm_loss": gettext_noop("lm loss"),
    "demonstration_rankings": gettext_noop("demonstration rankings"),
    "reward_margin": gettext_noop("reward margin"),
    "reward_scale": gettext_noop("reward scale"),
    "reward_shift": gettext_noop("reward shift"),
    "too_long_responses": gettext_noop("too long responses"),
    "accuracy_low": gettext_noop("accuracy low"),
    "accuracy_high": gettext_noop("accuracy high"),
    "tau_b": gettext_noop("tau b"),
    "top1": gettext_noop("top1"),
    "ece": gettext_noop("ece"),
    "labeler_agreement": gettext_noop("labeler agreement"),
    "longer_wins_accuracy": gettext_noop("longer wins accuracy"),
    "newest_accuracy": gettext_noop("newest accuracy"),
    "subset_accuracy": gettext_noop("mean accuracy over subsets"),
    "rewardbench_score": gettext_noop("RewardBench score"),
    "ensemble_std": gettext_noop("ensemble std"),
    "ensemble_disagreement": gettext_noop("ensemble disagreement"),
    "disagreement_auc": gettext_noop("disagreement auc"),
    "score": gettext_noop("score"),
    "score_std": gettext_noop("score std"),
    "conservative_score": gettext_noop("conservative score"),
    "missing_scores": gettext_noop("missing scores"),
    "baseline_score": gettext_noop("baseline score"),
    "clipped_scores": gettext_noop("clipped scores"),
    "reward": gettext_noop("reward"),
    "reward/score": gettext_noop("reward/score"),
    "reward/length": gettext_noop("reward/length"),
    "reward/format": gettext_noop("reward/format"),
    "reward/missing_eos": gettext_noop("reward/missing eos"),
    "rows": gettext_noop("rows"),
    "judged": gettext_noop("judged"),
    "judgments": gettext_noop("judgments"),
    "revisions": gettext_noop("revisions"),
    "revised_responses": gettext_noop("revised responses"),
    "position_consistency": gettext_noop("position consistency"),
    "requests": gettext_noop("requests"),
    "retries": gettext_noop("retries"),
    "input_tokens": gettext_noop("input tokens"),
    "output_tokens": gettext_noop("output tokens"),
    "estimated": gettext_noop("estimated"),
    "cost": gettext_noop("cost"),
    "budget_spent": gettext_noop("budget spent"),
    "held_out_prompts": gettext_noop("held out prompts"),
    "teacher_kl": gettext_noop("teacher kl"),
    "eval_teacher_kl": gettext_noop("eval teacher kl"),
    "kl": gettext_noop("kl"),
    "entropy": gettext_noop("entropy"),
    "length": gettext_noop("length"),
    "eos_rate": gettext_noop("eos rate"),
    "episodes_per_s": gettext_noop("episodes per s"),
    "sampler_error": gettext_noop("sampler error"),
    "sampler_bias": gettext_noop("sampler bias"),
    "sampler_bias_error": gettext_noop("sampler bias error"),
    "sampler_value_error": gettext_noop("sampler value error"),
    "sampler_log_probs": gettext_noop("sampler log probs"),
    "served_rollouts": gettext_noop("served rollouts"),
    "served_iterations": gettext_noop("served iterations"),
    "rollout_staleness": gettext_noop("rollout staleness"),
    "rollout_server_note": gettext_noop("rollout server note"),
    "importance_weight": gettext_noop("importance weight"),
    "truncated_weights": gettext_noop("truncated weights"),
    "policy_loss": gettext_noop("policy loss"),
    "value_loss": gettext_noop("value loss"),
    "kl_loss": gettext_noop("kl loss"),
    "ptx_loss": gettext_noop("ptx loss"),
    "clip_fraction": gettext_noop("clip fraction"),
    "value_clip_fraction": gettext_noop("value clip fraction"),
    "approx_kl": gettext_noop("approx kl"),
    "first_ratio_error": gettext_noop("first ratio error"),
    "value_explained_variance": gettext_noop("value explained variance"),
    "eval_score": gettext_noop("eval score"),
    "eval_score_start": gettext_noop("eval score start"),
    "eval_reward": gettext_noop("eval reward"),
    "eval_reward_start": gettext_noop("eval reward start"),
    "eval_kl": gettext_noop("eval kl"),
    "eval_length": gettext_noop("eval length"),
    "eval_eos_rate": gettext_noop("eval eos rate"),
    "prompts": gettext_noop("prompts"),
    "responses": gettext_noop("responses"),
    "tasks": gettext_noop("tasks"),
    "ended": gettext_noop("ended"),
    "win_rate": gettext_noop("win rate"),
    "trained_on": gettext_noop("rows left out: their prompts were trained on"),
    "exact_match": gettext_noop("responses that equal the reference"),
    "pairs": gettext_noop("pairs"),
    "bytes": gettext_noop("bytes"),
    "files": gettext_noop("files"),
    "gguf_positions": gettext_noop("compared positions"),
    "gguf_kl": gettext_noop("KL of llama.cpp from ours"),
    "gguf_top1": gettext_noop("same likeliest token"),
}
"""Labels of `metric_names.METRICS`. Settings' names are in the catalogue by models_core (config.catalogues)."""
