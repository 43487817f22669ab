"""What fine-tuning learns from each row, what it leaves out and counts, and that every way of it resumes to the bit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from models_core.contract.errors import BadInput, Stopped
from models_core.contract.rows.records import Message
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import SFTConfig, parse
from models_core.demonstrations.eval_loss import mean_loss
from models_core.demonstrations.examples import Encoder, Example
from models_core.demonstrations.mixture import Step
from models_core.demonstrations.templated_rows import Wording
from models_core.modeling import chat, loading
from models_core.recipes import sft
from models_core.training import memory
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import CPU, metrics, run, weights
from tests.models_core.tiny import make_tiny_model, make_tiny_tokenizer

CONVERSATION = tuple(
    Message(role=role, content=content)
    for role, content in [
        ("user", "say 1"),
        ("assistant", "abc"),
        ("user", "say 2"),
        ("assistant", "de"),
        ("user", "3"),
    ]
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tiny_tokenizer()


def encoded(tokenizer: Any, messages: tuple[Message, ...], response: str, **settings: Any) -> Example:
    encoder = Encoder(tokenizer=tokenizer, settings=SFTConfig(**settings), max_length=settings.get("max_length", 512))
    wording = Wording(earlier=messages[:-1], prompt=messages[-1]["content"], response=response)
    example, _ = encoder.encode(wording, row_id="1")
    assert example is not None
    return example


def learned(tokenizer: Any, example: Example) -> str:
    return tokenizer.decode([example.prompt[place] for place in example.assistant_positions] + example.response)


def test_the_final_response_alone_is_learned_or_all_the_assistant_said(tokenizer: Any) -> None:
    last = encoded(tokenizer, CONVERSATION, "f")
    assert learned(tokenizer, last) == "f<|im_end|>"
    every = encoded(tokenizer, CONVERSATION, "f", loss_on="all")
    assert learned(tokenizer, every) == "abc<|im_end|>de<|im_end|>f<|im_end|>"
    assert every.prompt == last.prompt == chat.encode_prompt(tokenizer, CONVERSATION, max_tokens=512)
    assert (last.loss_tokens, every.loss_tokens) == (2, 2 + 4 + 3)
    assert last.content == len("say 1abcsay 2de3f")


def explicit_loss(network: Any, examples: list[Example], settings: SFTConfig) -> torch.Tensor:
    """Row by row through the unchanged model, with torch's own cross entropy."""
    learned_losses, lm_losses = [], []
    for example in examples:
        ids = torch.tensor([*example.prompt, *example.response])
        losses = functional.cross_entropy(network(input_ids=ids[None]).logits[0, :-1], ids[1:], reduction="none")
        is_learned = torch.zeros(len(ids), dtype=torch.bool)
        is_learned[[*example.assistant_positions, *range(len(example.prompt), len(ids))]] = True
        learned_losses.append(losses[is_learned[1:]])
        lm_losses.append(losses if settings.lm_scope == "row" else losses[~is_learned[1:]])
    return torch.cat(learned_losses).mean() + settings.lm_coef * torch.cat(lm_losses).mean()


@pytest.mark.parametrize(
    "options",
    [{}, {"loss_on": "all"}, {"lm_coef": 0.5}, {"lm_coef": 0.5, "lm_scope": "prompt", "loss_on": "all"}],
    ids=["responses", "turns", "lm", "lm of prompts"],
)
@pytest.mark.parametrize("budget", [16, 4096])
def test_packed_loss_and_gradients_equal_those_of_rows_computed_one_by_one(
    tiny: Path, tokenizer: Any, options: dict[str, Any], budget: int
) -> None:
    settings = SFTConfig(max_tokens_per_forward=budget, **options)
    rows = [
        encoded(tokenizer, CONVERSATION, "f", **options),
        encoded(tokenizer, CONVERSATION[:1], "a longer answer", **options),
        encoded(tokenizer, CONVERSATION[:3], "g", **options),
    ]
    gradients = []
    for way in ("packed", "explicit"):
        network: Any = loading.load_policy(tiny, device="cpu", dtype=torch.float32).double()
        if way == "packed":
            step = Step(new=rows[:2], replayed=rows[2:])
            losses = sft.accumulate(network, step, settings=settings, device=CPU, stop=StopSignal())
        else:
            loss = explicit_loss(network, rows, settings)
            loss.backward()
            new, old = (explicit_loss(network, part, SFTConfig()).item() for part in (rows[:2], rows[2:]))
            assert losses["loss"] == pytest.approx(new, rel=1e-6)
            assert losses["replay_loss"] == pytest.approx(old, rel=1e-6)
        gradients.append({name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None})
    packed, explicit = gradients
    assert packed.keys() == explicit.keys()
    for name, gradient in explicit.items():
        # Llama's normalisation computes in fp32 even in an fp64 model.
        torch.testing.assert_close(packed[name], gradient, rtol=1e-5, atol=1e-6, msg=name)


