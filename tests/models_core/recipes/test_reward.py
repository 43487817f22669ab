"""The reward model's loss, gradient and output, against the plain way: every pair on its own through transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from models_core.contract.rows.records import Ranking
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import METHODS, RewardConfig, parse
from models_core.modeling import adapters, chat, forward, loading
from models_core.modeling.packing import Group
from models_core.preferences.comparisons import build_comparisons
from models_core.preferences.encoding import Example, encode_comparisons
from models_core.preferences.skipped_rows import SkippedRows
from models_core.recipes import reward
from models_core.training import gradient_cache
from tests.models_core import recipe_runs
from tests.models_core.cli.test_command_line import run_whole
from tests.models_core.preferences.judgment_rows import better, ranking
from tests.models_core.recipe_runs import CPU
from tests.models_core.tiny import make_tiny_model

LETTERS = "abcdefghijklmnop"


def rankings() -> list[Ranking]:
    """K from 2 to 16 in one batch, ties, gaps, weights, margins; two people on one prompt, partly other responses."""
    sixteen = [(letter * (place + 1), 1 + place // 2) for place, letter in enumerate(LETTERS)]
    return [
        better("yes", "no", id="1", prompt="short"),
        ranking(*sixteen, id="2", prompt="a long list"),
        ranking(("x", 2), ("yy", 1), ("zzz", 2), ("w", None), id="3", prompt="three", labeler="anna", margin=0.3),
        better("zzz", "new", id="4", prompt="three", labeler="ben", weight=2.5),
        ranking(*sixteen[:5], id="5", prompt="five of them"),
    ]


def encoded(tokenizer: Any, **settings: Any) -> tuple[list[Example], RewardConfig]:
    config = parse(RewardConfig, {"ties": "soft", "margin": "row", **settings})
    comparisons = build_comparisons(rankings(), settings=config, skipped=SkippedRows()).comparisons
    skipped = SkippedRows()
    examples = encode_comparisons(comparisons, tokenizer=tokenizer, settings=config, max_length=512, skipped=skipped)
    return examples, config


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp(request.param) / "model", kind=request.param)


def fresh(base: Path, *, dtype: torch.dtype = torch.float64) -> Any:
    return loading.new_reward_model(base, device=CPU, dtype=dtype, seed=1).to(dtype)  # the head too


def gradients(network: Any) -> dict[str, torch.Tensor]:
    return {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}


def of_explicit_pairs(network: Any, tokenizer: Any) -> tuple[float, dict[str, torch.Tensor]]:
    """Both sides of every pair computed anew, one row at a time, by the model's own forward pass."""
    total = torch.zeros((), dtype=torch.float64)

    def logit(row: Ranking, text: str) -> torch.Tensor:
        ids = [*chat.encode_prompt(tokenizer, row.messages, max_tokens=500), *chat.encode_response(tokenizer, text)]
        states = adapters.layers.trunk(network)(input_ids=torch.tensor([ids])).last_hidden_state
        return (states[0, -1] @ network.score.weight[0]).double()

    for row in rankings():
        ranked = [item for item in row.responses if item.rank is not None]
        losses = []
        for place, one in enumerate(ranked):
            for other in ranked[place + 1 :]:
                difference = logit(row, one.text) - logit(row, other.text)
                if one.rank == other.rank:
                    losses.append(-(functional.logsigmoid(difference) + functional.logsigmoid(-difference)) / 2)
                else:
                    sign = 1 if (one.rank or 0) < (other.rank or 0) else -1
                    losses.append(-functional.logsigmoid(sign * difference - (row.margin or 0.0)))
        total = total + row.weight * torch.stack(losses).mean()
    loss = total / len(rankings())
    loss.backward()
    return loss.item(), gradients(network)


CUTS = {"whole": (10_000, "always"), "unshared": (10_000, "never"), "small": (60, "auto"), "in pieces": (16, "always")}


@pytest.fixture(scope="module")
def explicit(base: Path) -> tuple[float, dict[str, torch.Tensor]]:
    return of_explicit_pairs(fresh(base), loading.load_tokenizer(base))


@pytest.mark.parametrize("cut", CUTS)
def test_loss_and_gradient_are_those_of_explicit_pairs(
    base: Path, explicit: tuple[float, dict[str, torch.Tensor]], cut: str
) -> None:
    """However a minibatch is cut, and whether prompts are shared or computed in pieces."""
    budget, sharing = CUTS[cut]
    network = fresh(base)
    minibatch, settings = encoded(loading.load_tokenizer(base), max_tokens_per_forward=budget, prefix_sharing=sharing)
    assert [len(example.group.responses) for example in minibatch] == [2, 16, 5, 5]
    loss, _ = reward.accumulate(network, minibatch, settings=settings, device=CPU, stop=StopSignal())
    assert loss == pytest.approx(explicit[0], abs=1e-10)
    found = gradients(network)
    assert set(found) == set(explicit[1])
    # Llama's normalisation computes in fp32 even in an fp64 model.
    rtol, atol = (0, 1e-10) if network.config.model_type == "gpt2" else (1e-4, 1e-6)
    for name, gradient in explicit[1].items():
        torch.testing.assert_close(found[name], gradient, rtol=rtol, atol=atol, msg=name)


