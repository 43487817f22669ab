"""The comparison of reward models: rows held out, right answers, their intervals, and going on where it stopped."""

import json
import random
import sys

import numpy as np
import pytest

from benchmarks import children
from benchmarks import results as results_file
from benchmarks.reward_accuracy import baselines, command, judgments, table, trained
from models_core.__main__ import main as models_core_main
from models_core.contract.rows.records import RankedResponse, Ranking
from models_core.contract.settings import RewardConfig
from tests.models_core.recipe_runs import chat, write
from tests.models_core.tiny import make_tiny_model


def ranking(prompt="say it", *, ranks=(1, 2), texts=None):
    texts = texts or [f"answer {place}" for place in range(len(ranks))]
    responses = tuple(RankedResponse(text=text, rank=rank) for text, rank in zip(texts, ranks, strict=True))
    return Ranking(id="1", messages=tuple(chat(prompt)), responses=responses)


@pytest.fixture
def rows(tmp_path):
    """60 rows over 40 prompts: the good response speaks of cats, the bad one of dogs; one tied, one unranked."""
    draw = random.Random(0)
    lines = []
    for number in range(60):
        fill = [" ".join(draw.choices(["the", "a", "my", "old", "small"], k=draw.randrange(1, 9))) for _ in range(2)]
        row = {"prompt": chat(f"prompt {number % 40}"), "chosen": f"{fill[0]} cats", "rejected": f"{fill[1]} dogs"}
        lines.append({"id": str(number), **row})
    tied = [{"text": "one", "rank": 1}, {"text": "two", "rank": 1}]
    lines.append({"id": "tied", "prompt": chat("prompt 0"), "responses": tied})
    return write(tmp_path / "animals.jsonl", lines)


def test_pairs_of_a_ranking_with_a_tie_and_an_unranked_response():
    assert judgments.strict_pairs(ranking(ranks=(2, 1, None, 2))) == [(1, 0), (1, 3)]


def test_rows_are_hold_out_the_same_way_whatever_number_is_trained_on(rows):
    whole, few = judgments.split(rows, rows=0), judgments.split(rows, rows=10)
    prompts = [{row.messages[0]["content"] for row in side} for side in (whole.training, whole.held_out)]
    assert len(whole.training) + len(whole.held_out) == 60
    assert not prompts[0] & prompts[1]
    assert few.training == whole.training[:10]
    assert few.held_out == whole.held_out
    assert [pair["chosen"] for pair in few.pairs] == [row.responses[0].text for row in few.training]
    assert few.digest == judgments.split(rows, rows=10).digest != whole.digest


def test_while_a_recipe_is_chosen_other_prompts_are_held_out(tmp_path):
    lines = [{"id": str(n), "prompt": chat(f"{n}"), "chosen": "good", "rejected": "bad"} for n in range(200)]
    rows = write(tmp_path / "many.jsonl", lines)
    final, choosing = judgments.split(rows, rows=0), judgments.split(rows, rows=0, choosing=True)
    ids = [{row.id for row in side} for side in (final.held_out, choosing.held_out, choosing.training)]
    assert sum(map(len, ids)) == len(set.union(*ids)) == 200
    assert ids[1] | ids[2] == {row.id for row in final.training}
    assert [len(side) for side in ids] == pytest.approx([40, 40, 120], abs=15)
    results = [result(final, model="length", right=0), result(choosing, model="length", right=len(ids[1]))]
    lines = table.drawn(results, files=[rows]).splitlines()[2:]
    assert lines[0].startswith("| many | ")
    assert " 0.0% " in lines[0]
    assert lines[1].startswith("| many (validation) | ")
    assert " 100.0% " in lines[1]


def test_a_pair_of_a_ranking_is_in_the_order_of_its_ranks(tmp_path):
    texts = {f"text {rank}": rank for rank in (1, 2, 3, 3)}
    responses = [{"text": text, "rank": rank} for text, rank in reversed(texts.items())]
    path = write(
        tmp_path / "r.jsonl",
        [{"id": str(n), "prompt": chat(f"{n}"), "responses": responses} for n in range(60)],
    )
    pairs = judgments.split(path, rows=0).pairs
    assert all(texts[pair["chosen"]] < texts[pair["rejected"]] for pair in pairs)
    assert len({(pair["chosen"], pair["rejected"]) for pair in pairs}) == 3


def test_a_file_of_too_few_prompts_is_refused(tmp_path):
    path = write(tmp_path / "few.jsonl", [{"id": "1", "prompt": chat("one"), "chosen": "a", "rejected": "b"}])
    with pytest.raises(SystemExit, match=r"few\.jsonl has too few prompts"):
        judgments.split(path, rows=0)


