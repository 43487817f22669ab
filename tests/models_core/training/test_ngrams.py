"""The baselines that a pretrained model has to beat: exact, so that beating them says something."""

import json
import math
import random
from functools import cache

import pytest

from benchmarks import ngrams, pretraining
from benchmarks.ngrams import START, KneserNey, Unigram
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import PretrainConfig, parse
from models_core.recipes import pretrain
from tests.models_core.recipe_runs import CPU

A, B, C = range(3)


def texts(*, count=60, vocabulary=12, seed=0):
    """Token rows in which some follow others more often."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        row = [draw.randrange(vocabulary)]
        while len(row) < draw.randrange(2, 12):
            row.append((row[-1] + draw.choice((1, 1, 1, 2, 5))) % vocabulary)
        rows.append(row)
    return rows


def test_a_bigram_model_worked_out_by_hand():
    """Counts (START a) 3, (a b) 2, (a c) 1. n1 = n2 = n3 = 1, n4 = 0: Y = 1/3, D1 = 1/3, D2 = 1, D3+ = 3.

    Each token has one context: the unigrams are 1/3 whatever the discount. What (a .) gives away: (1/3 + 1) / 3.
    """
    model = KneserNey([[A, B], [A, C], [A, B]], vocabulary=3, order=2)
    assert model.discounts == [ngrams.FALLBACK, pytest.approx((1 / 3, 1, 3))]
    assert model.probability(B, (A,)) == pytest.approx(13 / 27)
    assert model.probability(C, (A,)) == pytest.approx(10 / 27)
    assert model.probability(A, (A,)) == pytest.approx(4 / 27)
    assert model.probability(A, (START,)) == pytest.approx(1 / 3)
    assert model.probability(C, (B,)) == pytest.approx(1 / 3)
    assert model.nats([A, B]) == pytest.approx(-math.log(1 / 3) - math.log(13 / 27))


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_after_any_history_sum_to_one(order):
    rows = texts()
    model = KneserNey(rows, vocabulary=15, order=order)
    draw = random.Random(1)
    seen = [(START,) * (order - 1), *((START,) * (order - 1) + tuple(row[:2]) for row in rows[:20])]
    unseen = [tuple(draw.randrange(15) for _ in range(order)) for _ in range(20)]
    for history in [*seen, *unseen]:
        context = history[len(history) - order + 1 :]
        probabilities = [model.probability(token, context) for token in range(15)]
        assert sum(probabilities) == pytest.approx(1, abs=1e-12)
        assert min(probabilities) > 0


def slow_probability(rows, token, history, *, vocabulary, order):
    """Chen and Goodman's formulas straight from their definitions, by searching the padded texts each time."""
    padded = [(START,) * (order - 1) + tuple(row) for row in rows]

    @cache
    def grams(size):
        return [text[end - size : end] for text in padded for end in range(order, len(text) + 1)]

    def count(gram):
        if len(gram) == order:
            return grams(order).count(gram)
        if gram[0] == START:
            return grams(len(gram)).count(gram)
        return len({longer for longer in grams(len(gram) + 1) if longer[1:] == gram})

    @cache
    def discount(size, c):
        counts = [count(gram) for gram in set(grams(size))]
        n1, n2, n3, n4 = (counts.count(times) for times in (1, 2, 3, 4))
        y = n1 / (n1 + 2 * n2)
        return {1: 1 - 2 * y * n2 / n1, 2: 2 - 3 * y * n3 / n2}.get(c, 3 - 4 * y * n4 / n3)

    def p(context):
        lower = p(context[1:]) if context else 1 / vocabulary
        size = len(context) + 1
        followers = {gram: count(gram) for gram in set(grams(size)) if gram[:-1] == context}
        if not followers:
            return lower
        saved = sum(discount(size, min(c, 3)) for c in followers.values())
        own = followers.get((*context, token), 0)
        kept = own - discount(size, min(own, 3)) if own else 0
        return (kept + saved * lower) / sum(followers.values())

    return p(tuple(history))


def test_a_slow_second_implementation_agrees():
    draw = random.Random(3)
    rows = [[int(60 * draw.random() ** 3) for _ in range(12)] for _ in range(40)]  # few frequent tokens, many rare ones
    model = KneserNey(rows, vocabulary=60, order=3)
    assert ngrams.FALLBACK not in model.discounts, "this test is about discounts that are estimated"
    for history in [(START, START), (START, rows[0][0]), tuple(rows[1][:2]), (3, 57)]:
        for token in (0, rows[1][2], 59):
            slow = slow_probability(rows, token, history, vocabulary=60, order=3)
            assert model.probability(token, history) == pytest.approx(slow, rel=1e-12)


def test_a_longer_context_helps_where_text_has_one():
    rows, held_out = texts(count=400), texts(count=100, seed=2)
    nats = {order: sum(map(KneserNey(rows, vocabulary=12, order=order).nats, held_out)) for order in (1, 2, 5)}
    unigram = sum(map(Unigram(rows, vocabulary=12).nats, held_out))
    assert nats[2] < 0.8 * unigram
    assert nats[5] < 1.1 * nats[2]


def test_a_unigram_model_is_counts_plus_one():
    model = Unigram([[A, A, B]], vocabulary=3)
    assert model.nats([A, C]) == pytest.approx(-math.log(3 / 6) - math.log(1 / 6))


def test_the_table_measures_all_models_on_what_the_run_held_out(tmp_path, capsys):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(f"{number} is a number, and {number + 1} is one more. " * 6 for number in range(40)))
    settings = {"vocab_size": 300, "layers": 1, "width": 16, "heads": 2, "max_length": 32, "epochs": 1}
    pretrain.train(
        parse(PretrainConfig, settings | {"precision": "fp32", "held_out": 0.2}),
        data=corpus,
        out=tmp_path / "run",
        device=CPU,
        stop=StopSignal(),
    )
    assert pretraining.main(["--run", str(tmp_path / "run")]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    ours, unigram, kneser_ney = figures.values()
    metrics = json.loads((tmp_path / "run" / "result.json").read_text())["metrics"]
    assert ours["perplexity"] == metrics["perplexity"]
    assert kneser_ney["bits_per_byte"] < 0.7 * unigram["bits_per_byte"]
    # The same tokens and bytes for all: perplexities and bits per byte differ by one factor.
    factors = [row["bits_per_byte"] / math.log2(row["perplexity"]) for row in figures.values()]
    assert factors == pytest.approx([factors[0]] * 3)
