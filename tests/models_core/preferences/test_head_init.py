"""A fresh head's first weights: the linear model of the pairs on the untrained trunk's states."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from models_core.contract.errors import Stopped
from models_core.modeling import forward, loading
from models_core.modeling.packing import Group
from models_core.preferences import head_init
from models_core.preferences.encoding import EncodedComparison, Example
from models_core.preferences.head_init import LinearProbe
from models_core.preferences.ranking_loss import Pair
from tests.models_core import recipe_runs
from tests.models_core.recipe_runs import CPU, StopAfter, run, weights
from tests.models_core.tiny import make_tiny_model

FITTED = {"head_init": "fitted", "held_out": 0, "precision": "fp32"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


def example(number=0, *, pairs=((0, 1),), responses=2):
    """A prompt of its own with short responses; the pairs are (better, worse)."""
    comparison = EncodedComparison(pairs=tuple(Pair(*pair, 1.0) for pair in pairs), weight=1.0, rows=(), indices=())
    texts = [[3 + (number * 7 + place * 5) % 200, 3 + (number + place) % 90, 2] for place in range(responses)]
    return Example(Group([1, 3 + number % 250, 9], texts), [comparison])


def pairs_of(differences):
    """Examples of two responses whose states differ by these rows."""
    states = [torch.stack([row, torch.zeros_like(row)]) for row in torch.as_tensor(differences, dtype=torch.float64)]
    return LinearProbe(states, [example(number) for number in range(len(states))])


def test_one_number_by_hand():
    """All pairs differ by 1: the weight w of least log(1 + exp(-w)) + w^2/20 has sigmoid(-w) = w/10."""
    probe = pairs_of([[1.0]] * 4)
    [weight] = head_init.fit_weights(probe, probe.pairs(), ridge=0.1, start=torch.zeros(1, dtype=torch.float64))
    assert 1 / (1 + math.exp(weight)) == pytest.approx(0.1 * float(weight), abs=1e-5)


def test_the_fit_is_that_of_another_implementation():
    """Logistic regression without intercept, each ranking counting once however many pairs it has."""
    torch.manual_seed(0)
    orders = [((0, 1),), ((2, 0), (2, 1), (0, 1)), ((1, 0),), ((0, 2), (1, 2))]
    examples = [example(number, pairs=pairs, responses=3) for number, pairs in enumerate(orders)]
    states = [torch.randn(3, 5, dtype=torch.float64) for _ in examples]
    probe = LinearProbe(states, examples)
    found = head_init.fit_weights(probe, probe.pairs(), ridge=0.05, start=torch.zeros(5, dtype=torch.float64))
    rows = [
        (own[better] - own[worse], 1 / len(order))
        for own, order in zip(states, orders, strict=True)
        for better, worse in order
    ]
    differences = np.stack([row.numpy() for row, _ in rows])
    model = LogisticRegression(fit_intercept=False, C=1 / (0.05 * len(orders)), tol=1e-10, max_iter=1000)
    labels = np.repeat([1, 0], len(rows))
    # Each pair is there both ways round, so each counts half.
    model.fit(np.vstack([differences, -differences]), labels, sample_weight=[w / 2 for _, w in rows] * 2)
    assert found.numpy() == pytest.approx(model.coef_[0], abs=1e-4)


def test_cross_validation_trusts_a_signal_and_mistrusts_noise():
    generator = np.random.default_rng(0)
    signal = generator.normal(size=(60, 20))
    signal[:, 0] = np.abs(signal[:, 0]) + 0.5
    ridge, loss = head_init.select_ridge(pairs_of(signal * 3))
    assert ridge < head_init.RIDGES[0]
    assert loss < 0.4
    ridge, loss = head_init.select_ridge(pairs_of(generator.normal(size=(60, 20)) * 3))
    assert ridge == head_init.RIDGES[0]
    assert loss > 0.6


def test_too_few_prompts_to_leave_any_out_take_the_strongest_penalty():
    assert head_init.select_ridge(pairs_of([[1.0]] * 9)) == (head_init.RIDGES[0], math.log(2))


def fitted(base, examples, *, heads=1, seed=0, bootstrap=True, head_scale=0.0):
    network = loading.new_reward_model(
        base, device=CPU, dtype=torch.float32, seed=seed, head_count=heads, head_scale=head_scale
    )
    said = head_init.fit(network, examples, budget=256, device=CPU, seed=seed, bootstrap=bootstrap)
    return network, said


def test_a_fitted_head_is_the_linear_model_of_the_states_as_they_are(base, monkeypatch):
    """Of standardised states inside, so that a penalty means the same for all; what comes out reads the plain ones."""
    monkeypatch.setattr(head_init, "RIDGES", (0.003,))
    examples = [example(number) for number in range(40)]
    network, said = fitted(base, examples)
    groups = [item.group for item in examples]
    states = forward.group_end_states(network, groups, budget=256, device=CPU)
    deviations = torch.cat(states).double().std(0).numpy()
    differences = np.stack([(own[0] - own[1]).double().numpy() for own in states]) / deviations / math.sqrt(16)
    model = LogisticRegression(fit_intercept=False, C=1 / (0.003 * 40), tol=1e-10, max_iter=1000)
    model.fit(np.vstack([differences, -differences]), np.repeat([1, 0], 40), sample_weight=[0.5] * 80)
    logits = forward.group_logits(network, groups, budget=256, device=CPU)
    found = [better - worse for better, worse in logits]
    assert found == pytest.approx((differences @ model.coef_[0]).tolist(), abs=1e-3)
    assert said["head_ridge"] == 0.003
    assert said["head_prompts"] == 40


def test_at_most_so_many_prompts_are_computed_and_the_seed_says_which(base, monkeypatch):
    monkeypatch.setattr(head_init, "MAX_PROMPTS", 12)
    examples = [example(number) for number in range(40)]
    (one, said), (again, _), (other, _) = (fitted(base, examples, seed=seed) for seed in (1, 1, 2))
    assert said["head_prompts"] == 12
    assert torch.equal(one.score.weight, again.score.weight)
    assert not torch.equal(one.score.weight, other.score.weight)


def test_heads_of_an_ensemble_are_fitted_to_draws_of_their_own(base):
    examples = [example(number) for number in range(40)]
    drawn, _ = fitted(base, examples, heads=3)
    assert len({tuple(row.tolist()) for row in drawn.score.weight}) == 3
    alike, _ = fitted(base, examples, heads=3, bootstrap=False)
    assert len({tuple(row.tolist()) for row in alike.score.weight}) == 1
    around, _ = fitted(base, examples, heads=3, bootstrap=False, head_scale=0.1)
    assert len({tuple(row.tolist()) for row in around.score.weight}) == 3
    assert torch.allclose(around.score.weight, alike.score.weight.expand(3, -1), atol=0.2)


def test_a_run_starts_from_the_fitted_head(base, tmp_path):
    """At a learning rate of nothing the saved head is the fitted one, and no longer random."""
    data = recipe_runs.rankings(tmp_path, count=24)
    nothing = FITTED | {"learning_rate": 0.0}
    run("reward", tmp_path / "fitted", nothing, model=str(base), data=data)
    run("reward", tmp_path / "random", nothing | {"head_init": "random"}, model=str(base), data=data)
    heads = [weights(tmp_path / name)["score.weight"] for name in ("fitted", "random")]
    assert not torch.allclose(*heads, atol=1e-3)
    run("reward", tmp_path / "again", nothing | {"seed": 1}, model=str(base), data=data)
    # All 24 prompts are used whatever the seed: it only shuffles them.
    assert torch.allclose(weights(tmp_path / "again")["score.weight"], heads[0], atol=1e-2)


def test_a_reward_model_that_is_trained_on_keeps_its_head(base, tmp_path):
    data = recipe_runs.rankings(tmp_path, count=24)
    run("reward", tmp_path / "first", FITTED | {"head_init": "random"}, model=str(base), data=data)
    run("reward", tmp_path / "on", FITTED | {"learning_rate": 0.0}, model=str(tmp_path / "first"), data=data)
    heads = [weights(tmp_path / name)["score.weight"] for name in ("first", "on")]
    assert torch.equal(*heads)


def test_a_stopped_and_resumed_run_ends_with_the_same_bits(base, tmp_path):
    data = recipe_runs.rankings(tmp_path, count=24)
    values = FITTED | {"learning_rate": 0.01, "batch_size": 4, "epochs": 2}
    run("reward", tmp_path / "whole", values, model=str(base), data=data)
    with pytest.raises(Stopped):
        run("reward", tmp_path / "parts", values, model=str(base), data=data, stop=StopAfter(9))
    run("reward", tmp_path / "parts", values, model=str(base), data=data, resume=True)
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(one[name], two[name]) for name in one)
