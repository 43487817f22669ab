"""Names in the packages are the field's: words of an earlier private dialect don't come back.

docs/glossary.md has the terms to use. Only words that no standard term contains are looked for, in the names of
modules, functions, classes, arguments and attributes; a word counts as a whole part of a name (`told` in `was_told`,
not in `untold`).
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("annotate", "rlhf", "models_core", "config")

# Each with the term that took its place.
REPLACED = {
    # tasks and their pages
    "answer": "response (a model's or a labeler's), reply (a server's)",
    "answers": "responses, replies",
    "answer request": "ResponseRequest",
    "arrangement": "reordering",
    "awaits answer": "awaits_response",
    "content warnings": "sensitive_content",
    "brief": "task_instructions",
    "care": "sensitive_content",
    "deed": "action",
    "deeds": "actions",
    "entered": "FormData",
    "face": "form",
    "faces": "task_forms",
    "offers": "candidates",
    "prospect": "response_status",
    "prospects": "response_status",
    "showing": "responses",
    "standing": "progress",
    "supply": "task_creation",
    "task content": "task_kinds",
    "unblinding": "model_self_identification",
    # runs and the loop
    "endings": "stop_reasons",
    "keep alive": "heartbeat",
    "loop policy": "LoopSettings",
    "outlook": "queue_summary",
    "scale answers": "calibration_data",
    "siblings": "other_seeds",
    "task choice": "AcquisitionScore",
    "tend": "reap",
    "unheard": "queues_without_worker",
    "wake": "notify_worker",
    "wakeups": "signal_handlers",
    # rewards, preferences and PPO
    "bundle": "PromptGroup",
    "divergence loss": "kl_loss",
    "first head": "head_init",
    "flat phases": "zero_variance_patience",
    "format must": "required_pattern",
    "frontier": "reward_kl_plot",
    "generalised advantages": "gae",
    "group normalised": "grpo_advantages",
    "guards": "EarlyStopping",
    "head start": "head_init",
    "hear": "build_comparisons",
    "is trusted": "enabled",
    "judge tries": "judge_retries",
    "kl ceiling": "max_kl",
    "leave one out": "rloo_advantages",
    "length price": "length_penalty_coef",
    "memory plan": "share_base_weights",
    "networks": "ActorCritic",
    "opinion": "head_scores",
    "opinions": "head_scores",
    "phase": "iteration",
    "phases": "iterations",
    "practice": "EncodedPrompts",
    "price": "coefficient",
    "prices": "coefficients",
    "rehearsal": "smoke_test",
    "rehearse": "smoke_test",
    "seen prompts": "reward_train_overlap",
    "told": "reused_logprobs",
    "trip": "StopReason",
    "trips": "StopReason",
    "verdicts": "comparisons",
    "voice": "num_heads",
    "voices": "num_heads",
    "watching": "evaluation",
    "worth": "values, shaped_reward or selection_score",
    # models and generation
    "beginning": "prefix",
    "chances": "logprobs",
    "drawing": "sampling",
    "fresh": "init",
    "gated": "swiglu",
    "hold still": "freeze",
    "in full": "dequantise",
    "masses": "exp_sums",
    "settle": "merge_adapters",
    "settled": "merge_adapters",
    "sharpness": "inv_temperature",
    "spoken": "assistant_positions",
    "turned": "apply_rope",
    "widen": "resize",
    # training and files
    "agreed": "broadcast",
    "arrivals": "stream_batches",
    "farewell": "stop_message",
    "final rate": "min_lr_ratio",
    "growing file": "resumable_writer",
    "keep best": "load_best_at_end",
    "judging": "win_rate",
    "likeness": "text_similarity",
    "micro batch tokens": "max_tokens_per_forward",
    "partial file": "partial_output",
    "questions": "eval_prompts",
    "replicas": "ddp",
    "sharding": "fsdp",
    "surprise": "bits_per_byte",
}
# Modules in which a word keeps its meaning.
KEPT_IN = {
    # What a candidate ranks in an exam is no judgment and no response: the table and its address are "exam answers".
    ("annotate", word): {"admin", "urls"}
    | {f"{layer}/exam" for layer in ("forms", "labeling", "models/labeling", "views")}
    | {"api/exam_routes"}
    for word in ("answer", "answers")
} | {
    # Names of huggingface_hub.
    ("annotate", "siblings"): {"data/hub/hub_downloads"},
    ("annotate", "gated"): {"data/hub/hub_client"},
}


def words(name: str) -> str:
    """`LoopPolicy` and `loop_policy` as " loop policy "."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    return f" {' '.join(part.lower() for part in parts)} "


def identifiers(source: str) -> Iterator[str]:
    """The names of functions, classes, arguments, variables and attributes in a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def found_in(folder: Path) -> dict[str, list[str]]:
    """{word: ["file: name", ...]} of the replaced words that occur below a folder."""
    found: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        if "migrations" in path.parts:
            continue
        module = path.relative_to(folder).with_suffix("")
        names = {*module.parts, *identifiers(path.read_text(encoding="utf-8"))}
        for name in names:
            for word in REPLACED:
                kept_in = KEPT_IN.get((folder.name, word), set())
                if f" {word} " in words(name) and module.as_posix() not in kept_in:
                    found.setdefault(word, set()).add(f"{module}: {name}")
    return {word: sorted(places) for word, places in found.items()}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_replaced_word_is_in_a_name(package: str) -> None:
    found = found_in(ROOT / package)
    assert {f"{word}: say {REPLACED[word]}": places for word, places in found.items()} == {}


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("def was_told(): ...", "told"),
        ("class LoopPolicy: ...", "loop policy"),
        ("def f(*, first_head): ...", "first head"),
        ("self.farewell = 1", "farewell"),
        ("deeds = []", "deeds"),
        ("class Answer: ...", "answer"),
        ("answered = unanswered = num_answers = 1", "answers"),
        ("try:\n    likeness: int = 1\nfinally: pass", "likeness"),
    ],
)
def test_a_planted_name_is_found(tmp_path: Path, source: str, word: str) -> None:
    (tmp_path / "planted.py").write_text(source)
    assert list(found_in(tmp_path)) == [word]


def test_a_planted_module_is_found(tmp_path: Path) -> None:
    (tmp_path / "arrivals").mkdir()
    (tmp_path / "arrivals" / "reader.py").write_text("untold = surprising = 1")
    assert found_in(tmp_path) == {"arrivals": ["arrivals/reader: arrivals"]}
