"""Several heads on one trunk: what they learn from, how they are kept, what is made of their disagreement."""

import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from models_core.contract.errors import BadInput, Stopped
from models_core.contract.settings import METHODS
from models_core.modeling import forward, heads, loading
from models_core.modeling.packing import Group
from models_core.preferences.bootstrap import bootstrap_weights, poisson_counts
from models_core.preferences.ranking_loss import Pair, PairBatch, RankedPairs, ranking_loss
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import metrics, run, weights
from tests.models_core.tiny import make_tiny_model
from tests.models_core.tuned import SMALL

CPU = {"device": "cpu", "dtype": torch.float32}
SHORT = {
    "epochs": 2, "batch_size": 4, "learning_rate": 0.01, "ensemble": 3, "held_out": 0.5, "head_init": "random",
}  # fmt: skip
GROUPS = [Group([1, 5, 9], [[7, 8, 2], [30, 2]]), Group([1, 6], [[40, 41, 42, 2]])]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def ensemble(base, tmp_path_factory):
    """The run of an ensemble of three heads."""
    folder = tmp_path_factory.mktemp("ensemble")
    run("reward", folder / "run", SHORT, model=str(base), data=recipe_runs.rankings(folder, count=24))
    return folder / "run"


def head_scores_of(folder, **how):
    model = loading.load_reward_model(folder, **(CPU | how))
    rows = forward.group_head_logits(model, GROUPS, budget=1000, device="cpu")
    return model, torch.cat([heads.scores(model, row) for row in rows])


# ---- learning ----------------------------------------------------------------------------------------------------


