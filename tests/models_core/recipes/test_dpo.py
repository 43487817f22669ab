"""Direct preference optimisation: the loss over all ordered pairs, exact to the gradient, and a recipe like others."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from models_core.contract.errors import BadInput, Stopped
from models_core.contract.rows import row_parser
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import DPOConfig, parse
from models_core.modeling import adapters, loading
from models_core.modeling.packing import Group
from models_core.preferences.encoding import EncodedComparison, Example
from models_core.preferences.ranking_loss import ranked_pairs
from models_core.recipes import dpo
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import CPU, metrics, run, weights
from tests.models_core.tiny import make_tiny_model

SHORT: dict[str, Any] = {"epochs": 2, "batch_size": 4, "learning_rate": 0.01}
RANKS = {3: [2, 1, 3], 4: [1, 2, 2, None]}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def given(tiny: Path, tmp_path: Path) -> dict[str, Any]:
    return {"model": str(tiny), "data": recipe_runs.rankings(tmp_path)}


def example(prompt: list[int], responses: list[list[int]], ranks: list[int | None]) -> Example:
    pairs = tuple(ranked_pairs(ranks))
    return Example(Group(prompt, responses), [EncodedComparison(pairs=pairs, weight=1.0, rows=(), indices=())])


def examples() -> list[Example]:
    torch.manual_seed(3)
    made = []
    for count, ranks in RANKS.items():
        responses = [torch.randint(3, 250, (length,)).tolist() for length in range(2, 2 + count)]
        made.append(example(torch.randint(3, 250, (20 + count,)).tolist(), responses, ranks))
    return made


def slow_log_prob(model: Any, prompt: list[int], response: list[int]) -> torch.Tensor:
    """One row by plain transformers."""
    logits = model(input_ids=torch.tensor([[*prompt, *response]])).logits[0]
    chosen = functional.log_softmax(logits, dim=-1)[len(prompt) - 1 : -1]
    return chosen.gather(1, torch.tensor(response)[:, None]).sum()


def slow_loss(model: Any, reference: Any, rows: list[Example], *, beta: float) -> torch.Tensor:
    """Every ordered pair explicitly: equation 7 of Rafailov et al., averaged over a prompt's pairs and over prompts."""
    total = torch.zeros((), dtype=torch.float64)
    for row, ranks in zip(rows, RANKS.values(), strict=True):
        prompt, responses = row.group
        losses = []
        for i, j in itertools.permutations(range(len(ranks)), 2):
            if ranks[i] is None or ranks[j] is None or not ranks[i] < ranks[j]:  # type: ignore[operator]
                continue
            apart = []
            for network in (model, reference):
                apart.append(
                    slow_log_prob(network, prompt, responses[i]) - slow_log_prob(network, prompt, responses[j])
                )
            losses.append(-torch.log(torch.sigmoid(beta * (apart[0] - apart[1].detach()))))
        total = total + torch.stack(losses).mean() / len(rows)
    return total


@pytest.mark.parametrize("budget", [4096, 16], ids=["at once", "in pieces"])
@pytest.mark.parametrize("sharing", ["always", "never"])
def test_loss_and_gradient_are_those_of_explicit_pairs(tmp_path: Path, sharing: str, budget: int) -> None:
    settings = parse(DPOConfig, {"beta": 0.3, "prefix_sharing": sharing, "max_tokens_per_forward": budget})
    # Its normalisation is no Llama's, which transformers computes in fp32.
    base, other = (make_tiny_model(tmp_path / str(seed), kind="gpt2", seed=seed) for seed in (0, 1))
    model, reference, plain = (
        loading.load_policy(name, device=CPU, dtype=torch.float64) for name in (base, other, base)
    )
    rows = examples()
    with_reference = dpo.add_reference(reference, rows, settings, CPU)
    found = dpo.accumulate(model, with_reference, settings=settings, device=CPU, stop=StopSignal())
    expected = slow_loss(plain, reference, rows, beta=0.3)
    expected.backward()
    assert found["loss"] == pytest.approx(expected.item(), abs=1e-10)
    slow = dict(plain.named_parameters())
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, slow[name].grad, rtol=0, atol=1e-10, msg=name)