def test_the_auxiliary_loss_is_over_prompts_or_whole_rows(tiny: Path, tokenizer: Any) -> None:
    rows = [encoded(tokenizer, CONVERSATION, "f"), encoded(tokenizer, CONVERSATION[:1], "yes")]
    network: Any = loading.load_policy(tiny, device="cpu", dtype=torch.float32)
    for scope in ("row", "prompt"):
        settings = SFTConfig(lm_coef=1.0, lm_scope=scope)
        step = Step(new=rows, replayed=[])
        losses = sft.accumulate(network, step, settings=settings, device=CPU, stop=StopSignal())
        both = explicit_loss(network, rows, settings).item()
        assert losses["lm_loss"] == pytest.approx(both - losses["loss"], rel=1e-5)


def say(folder: Path, name: str, responses: dict[str, str], **fields: Any) -> Path:
    rows = [
        {"id": f"{name}{number}", "prompt": recipe_runs.chat(prompt), "response": response, **fields}
        for number, (prompt, response) in enumerate(responses.items())
    ]
    return recipe_runs.write(folder / f"{name}.jsonl", rows)


@pytest.fixture
def everything(tiny: Path, tmp_path: Path) -> dict[str, Any]:
    """A run with every kind of data: two mixed sets in templates, replay and an old task."""
    templates = tmp_path / "mine.json"
    wordings = [{"prompt": "{prompt}?"}, {"prompt": "Do: {prompt}", "response": "{response}!"}]
    templates.write_text(json.dumps({"shots": [0, 1], "templates": wordings}), encoding="utf-8")
    return {
        "model": str(tiny),
        "data": [
            recipe_runs.demonstrations(tmp_path),
            say(tmp_path, "b", {f"tell {n}": "cd" * (n + 1) for n in range(4)}),
        ],
        "templates": [str(templates), "none"],
        "replay": say(tmp_path, "old", {f"old {n}": "ef" * (n + 1) for n in range(5)}),
        "ewc": say(tmp_path, "older", {f"older {n}": "gh" * (n + 1) for n in range(5)}),
        "evaluation": say(tmp_path, "held", {f"hold {n}": "ab" * (n + 1) for n in range(3)}),
    }


FULL = {"epochs": 3, "batch_size": 4, "learning_rate": 0.01, "data_weights": "1,0.5", "loss_on": "all", "lm_coef": 0.1}


def test_a_run_of_everything_stopped_and_resumed_ends_with_the_same_bits(
    everything: dict[str, Any], tmp_path: Path
) -> None:
    values = FULL | {"save_every": 1, "eval_every": 2, "patience": 3}
    whole_result = run("sft", tmp_path / "whole", values, **everything)
    with pytest.raises(Stopped):
        run("sft", tmp_path / "halves", values, stop=recipe_runs.StopAfter(11), **everything)
    assert 0 < len(metrics(tmp_path / "halves")) < len(metrics(tmp_path / "whole"))
    result = run("sft", tmp_path / "halves", values, resume=True, **everything)
    timed = {"seconds", "tokens_per_s"}
    assert {k: v for k, v in result.items() if k not in timed} == {
        k: v for k, v in whole_result.items() if k not in timed
    }
    assert metrics(tmp_path / "halves") == metrics(tmp_path / "whole")
    whole, halves = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_the_run_folder_holds_every_file_that_was_read(everything: dict[str, Any], tmp_path: Path) -> None:
    result = run("sft", tmp_path / "run", FULL, **everything)
    assert {path.name for path in (tmp_path / "run" / "data").iterdir()} == {
        "demonstrations.jsonl",
        "demonstrations-2.jsonl",
        "templates.json",
        "evaluation.jsonl",
        "replay.jsonl",
        "ewc.jsonl",
    }
    assert set(metrics(tmp_path / "run")[0]) >= {"loss", "lm_loss", "replay_loss", "ewc_penalty", "learning_rate"}
    assert result["data"]["1: demonstrations.jsonl"]["used"] == 8
    assert result["data"]["2: b.jsonl"] | {} == {
        "rows": 4, "held_out": 0, "used": 4, "too_long_responses": 0, "no_template_fits": 0, "truncated_prompts": 0,
        "fewer_examples": 0, "merged_turns": 0, "weight": 0.5,
    }  # fmt: skip
    assert result["demonstrations"] == 12
    assert result["replay"]["used"] == 5
    assert result["steps"] == result["planned_steps"] == 9  # an epoch draws 8 rows of the first and 2 of the second
    assert result["old_loss_before"] > 0 < result["old_loss"]