def test_right_answers_by_hand():
    held_out = [ranking(ranks=(1, 2, 3)), ranking(ranks=(2, 1)), ranking(ranks=(1, 2))]
    counts = judgments.right(held_out, [[3.0, 1.0, 2.0], [0.5, 0.5], [0.0, 1.0]])
    assert counts.tolist() == [[2.0, 3.0], [0.5, 1.0], [0.0, 1.0]]


def test_an_interval_resamples_prompts_and_not_rows():
    """50 right rows of one prompt and 50 wrong ones of another: two coins, not a hundred."""
    counts = np.array([[1.0, 1.0]] * 50 + [[0.0, 1.0]] * 50)
    two = [ranking(f"{row // 50}") for row in range(100)]
    many = [ranking(f"{row}") for row in range(100)]
    assert judgments.interval(two, counts) == (0.0, 1.0)
    low, high = judgments.interval(many, counts)
    assert low == pytest.approx(0.5 - 1.96 * 0.05, abs=0.015)
    assert high == pytest.approx(0.5 + 1.96 * 0.05, abs=0.015)


def test_the_interval_of_a_difference_that_is_none():
    counts = np.array([[0.0, 1.0]] * 10)
    assert judgments.interval([ranking(f"{row}") for row in range(10)], counts) == (0.0, 0.0)


def test_the_longer_response_wins():
    held_out = [ranking(texts=["four", "fours"])]
    assert baselines.length(held_out) == [[4.0, 5.0]]


def test_a_linear_model_finds_the_words_that_matter(rows):
    split = judgments.split(rows, rows=0)
    counts = judgments.right(split.held_out, baselines.words(split.training, split.held_out))
    assert counts[:, 0].sum() == counts[:, 1].sum() == len(split.held_out)


def test_a_ranking_counts_once_in_the_linear_model():
    """One ranking of four against "loud" (3 pairs) does not outweigh two pairs for it."""
    against = ranking(ranks=(2, 1, 1, 1), texts=["loud loud", "x", "y", "z"])
    for_it = [ranking(texts=["loud loud", "x"])] * 2
    [scores] = baselines.words([against, *for_it], [ranking(texts=["loud loud", "x"])])
    assert scores[0] > scores[1]


def test_a_line_that_was_cut_short_does_not_count_and_spoils_nothing(tmp_path):
    path = tmp_path / "results" / "results.jsonl"
    results_file.append(path, {"model": "one"})
    with path.open("a", encoding="utf-8") as file:
        file.write('{"model": "tw')
    results_file.append(path, {"model": "three"})
    assert results_file.read(path) == [{"model": "one"}, {"model": "three"}]
    assert results_file.read(tmp_path / "none.jsonl") == []


def result(split, *, model, seed=0, right, rows=0, recipe=None, digest=None):
    """A result as the command writes it, of rows that are pairs: its scores say which are right."""
    scores = [[1.0, 0.0] if number < right else [0.0, 1.0] for number in range(len(split.held_out))]
    counts = judgments.right(split.held_out, scores)
    own = {"recipe": recipe} if recipe else {}
    key = {"data": split.name, "rows": rows, "digest": digest or split.digest, "model": model, "seed": seed, **own}
    return key | {"training_rows": len(split.training), "right": counts[:, 0].tolist(), "scores": scores}


def test_the_table_means_over_seeds_and_says_the_difference(rows):
    split = judgments.split(rows, rows=0)
    pairs = len(split.held_out)
    results = [
        result(split, model="hone", right=pairs, recipe={"epochs": 1, "batch_size": 4}),
        result(split, model="hone", seed=1, right=pairs - 4, recipe={"epochs": 1, "batch_size": 4}),
        result(split, model="hone", right=0, recipe={"epochs": 1, "batch_size": 4}, digest="of other rows"),
        result(split, model="trl", right=pairs - 2, recipe={"learning_rate": 9e-6}),
        result(split, model="length", right=0),
    ]
    lines = [line.split(" | ") for line in table.drawn(results, files=[rows]).splitlines()[2:]]
    accuracy = f"{100 * (pairs - 2) / pairs:.1f}%"
    assert [(cells[2], cells[3], cells[4], cells[5]) for cells in lines] == [
        ("hone", "", "2", accuracy),
        ("trl", "learning_rate 9e-06", "1", accuracy),
        ("length", "", "1", "0.0%"),
    ]
    assert lines[0][7] == " |"
    assert lines[1][7].startswith("+0.0 (")
    assert lines[2][7].startswith(f"{-100 * (pairs - 2) / pairs:.1f} (")