def test_a_policy_that_is_its_own_reference_begins_at_log_two(given: dict[str, Any], tmp_path: Path) -> None:
    run("dpo", tmp_path / "run", SHORT, **given)
    first = metrics(tmp_path / "run")[0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert first["reward_margin"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("method", ["full", "lora", "prompt"])
def test_it_learns_the_rankings_under_every_kind_of_method(method: str, given: dict[str, Any], tmp_path: Path) -> None:
    rate = {"full": 0.02, "lora": 0.05, "prompt": 0.3}[method]
    values = {"epochs": 12, "batch_size": 8, "learning_rate": rate, "method": method, "held_out": 0}
    run("dpo", tmp_path / "run", values, **given)
    last = metrics(tmp_path / "run")[-1]
    assert last["accuracy"] > 0.8
    assert last["reward_margin"] > (0.1 if method == "prompt" else 0.5)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_stopped_and_resumed_run_ends_with_the_same_bits(method: str, given: dict[str, Any], tmp_path: Path) -> None:
    values = SHORT | {"method": method, "save_every": 1}
    run("dpo", tmp_path / "whole", values, **given)
    with pytest.raises(Stopped):
        run("dpo", tmp_path / "halves", values, stop=recipe_runs.StopAfter(3), **given)
    run("dpo", tmp_path / "halves", values, resume=True, **given)
    assert metrics(tmp_path / "halves") == metrics(tmp_path / "whole")
    whole, halves = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_held_out_rankings_are_measured_against_the_same_reference(tiny: Path, tmp_path: Path) -> None:
    rows = recipe_runs.rankings(tmp_path, count=24).read_text().splitlines(keepends=True)
    data, others = tmp_path / "data.jsonl", tmp_path / "others.jsonl"
    data.write_text("".join(rows[:16]))
    others.write_text("".join(rows[16:]))
    result = run("dpo", tmp_path / "run", SHORT | {"learning_rate": 0.0}, model=str(tiny), data=data, evaluation=others)
    assert result["eval_loss"] == pytest.approx(math.log(2), abs=1e-5)
    moved = run("dpo", tmp_path / "moved", SHORT, model=str(tiny), data=data, evaluation=others)
    assert moved["eval_loss"] < result["eval_loss"] - 0.05


def test_what_was_learned_is_in_the_saved_policy(given: dict[str, Any], tmp_path: Path) -> None:
    """The saved policy against its start, scored anew: the margins that training ended with."""
    values = SHORT | {"epochs": 6, "method": "lora", "learning_rate": 0.05, "held_out": 0}
    run("dpo", tmp_path / "run", values, **given)
    tokenizer = loading.load_tokenizer(given["model"])
    policy, start = (
        loading.load_policy(name, device=CPU, dtype=torch.float32)
        for name in (tmp_path / "run" / "model", given["model"])
    )
    right = pairs = 0
    for row in row_parser.read(given["data"], "rankings"):
        texts = [response.text for response in sorted(row.responses, key=lambda item: item.rank)]
        prompt = tokenizer.apply_chat_template(list(row.messages), add_generation_prompt=True, return_dict=False)
        rewards = []
        for text in texts:
            ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
            with torch.no_grad():
                rewards.append((slow_log_prob(policy, prompt, ids) - slow_log_prob(start, prompt, ids)).item())
        for better, worse in itertools.combinations(rewards, 2):
            right, pairs = right + (better > worse), pairs + 1
    assert right / pairs > 0.8


def test_a_reference_of_another_shape_is_refused_and_nothing_is_written(given: dict[str, Any], tmp_path: Path) -> None:
    other = make_tiny_model(tmp_path / "other", kind="gpt2")
    with pytest.raises(BadInput, match="another architecture"):
        run("dpo", tmp_path / "run", SHORT, reference=str(other), **given)
    assert not (tmp_path / "run").exists()


def test_the_reference_is_heard_with_the_adapter_off(tiny: Path) -> None:
    """Virtual tokens do not start as the model without them, and the reference is that model."""
    settings = parse(DPOConfig, {"method": "prompt"})
    tokenizer = loading.load_tokenizer(tiny)
    plain = loading.load_policy(tiny, device=CPU, dtype=torch.float32)
    tuned = loading.load_policy(tiny, device=CPU, dtype=torch.float32)
    tuned = adapters.prepare(tuned, settings, tokenizer=tokenizer)
    rows = examples()
    with adapters.adapter_off(tuned):
        off = dpo.add_reference(tuned, rows, settings, CPU)
    on, expected = dpo.add_reference(tuned, rows, settings, CPU), dpo.add_reference(plain, rows, settings, CPU)
    torch.testing.assert_close(off[0].log_probs, expected[0].log_probs, atol=1e-4, rtol=0)
    assert (on[0].log_probs - expected[0].log_probs).abs().max() > 0.1