def test_rows_that_do_not_come_through_whole_are_counted(tiny: Path, tmp_path: Path) -> None:
    long = [{"role": "user", "content": "x" * 60}, {"role": "assistant", "content": "y" * 60}]
    two_assistant_turns = [*recipe_runs.chat("a"), *[{"role": "assistant", "content": "b"}] * 2, *recipe_runs.chat("c")]
    rows = [
        {"id": "1", "prompt": recipe_runs.chat("short"), "response": "fine"},
        {"id": "2", "prompt": recipe_runs.chat("short too"), "response": "z" * 200},
        {"id": "3", "prompt": [*long, *recipe_runs.chat("end")], "response": "fine"},
        {"id": "4", "prompt": two_assistant_turns, "response": "fine"},
    ]
    data = recipe_runs.write(tmp_path / "rows.jsonl", rows)
    result = run("sft", tmp_path / "run", {"max_length": 128}, model=str(tiny), data=data)
    counts = {"demonstrations": 3, "too_long_responses": 1, "truncated_prompts": 1, "merged_turns": 1}
    assert {name: result[name] for name in counts} == counts
    with pytest.raises(BadInput, match="The row '3' has a prompt longer than max_length"):
        run("sft", tmp_path / "no", {"max_length": 128, "long_prompts": "refuse"}, model=str(tiny), data=data)
    assert not (tmp_path / "no").exists()


def test_rankings_with_long_prompts_are_counted_or_refused(tiny: Path, tmp_path: Path) -> None:
    long = [{"role": "user", "content": "x" * 60}, {"role": "assistant", "content": "y" * 60}, *recipe_runs.chat("end")]
    data = recipe_runs.write(tmp_path / "pairs.jsonl", [{"id": "1", "prompt": long, "chosen": "a", "rejected": "b"}])
    result = run("reward", tmp_path / "run", {"max_length": 128}, model=str(tiny), data=data)
    assert result["left_out"]["truncated_prompts"]["count"] == 1
    with pytest.raises(BadInput, match="The prompt of the row '1' is longer than max_length"):
        run("reward", tmp_path / "no", {"max_length": 128, "long_prompts": "refuse"}, model=str(tiny), data=data)


def test_worked_examples_go_before_any_of_the_prompt_is_cut(tokenizer: Any) -> None:
    wording = Wording(earlier=(), prompt="p" * 20, response="r", examples=tuple((f"{n}" * 20, "a") for n in range(4)))
    encoder = Encoder(tokenizer=tokenizer, settings=SFTConfig(), max_length=200)
    example, happened = encoder.encode(wording, row_id="1")
    assert happened == ["fewer_examples"]
    assert example is not None
    assert "0" * 20 in tokenizer.decode(example.prompt)
    assert "3" * 20 not in tokenizer.decode(example.prompt)
    assert "p" * 20 in tokenizer.decode(example.prompt)
    assert len(example.prompt) + len(example.response) <= 200


def test_a_part_of_the_prompts_is_held_out_and_no_prompt_is_on_both_sides(tiny: Path, tmp_path: Path) -> None:
    rows = [
        {"id": f"{number}-{copy}", "prompt": recipe_runs.chat(f"say {number}"), "response": "ab"}
        for number in range(40)
        for copy in range(2)
    ]
    data = recipe_runs.write(tmp_path / "rows.jsonl", rows)
    result = run("sft", tmp_path / "run", {"epochs": 1, "held_out": 0.3}, model=str(tiny), data=data)
    assert 10 <= result["held_out"] == 80 - result["demonstrations"] <= 40
    assert result["held_out"] % 2 == 0
    assert result["eval_loss"] > 0
    whole = run("sft", tmp_path / "whole", {"epochs": 1, "held_out": 0}, model=str(tiny), data=data)
    assert (whole["held_out"], whole["demonstrations"], "eval_loss" in whole) == (0, 80, False)