def test_a_minibatch_of_one_light_ranking_has_a_small_loss_and_gradient(base: Path) -> None:
    tokenizer, found = loading.load_tokenizer(base), []
    for weight in (1.0, 0.25):
        network = fresh(base)
        row = better("yes", "no", id="1", prompt="short", weight=weight)
        config = parse(RewardConfig, {})
        comparisons = build_comparisons([row], settings=config, skipped=SkippedRows()).comparisons
        minibatch = encode_comparisons(
            comparisons, tokenizer=tokenizer, settings=config, max_length=512, skipped=SkippedRows()
        )
        loss, _ = reward.accumulate(network, minibatch, settings=config, device=CPU, stop=StopSignal())
        found.append((loss, gradients(network)["score.weight"]))
    (whole, gradient), (quarter, quarter_gradient) = found
    assert quarter == pytest.approx(whole / 4, rel=1e-6)
    torch.testing.assert_close(quarter_gradient, gradient / 4, rtol=1e-6, atol=1e-9)


def test_scores_with_and_without_sharing_are_equal(base: Path) -> None:
    network = fresh(base, dtype=torch.float32)
    minibatch, _ = encoded(loading.load_tokenizer(base))
    groups = [example.group for example in minibatch]
    found = []
    for sharing in ("always", "never", "auto"):
        with torch.no_grad():
            found.append(forward.reward_logits(network, forward.pack(groups, sharing=sharing)))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-4)
    torch.testing.assert_close(found[0], found[2], rtol=0, atol=1e-4)


def test_a_prompt_is_cut_into_pieces_that_fit() -> None:
    group = Group([0] * 10, [[1] * 5, [2] * 5, [3] * 30, [4] * 1, [5] * 4, [6] * 5])
    cut = gradient_cache.cut(group, budget=21, sharing="always")
    assert [[response[0] for response in piece.responses] for piece in cut] == [[1, 2], [3], [4, 5, 6]]
    assert [piece.cost("always") for piece in cut] == [20, 40, 20]
    assert all(piece.prompt == group.prompt for piece in cut)
    alone = gradient_cache.cut(group, budget=21, sharing="never")
    assert [[response[0] for response in piece.responses] for piece in alone] == [[1], [2], [3], [4], [5], [6]]


def test_several_judgments_share_one_forward_pass(base: Path) -> None:
    """Two people's rankings of one prompt make one example, each different response in it once."""
    minibatch, _ = encoded(loading.load_tokenizer(base))
    three = minibatch[2]
    assert [item.rows[0].id for item in three.comparisons] == ["3", "4"]
    assert [item.indices for item in three.comparisons] == [((0, 1, 2, 3),), ((2, 4),)]
    assert three.weight == 3.5


@pytest.mark.parametrize("method", METHODS)
def test_every_weight_that_a_method_trains_learns(tmp_path: Path, base: Path, method: str) -> None:
    """None is left frozen for speed: after two steps each tensor that should learn has a gradient that is not 0."""
    tokenizer = loading.load_tokenizer(base)
    minibatch, settings = encoded(
        tokenizer, method=method, virtual_tokens=3, last_layers=1, adapter_width=4, lora_rank=2
    )
    network = loading.new_reward_model(base, device=CPU, dtype=torch.float32, seed=1, quantise=method == "qlora")
    network = adapters.prepare(network, settings, tokenizer=tokenizer)
    learning = adapters.trainable(network)
    optimizer = torch.optim.SGD(learning.values(), lr=0.5)
    for _ in range(3):  # what begins at 0, such as LoRA's B, lets gradients through to the rest after a step
        optimizer.zero_grad()
        reward.accumulate(network, minibatch, settings=settings, device=CPU, stop=StopSignal())
        optimizer.step()
    still = [name for name, weight in learning.items() if weight.grad is None or not weight.grad.abs().sum() > 0]
    assert still == []
    assert any("score" in name for name in learning)


TIED, ORDERED = ([{"text": "a", "rank": 1}, {"text": "b", "rank": rank}] for rank in (1, 2))
BAD: dict[str, tuple[list[dict[str, Any]], list[str], str]] = {
    "no order": (TIED, [], "strict order (1 all tied)."),
    "an unknown response": (ORDERED, [], '"chosen" is none of the responses.'),
    "refused by a setting": (TIED, ["unusable_rows=refuse"], "The row '1' ranks all responses alike."),
    "no template": (ORDERED, [], "chat_template=plain gives it a simple one."),
    "weights whose products overflow": (ORDERED, [], "are not finite numbers: its weights are damaged."),
    "the same, and a head to fit": (ORDERED, ["head_init=fitted"], "are not finite numbers: its weights are damaged."),
    "a demonstration beyond the window": (ORDERED, ["long_responses=refuse"], "(512 tokens) allows."),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing_behind(
    tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    responses, settings, sentence = BAD[case]
    row: dict[str, Any] = {"id": "1", "prompt": [{"role": "user", "content": "hi"}], "responses": responses}
    if case == "an unknown response":
        row |= {"chosen": "a", "rejected": "c", "responses": responses[1:]}
    data = recipe_runs.write(tmp_path / "rankings.jsonl", [row])
    model = make_tiny_model(tmp_path / "model")
    if case == "no template":
        (model / "chat_template.jinja").unlink()
    if "the same" in case or "overflow" in case:
        weights = load_file(model / "model.safetensors")
        weights["model.norm.weight"] *= 3e38
        save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    long = {"id": "long", "prompt": row["prompt"], "response": "a" * 600}
    demonstrations = recipe_runs.write(tmp_path / "demonstrations.jsonl", [long])
    before = sorted(tmp_path.rglob("*"))
    arguments = ["reward", "--model", model, "--data", data, "--out", tmp_path / "run", "--set", "precision=fp32"]
    arguments += ["--demonstrations", demonstrations]
    arguments += [part for setting in settings for part in ("--set", setting)]
    status, out, err = run_whole(*arguments, capsys=capsys)
    assert (status, out) == (2, [""])
    assert err[-1].endswith(sentence)
    assert len(err) == 1
    assert sorted(tmp_path.rglob("*")) == before
