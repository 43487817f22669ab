"""What the benchmarks of PPO share: prompts in lots, labels by a gold reward, commands that are not run twice."""

import json
import random

import pytest

from benchmarks.gold_reward import golds, prompts, proxies, stages
from benchmarks.gold_reward.golds import Hidden, Positivity
from tests.models_core.recipe_runs import chat, write


def row(*texts, prompt="say it"):
    return {"id": "1", "prompt": chat(prompt), "responses": [{"text": text} for text in texts]}


class Length:
    name = "length"

    def scores(self, rows):
        return [[float(len(response["text"])) for response in row["responses"]] for row in rows]


def test_lots_share_no_prompt_and_do_not_depend_on_the_order_of_the_file(tmp_path):
    lines = [{"id": str(n), "prompt": chat(f"Question {n}?"), "lang": "en"} for n in range(30)]
    lines += [
        {"id": "zh", "prompt": chat("你好"), "lang": "zh"},
        {"id": "long", "prompt": chat("o" * 51)},
        {"id": "turns", "prompt": [*chat("hello"), {"role": "assistant", "content": "yes"}, *chat("and?")]},
        {"id": "again", "prompt": chat(" question 7? ")},
    ]
    first = prompts.lots(write(tmp_path / "a.jsonl", lines), tmp_path / "one", held_out=5, policy=8, longest=50)
    random.Random(1).shuffle(lines)
    other = prompts.lots(write(tmp_path / "b.jsonl", lines), tmp_path / "two", held_out=5, policy=8, longest=50)
    sides = [[row["id"] for row in stages.read(path)] for path in (first.held_out, first.policy, first.rewards)]
    assert [len(side) for side in sides] == [5, 8, 17]
    assert len({id_ for side in sides for id_ in side}) == 30
    again = [[row["id"] for row in stages.read(path)] for path in (other.held_out, other.policy, other.rewards)]
    assert again == sides

    chosen = prompts.lots(tmp_path / "a.jsonl", tmp_path / "choosing", held_out=5, policy=8, longest=50, choosing=True)
    seen = {row["id"] for path in (chosen.held_out, chosen.policy, chosen.rewards) for row in stages.read(path)}
    assert seen == {id_ for side in sides[1:] for id_ in side}
    with pytest.raises(SystemExit, match=r"a\.jsonl has 30 fitting prompts: too few, 31 are needed"):
        prompts.lots(tmp_path / "a.jsonl", tmp_path / "one", held_out=20, policy=10, longest=50)


def test_labels_order_responses_as_gold_does_and_ties_are_ties():
    rankings = proxies.ranked([row("ab", "abcd", "ab", "a"), row("no", "ne")], Length())
    assert [[response["rank"] for response in ranking["responses"]] for ranking in rankings] == [[2, 1, 2, 3]]


def test_positivity_is_what_vader_says():
    happy, sad = golds.positivity([{}, {}], ["I love this wonderful day!", "A horrible, sad failure."])
    assert happy > 0.8
    assert sad < -0.8
    assert Positivity().scores([row("I love this wonderful day!", ""), row("x")]) == [[happy, 0.0], [0.0]]


def test_the_hidden_gold_is_a_reward_model_that_is_trained_once(tiny, tmp_path, commands):
    pairs = [{"id": str(n), "prompt": chat(f"say {n}"), "chosen": "aaaa", "rejected": "z"} for n in range(12)]
    settings = {"precision": "fp32", "held_out": 0, "learning_rate": 1e-2}
    file = write(tmp_path / "pairs.jsonl", pairs)
    gold = Hidden(file, rows=8, model=str(tiny), folder=tmp_path / "hidden", settings=settings)
    ((good, bad),) = gold.scores([row("aaaa", "z")])
    assert good > bad
    assert len(stages.read(tmp_path / "hidden" / "pairs.jsonl")) == 8
    assert gold.scores([row("aaaa", "z")]) == [[good, bad]]
    assert [command[0] for command in commands] == ["reward", "score"]
    gold.scores([row("aaaa", "zz")])
    assert [command[0] for command in commands] == ["reward", "score", "score"]


def test_a_command_that_was_done_is_not_run_again_unless_it_is_another(tiny, prompts, tmp_path, commands):
    out, given = tmp_path / "responses.jsonl", {"model": str(tiny), "data": prompts, "samples": 1}
    settings = {"max_new_tokens": 3, "precision": "fp32"}
    said = stages.run("sample", out=out, settings=settings, **given)
    assert said["responses"] == 40
    assert said["peak_gb"] == 1.5
    assert stages.run("sample", out=out, settings=settings, **given) == said
    assert len(commands) == 1
    with pytest.raises(SystemExit, match="made with other settings"):
        stages.run("sample", out=out, settings=settings | {"max_new_tokens": 4}, **given)
    with prompts.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "new", "prompt": chat("new")}) + "\n")
    with pytest.raises(SystemExit, match="or from other rows"):
        stages.run("sample", out=out, settings=settings, **given)
    assert len(commands) == 1


def test_a_command_that_was_cut_short_goes_on(tiny, prompts, tmp_path, commands):
    given = {"model": str(tiny), "data": prompts, "samples": 1}
    out = tmp_path / "responses.jsonl"
    stages.run("sample", out=out, settings={"max_new_tokens": 3, "precision": "fp32"}, **given)
    assert "--resume" not in commands[-1]
    (tmp_path / "responses.jsonl.done").unlink()
    stages.run("sample", out=out, settings={"max_new_tokens": 3, "precision": "fp32"}, **given)
    assert commands[-1][-1] == "--resume"