def test_the_newest_recipe_of_hone_is_the_one_that_others_are_compared_with(rows):
    split = judgments.split(rows, rows=0)
    pairs = len(split.held_out)
    results = [
        result(split, model="hone", right=0, recipe={"epochs": 1}),
        result(split, model="hone", right=pairs, recipe={"epochs": 2}),
        result(split, model="length", right=pairs),
    ]
    lines = [line.split(" | ") for line in table.drawn(results, files=[rows]).splitlines()[2:]]
    assert [(cells[2], cells[3], cells[7]) for cells in lines] == [
        ("hone", "epochs 1", "-100.0 (-100.0 to -100.0) |"),
        ("hone", "", " |"),
        ("length", "", "+0.0 (+0.0 to +0.0) |"),
    ]


def test_what_is_in_the_results_is_not_computed_again(rows, tmp_path, monkeypatch, capsys):
    given = ["--data", str(rows), "--results", str(tmp_path / "results.jsonl"), "--seeds", "0", "1"]
    assert command.main([*given, "--models", "length"]) == 0
    first = (tmp_path / "results.jsonl").read_bytes()
    assert first.count(b"\n") == 1  # length knows no chance: one seed

    monkeypatch.setattr(baselines, "length", lambda held_out: pytest.fail("computed again"))
    capsys.readouterr()
    assert command.main([*given, "--models", "length", "words"]) == 0
    assert (tmp_path / "results.jsonl").read_bytes().startswith(first)
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split(" | ")[2] for line in lines] == ["length", "words"]
    assert "100.0%" in lines[1]


def test_hone_and_a_peer_by_their_commands(rows, tmp_path, capsys, monkeypatch):
    """The peer here is a program that says what the real one would: its interpreter is given by path.

    Hone's commands run in this process: to load torch anew for each would take longer than all else here.
    """

    def finished(command):
        if command[0] != sys.executable:
            return children.finished(command)
        assert command[1:3] == ["-m", "models_core"]
        assert models_core_main(command[3:]) == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1]), 1_500_000

    monkeypatch.setattr(trained, "finished", finished)
    base = make_tiny_model(tmp_path / "tiny")
    # Held out is also a response that is longer than training rows may be, and than `score` takes unless told to.
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    (base / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 2048}), encoding="utf-8")
    asked = judgments.split(rows, rows=8).held_out[0].messages
    with rows.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "long", "prompt": asked, "chosen": "cats " * 300, "rejected": "dogs"}) + "\n")
    split = judgments.split(rows, rows=8)
    assert "long" in {row.id for row in split.held_out}
    said = {"scores": [[1.0, 0.0]] * len(split.held_out), "trained_pairs": 7, "dropped_pairs": 1}
    peer = tmp_path / "python"
    peer.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/asked\necho '{json.dumps(said)}'\n", encoding="utf-8")
    peer.chmod(0o755)
    results = tmp_path / "results.jsonl"
    options = ["--peer", str(peer), "--base", str(base), "--rows", "8", "--set", "epochs=1", "--seeds", "3"]
    assert command.main(["--data", str(rows), "--results", str(results), "--models", "hone", "trl", *options]) == 0

    ours, theirs = results_file.read(results)
    assert ours["recipe"]["epochs"] == 1
    assert ours["recipe"]["learning_rate"] == RewardConfig().learning_rate
    assert ours["seed"] == 3
    assert ours["training_rows"] == 8
    assert ours["peak_gb"] == 1.5
    assert len(ours["scores"]) == len(split.held_out)
    assert ours["accuracy"] == pytest.approx(sum(ours["right"]) / len(split.held_out))
    assert theirs["accuracy"] == 1.0
    assert theirs["dropped_pairs"] == 1
    asked = (tmp_path / "asked").read_text(encoding="utf-8").split()
    assert asked[0].endswith("trl_reward.py")
    assert asked[1] == str(base)
    assert asked[3] == "--groups"
    assert asked[5:] == ["--at-once=2", "--rate=9e-06", "--seed=3", "--max-length=512"]
    assert "| trl | learning_rate 9e-06, max_length 512 | 1 | 100.0% |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--models", "trl"], "trl needs --peer"),
        (["--rows", "-1"], "rows and seeds cannot be negative"),
        (["--set", "epochs"], "--set takes KEY=VALUE, not epochs"),
    ],
)
def test_wrong_arguments_are_said_before_anything_is_computed(rows, tmp_path, capsys, given, said):
    with pytest.raises(SystemExit):
        command.main(["--data", str(rows), "--results", str(tmp_path / "results.jsonl"), *given])
    assert said in capsys.readouterr().err