def test_draws_are_poisson_and_depend_on_seed_head_and_prompt_alone():
    prompts = [[number, number // 7, 3] for number in range(4000)]
    drawn = torch.tensor([poisson_counts(prompt, num_heads=2, seed=1) for prompt in prompts], dtype=torch.float64)
    for head in (0, 1):
        counts = [(drawn[:, head] == times).double().mean().item() for times in range(4)]
        assert counts == pytest.approx([math.exp(-1) / math.factorial(times) for times in range(4)], abs=0.025)
    assert abs(torch.corrcoef(drawn.T)[0, 1].item()) < 0.05
    assert poisson_counts([5, 6], num_heads=8, seed=3) == poisson_counts([5, 6], num_heads=8, seed=3)
    assert poisson_counts([5, 6], num_heads=8, seed=3)[:3] == poisson_counts([5, 6], num_heads=3, seed=3)
    assert poisson_counts([5, 6], num_heads=8, seed=3) != poisson_counts([5, 6], num_heads=8, seed=4)
    assert poisson_counts([5, 6], num_heads=8, seed=3) != poisson_counts([6, 5], num_heads=8, seed=3)


def test_the_loss_of_drawn_comparisons_is_that_of_each_heads_own_rows():
    """Against the slow way: a head that drew a prompt twice has its rankings twice."""
    torch.manual_seed(0)
    logits = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    two = [RankedPairs(2, [Pair(0, 1, 1.0)], 0.5), RankedPairs(2, [Pair(1, 0, 1.0)])]
    three = [RankedPairs(3, [Pair(0, 1, 1.0), Pair(0, 2, 0.5)])]
    times = [[2, 0], [1, 3]]
    quick = ranking_loss(logits.T, bootstrap_weights(PairBatch.from_groups([two, three]), [two, three], times)).mean()
    slow = torch.zeros((), dtype=torch.float64)
    for head in (0, 1):
        for start, rankings, drawn in ((0, two, times[0][head]), (2, three, times[1][head])):
            own = logits[start : start + rankings[0].num_responses, head]
            slow = slow + ranking_loss(own, PairBatch.from_groups([rankings])) * drawn / 2
    torch.testing.assert_close(quick, slow, atol=1e-12, rtol=0)
    (of_quick,) = torch.autograd.grad(quick, logits, retain_graph=True)
    (of_slow,) = torch.autograd.grad(slow, logits)
    torch.testing.assert_close(of_quick, of_slow, atol=1e-12, rtol=0)
    assert of_quick[:2, 1].abs().sum() == 0  # the second head drew the first prompt not at all


def test_a_bootstrap_makes_heads_differ_that_began_alike(base, tmp_path):
    """From a head of no weight all heads of the same data stay one; with draws of their own they part."""
    data = recipe_runs.rankings(tmp_path, count=12)
    values = SHORT | {"head_scale": 0.0, "held_out": 0}
    for name, bootstrap in (("drawn", True), ("alike", False)):
        run("reward", tmp_path / name, values | {"bootstrap": bootstrap}, model=str(base), data=data)
    alike = heads.heads_of(loading.load_reward_model(tmp_path / "alike", **CPU)).weight
    assert torch.equal(alike[0], alike[1])
    assert torch.equal(alike[0], alike[2])
    drawn = heads.heads_of(loading.load_reward_model(tmp_path / "drawn", **CPU)).weight
    assert (drawn[0] - drawn[1]).abs().max() > 1e-3


def test_micro_batches_do_not_change_an_ensemble(base, tmp_path):
    data = recipe_runs.rankings(tmp_path)
    for name, budget in (("small", 40), ("large", 4096)):
        run("reward", tmp_path / name, SHORT | {"max_tokens_per_forward": budget}, model=str(base), data=data)
    small, large = (load_file(tmp_path / name / "model" / heads.FILE) for name in ("small", "large"))
    torch.testing.assert_close(small["score.heads"], large["score.heads"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_stopped_and_resumed_ensemble_ends_with_the_same_bits(method, base, tmp_path):
    data = recipe_runs.rankings(tmp_path)
    values = SHORT | {"method": method, "save_every": 1}
    run("reward", tmp_path / "whole", values, model=str(base), data=data)
    with pytest.raises(Stopped):
        run("reward", tmp_path / "halves", values, stop=recipe_runs.StopAfter(3), model=str(base), data=data)
    run("reward", tmp_path / "halves", values, resume=True, model=str(base), data=data)
    assert metrics(tmp_path / "halves") == metrics(tmp_path / "whole")
    for whole, halves in (
        (weights(tmp_path / "whole"), weights(tmp_path / "halves")),
        (load_file(tmp_path / "whole/model" / heads.FILE), load_file(tmp_path / "halves/model" / heads.FILE)),
    ):
        assert whole.keys() == halves.keys()
        assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_an_ensemble_is_trained_on_with_the_heads_it_has(base, ensemble):
    given = loading.load_reward_model(ensemble, **CPU)
    start = {"seed": 5, "head_scale": 1.0, **CPU}
    same = loading.new_reward_model(ensemble, head_count=3, **start)
    assert torch.equal(loading.head(same).weight, given.ensemble.weight)
    more = loading.head(loading.new_reward_model(ensemble, head_count=4, **start)).weight
    torch.testing.assert_close(more.mean(0, keepdim=True), given.score.weight, atol=1e-6, rtol=0)
    assert (more - given.score.weight).std() > 0.1
    one = loading.new_reward_model(ensemble, **start)
    assert torch.equal(loading.head(one).weight, given.score.weight)
    assert heads.heads_of(one).count == 1


# ---- on disk -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_under_every_method_an_ensemble_is_loaded_as_it_was_trained(method, base, tmp_path):
    """Three heads come back to the bit, their mean is what is scored, and heads differ."""
    values = SHORT | SMALL | {"method": method, "epochs": 1}
    data = recipe_runs.rankings(tmp_path, count=12)
    result = run("reward", tmp_path / "run", values, model=str(base), data=data)
    model, scores = head_scores_of(tmp_path / "run")
    kept = load_file(tmp_path / "run/model" / heads.FILE)
    assert torch.equal(model.ensemble.weight, kept["score.heads"])
    assert kept["score.heads"].shape == (3, 16)
    assert result["ensemble"] == 3
    (again, same) = head_scores_of(tmp_path / "run")
    assert torch.equal(scores, same)
    shift, scale = loading.reward_scale(again)
    means = forward.group_logits(again, GROUPS, budget=1000, device="cpu")
    flat = torch.tensor([(logit - shift) / scale for row in means for logit in row])
    torch.testing.assert_close(scores.mean(-1), flat, atol=1e-4, rtol=1e-4)
    assert scores.std(-1).min() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_plain_transformers_reads_the_mean(dtype, ensemble):
    model, _ = head_scores_of(ensemble, dtype=dtype)
    rows = forward.group_head_logits(model, GROUPS, budget=1000, device="cpu")
    plain = AutoModelForSequenceClassification.from_pretrained(ensemble / "model", dtype=dtype)
    for group, logits in zip(GROUPS, rows, strict=True):
        for response, own in zip(group.responses, logits, strict=True):
            with torch.no_grad():
                (read,) = plain(torch.tensor([[*group.prompt, *response]])).logits[0]
            assert read.item() == pytest.approx(own.mean().item(), abs=1e-5 if dtype == torch.float32 else 0.05)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_heads_trained_beside_a_bf16_trunk_are_saved_in_full(method, base, tmp_path):
    values = SHORT | {"method": method, "precision": "bf16", "held_out": 0}
    run("reward", tmp_path / "run", values, model=str(base), data=recipe_runs.rankings(tmp_path))
    kept = load_file(tmp_path / "run/model" / heads.FILE)["score.heads"]
    assert kept.dtype == weights(tmp_path / "run")["score.weight"].dtype == torch.float32
    torch.testing.assert_close(weights(tmp_path / "run")["score.weight"], kept.mean(0, keepdim=True))
    assert torch.equal(loading.load_reward_model(tmp_path / "run", **CPU).ensemble.weight, kept)


def test_every_head_scores_demonstrations_at_zero_and_the_mean_of_samples_deviates_by_one(base, tmp_path):
    files = {"demonstrations": recipe_runs.demonstrations(tmp_path), "samples": recipe_runs.rankings(tmp_path)}
    run("reward", tmp_path / "run", SHORT, model=str(base), data=files["samples"], **files)
    model = loading.load_reward_model(tmp_path / "run", **CPU)
    tokenizer = loading.load_tokenizer(tmp_path / "run")
    found = {}
    for name, path in files.items():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        texts = [
            [row["response"]] if "response" in row else [item["text"] for item in row["responses"]] for row in rows
        ]
        groups = [
            forward.encode_group(tokenizer, row["prompt"], own, max_length=512).group
            for row, own in zip(rows, texts, strict=True)
        ]
        logits = forward.group_head_logits(model, groups, budget=4096, device="cpu")
        found[name] = heads.scores(model, torch.cat(logits))
    assert found["demonstrations"].mean(0).tolist() == pytest.approx([0, 0, 0], abs=1e-4)
    assert found["samples"].mean(-1).std(correction=0).item() == pytest.approx(1, abs=1e-4)


def test_heads_that_are_missing_damaged_or_another_models_are_refused(ensemble, tmp_path):
    folder = tmp_path / "rm"
    shutil.copytree(ensemble / "model", folder)
    kept = load_file(folder / heads.FILE)
    save_file(kept | {"score.heads": kept["score.heads"] + 1}, folder / heads.FILE)
    with pytest.raises(BadInput, match="does not hold the heads of this model"):
        loading.load_reward_model(folder, **CPU)
    save_file({"score.heads": kept["score.heads"][:2], "score.shifts": kept["score.shifts"]}, folder / heads.FILE)
    with pytest.raises(BadInput, match="does not hold the heads of this model"):
        loading.load_reward_model(folder, **CPU)
    (folder / heads.FILE).write_bytes(b"torn")
    with pytest.raises(BadInput, match=r"are damaged: heads\.safetensors"):
        loading.load_reward_model(folder, **CPU)
    (folder / heads.FILE).unlink()
    with pytest.raises(BadInput, match=r"ensemble of 3 heads, and heads\.safetensors is missing"):
        loading.load_reward_model(folder, **CPU)


def test_a_single_head_trained_from_an_ensemble_leaves_no_heads_behind(ensemble, tmp_path):
    run("reward", tmp_path / "run", SHORT | {"ensemble": 1}, model=str(ensemble), data=recipe_runs.rankings(tmp_path))
    assert not (tmp_path / "run/model" / heads.FILE).exists()
    assert heads.COUNT not in json.loads((tmp_path / "run/model/config.json").read_text())
    loading.load_reward_model(tmp_path / "run", **CPU)


# ---- what to make of it ------------------------------------------------------------------------------------------


def test_conservative_scores_by_hand():
    of_heads = torch.tensor([[1.0, 3.0], [2.0, 2.0]])
    assert heads.ensemble_score(of_heads, objective="std", coef=0.0).tolist() == [2.0, 2.0]
    assert heads.ensemble_score(of_heads, objective="std", coef=0.5).tolist() == [1.5, 2.0]
    assert heads.ensemble_score(of_heads * 2, objective="variance", coef=0.5).tolist() == [2.0, 4.0]
    assert heads.ensemble_score(of_heads, objective="worst", coef=9.0).tolist() == [1.0, 2.0]


def test_disagreement_is_about_differences_by_hand():
    # Heads of other levels agree on the order and on how far apart two responses are.
    assert heads.disagreement(torch.tensor([[1.0, 11.0], [0.0, 10.0]])) == 0.0
    # Differences of the three pairs: (1, 3), (2, 2), (1, -1), so deviations 1, 0, 1.
    assert heads.disagreement(torch.tensor([[2.0, 2.0], [1.0, -1.0], [0.0, 0.0]])) == pytest.approx(2 / 3)
    assert heads.disagreement(torch.tensor([[1.0, 2.0]])) == 0.0


def test_a_run_says_how_far_its_heads_agree(ensemble):
    metrics_of = json.loads((ensemble / "result.json").read_text())["metrics"]
    assert metrics_of["ensemble"] == 3
    assert metrics_of["ensemble_std"] > 0
    assert metrics_of["ensemble_disagreement"] > 0
    assert "head_shifts" not in metrics_of