def test_training_ends_early_and_keeps_the_best_weights(tiny: Path, tmp_path: Path) -> None:
    """The held-out responses contradict the training's: their loss falls while the form is learned, then rises."""
    given = {
        "model": str(tiny),
        "data": say(tmp_path, "train", {f"say {number}": "ab" * 4 for number in range(8)}),
        "evaluation": say(tmp_path, "eval", {f"say {number}": "ab" * 2 + "ba" * 2 for number in range(8)}),
    }
    values = {"epochs": 60, "batch_size": 8, "learning_rate": 0.03, "eval_every": 2, "patience": 3}
    result = run("sft", tmp_path / "run", values, **given)
    measured = {row["step"]: row["eval_loss"] for row in metrics(tmp_path / "run") if "eval_loss" in row}
    best = min(measured, key=lambda step: measured[step])
    assert result["steps"] < result["planned_steps"] == 60
    assert (result["best_step"], result["eval_loss"]) == (best, measured[best])
    assert result["steps"] == best + 6  # three measurements without a better one
    network = loading.load_policy(tmp_path / "run" / "model", device="cpu", dtype=torch.float32)
    tokenizer = loading.load_tokenizer(tmp_path / "run" / "model")
    rows = [
        encoded(tokenizer, (Message(role="user", content=f"say {number}"),), "ab" * 2 + "ba" * 2) for number in range(8)
    ]
    again = mean_loss(network, rows, budget=2048, device=CPU)
    assert again == pytest.approx(measured[best], abs=1e-5)


def test_layers_are_computed_twice_where_the_setting_says_so(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"model": str(tiny), "data": recipe_runs.demonstrations(tmp_path)}
    kept = memory.checkpoint
    calls = []

    def noted(*inputs: Any, **more: Any) -> Any:
        calls.append(inputs)
        return kept(*inputs, **more)

    monkeypatch.setattr(memory, "checkpoint", noted)
    for twice, expected in ((False, 0), (True, 4)):  # two layers in the check of the loss, and in the one step
        run("sft", tmp_path / str(twice), {"epochs": 1, "gradient_checkpointing": twice, "held_out": 0}, **given)
        assert len(calls) == expected
    once, twofold = weights(tmp_path / "False"), weights(tmp_path / "True")
    assert all(torch.allclose(once[name], twofold[name], atol=1e-6) for name in once)


def test_patience_without_eval_every_measures_after_every_epoch(tiny: Path, tmp_path: Path) -> None:
    given = {"model": str(tiny), "data": recipe_runs.demonstrations(tmp_path)}
    given["evaluation"] = say(tmp_path, "eval", {"say 1": "abab"})
    run("sft", tmp_path / "run", {"epochs": 3, "batch_size": 3, "patience": 5}, **given)
    assert [row["step"] for row in metrics(tmp_path / "run") if "eval_loss" in row] == [3, 6, 9]


def test_chain_of_thought_responses_and_cloze_patterns_are_learned(tiny: Path, tmp_path: Path) -> None:
    templates = tmp_path / "t.json"
    patterns = [
        {"cloze": "{text}: [label]", "labels": {"1": "b"}, "unless": ["rationale"]},
        {"prompt": "{text}?", "response": "{rationale} so {label}"},
    ]
    templates.write_text(json.dumps({"templates": patterns}), encoding="utf-8")
    rows = [
        {"id": "1", "text": "x", "label": 1},
        {"id": "2", "text": "y", "label": "a", "rationale": "why"},
        {"id": "3", "text": "z", "label": 2},
        {"id": "4", "words": "z"},
    ]
    data = recipe_runs.write(tmp_path / "rows.jsonl", rows)
    values = {"epochs": 80, "learning_rate": 0.03}
    result = run("sft", tmp_path / "run", values, model=str(tiny), data=data, templates=[str(templates)])
    assert (result["demonstrations"], result["no_template_fits"]) == (2, 2)
    assert result["loss"] < 0.1
    with pytest.raises(BadInput, match=r"rows.jsonl: no row can be learned from; 4 rows that no template fits"):
        run("sft", tmp_path / "no", {}, model=str(tiny), data=data, templates=["summarisation"])


def test_templates_are_given_once_for_all_files_or_once_for_each(everything: dict[str, Any], tmp_path: Path) -> None:
    everything["templates"] *= 2
    with pytest.raises(BadInput, match="--templates is given 4 times for 2 data files"):
        run("sft", tmp_path / "run", FULL, **everything)


def test_a_broken_template_sentence_names_the_setting() -> None:
    with pytest.raises(BadInput, match="loss_on must be one of last, all"):
        parse(SFTConfig, {"loss_on": "some"})
