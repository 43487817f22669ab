"""The demo's choice of prompts, and the numbers it prints."""

import json
from pathlib import Path

import pytest

from annotate import demo
from annotate.errors import Refused
from rlhf.demo import closed_loop, selection
from rlhf.demo.closed_loop import RoundNumbers
from rlhf.demo.recipes import FULL, QUICK


def prompt(content: str, **more: object) -> dict[str, object]:
    return {"id": content, "prompt": [{"role": "user", "content": content}], **more}


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def ids(rows: list[dict[str, object]]) -> list[object]:
    return [row["id"] for row in rows]


def test_english_prompts_take_part_once_and_the_rest_is_counted(tmp_path: Path) -> None:
    rows = [prompt(f"Question {number}?", lang="en") for number in range(30)]
    rows += [prompt("问题？", lang="zh"), prompt("Says nothing of its language")]
    rows += [prompt("Question 3?"), prompt("long " * 200)]
    chosen = selection.choose(write(tmp_path / "p.jsonl", rows), most=28, held_out=6)
    assert len(chosen.held_out) == 6
    assert len(chosen.taking_part) == 22
    assert chosen.left_out == {
        "not English": 1,
        "the same prompt again": 1,
        "longer than 800 characters": 1,
        "beyond 28": 3,
    }
    assert not set(ids(chosen.held_out)) & set(ids(chosen.taking_part))
    assert chosen.summary.startswith("34 prompts read: 22 to judge and learn from, 6 held out of everything")


def test_what_is_held_out_depends_on_contents_and_not_on_the_order(tmp_path: Path) -> None:
    rows = [prompt(f"Question {number}?") for number in range(40)]
    one = selection.choose(write(tmp_path / "one.jsonl", rows), most=40, held_out=12)
    other = selection.choose(write(tmp_path / "other.jsonl", rows[::-1]), most=40, held_out=12)
    assert ids(one.held_out) == ids(other.held_out)
    assert ids(one.held_out) != ids(rows[:12])


def test_of_few_prompts_half_is_held_out(tmp_path: Path) -> None:
    chosen = selection.choose(write(tmp_path / "p.jsonl", [prompt(f"{n}?") for n in range(30)]), most=100, held_out=120)
    assert (len(chosen.held_out), len(chosen.taking_part)) == (15, 15)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "p.jsonl is empty"),
        ('{"prompt": [{"role": "user", "content": "Hi"}]}\n{"prompt": ', "p.jsonl, line 2"),
        ('{"prompt": [{"role": "user", "content": "Hi"}]}\n', "p.jsonl has 1 fit English prompts"),
    ],
)
def test_a_file_that_is_of_no_use_gets_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(text)
    with pytest.raises(Refused, match=said):
        selection.choose(path, most=100, held_out=10)


@pytest.mark.parametrize("recipe", [FULL, QUICK])
def test_the_own_prompts_are_enough_for_two_rounds(recipe: object) -> None:
    chosen = selection.choose(demo.PROMPTS, most=recipe.prompts, held_out=recipe.held_out)
    assert len(chosen.held_out) == recipe.held_out
    assert len(chosen.taking_part) >= 2 * recipe.prompts_per_round


def test_a_tie_is_half_a_win() -> None:
    assert closed_loop.win_rate([0.9, 0.1, 0.5, 0.5], [0.1, 0.9, 0.5, 0.4]) == 0.625
    assert closed_loop.win_rate([0.3, 0.3], [0.3, 0.3]) == 0.5


def test_the_table_has_a_line_a_round() -> None:
    base = RoundNumbers(round=0, judgments=0, reward_accuracy=None, kl=0.0, gold_mean=0.36, gold_win_rate_vs_base=0.5)
    first = RoundNumbers(
        round=1, judgments=160, reward_accuracy=0.651, kl=4.2, gold_mean=0.5, gold_win_rate_vs_base=0.61
    )
    head, *lines = closed_loop.table([base, first])
    assert " ".join(head.split()) == "round judgments reward accuracy KL gold mean win rate against base"
    assert lines[0].split() == ["0", "base", "0", "0.00", "0.360", "50.0%"]
    assert lines[1].split() == ["1", "160", "65.1%", "4.20", "0.500", "61.0%"]
