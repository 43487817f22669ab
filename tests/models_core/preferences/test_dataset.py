"""Files of judgments on their way into tokens: splits, demonstrations above samples, and what is said of bad ones."""

from pathlib import Path
from typing import Any

import pytest

from models_core.contract.errors import BadInput
from models_core.contract.rows import prompt_identity
from models_core.contract.settings import RewardConfig, parse
from models_core.preferences import dataset
from models_core.preferences.dataset import PreferenceData
from tests.models_core.recipe_runs import chat, write
from tests.models_core.tiny import make_tiny_tokenizer


def row(number: int, *ranks: tuple[str, int | None], **more: Any) -> dict[str, Any]:
    responses = [{"text": text, "rank": rank} for text, rank in ranks]
    return {"id": f"r{number}", "prompt": chat(f"say {number}"), "responses": responses, **more}


def good(number: int, **more: Any) -> dict[str, Any]:
    return row(number, ("a", 1), ("b", 2), **more)


def read(folder: Path, rows: list[dict[str, Any]], **given: Any) -> PreferenceData:
    files: dict[str, Any] = {"evaluation": None, "demonstrations": None, "samples": None}
    for name in files:
        if name in given:
            files[name] = write(folder / f"{name}.jsonl", given.pop(name))
    return dataset.read(parse(RewardConfig, given), data=write(folder / "rankings.jsonl", rows), **files)


def encoded(judgments: PreferenceData, *, max_length: int = 512, **settings: Any) -> Any:
    return judgments.encode(make_tiny_tokenizer(), settings=parse(RewardConfig, settings), max_length=max_length)


def test_a_part_of_the_prompts_is_held_out_with_all_their_rows(tmp_path: Path) -> None:
    judgments = read(tmp_path, [good(n % 60, labeler=f"l{n // 60}") for n in range(120)], held_out=0.2)
    training, held_out = (
        {r.messages[0]["content"] for r in part.rankings} for part in (judgments.training, judgments.held_out)
    )
    assert len(training) + len(held_out) == 60
    assert 5 <= len(held_out) <= 20
    assert not training & held_out
    assert len(judgments.held_out.comparisons) == 2 * len(held_out)
    assert judgments.report()["held_out_prompts_also_learned"] == 0


def test_weights_of_the_training_side_have_the_mean_one(tmp_path: Path) -> None:
    rows = [good(1, weight=4.0), good(2, weight=0.5), good(2, labeler="ben", weight=1.5), good(3, weight=0.0)]
    training, held_out = encoded(read(tmp_path, rows, evaluation=[good(9, weight=5.0)]))
    assert [[item.weight for item in example.comparisons] for example in training] == [[2.0], [0.25, 0.75]]
    assert [example.weight for example in held_out] == [5.0]


def test_prompts_on_both_sides_are_counted(tmp_path: Path) -> None:
    judgments = read(tmp_path, [good(1), good(2)], evaluation=[good(2), good(3)])
    assert judgments.report()["held_out_prompts_also_learned"] == 1
    assert [ranking.id for ranking in judgments.held_out.rankings] == [good(3)["id"]]
    assert judgments.report()["held_out_left_out"] == {"trained_prompts": {"count": 1, "rows": [good(2)["id"]]}}


def test_what_the_model_learned_before_measures_nothing_either(tmp_path: Path) -> None:
    files = {name: write(tmp_path / f"{name}.jsonl", rows) for name, rows in {"a": [good(1)], "b": [good(2)]}.items()}
    known = frozenset([prompt_identity.digest(good(2)["prompt"])])
    given: Any = {"data": files["a"], "demonstrations": None, "samples": None}
    with pytest.raises(BadInput, match=r"b.jsonl: the prompts of all 1 rankings are trained on"):
        dataset.read(parse(RewardConfig, {}), **given, evaluation=files["b"], trained=known)
    read_ = dataset.read(parse(RewardConfig, {}), **given, evaluation=files["b"])
    assert len(read_.held_out.rankings) == 1


def test_a_run_without_a_pair_ends_with_the_sentence_that_says_why(tmp_path: Path) -> None:
    rows = [row(1, ("a", 1), ("b", 1)), row(2, ("a", 1), ("b", 1)), row(3, ("a", 1), ("b", None))]
    with pytest.raises(BadInput) as caught:
        read(tmp_path, rows, ties="soft")
    assert str(caught.value) == (
        "rankings.jsonl: no ranking has two different responses in a strict order (1 fewer than two ranked)."
    )
    with pytest.raises(BadInput, match=r"\(2 all tied, 1 fewer than two ranked\)\.$"):
        read(tmp_path, rows)


def test_a_run_whose_every_pair_is_too_long_ends_with_that_sentence(tmp_path: Path) -> None:
    judgments = read(tmp_path, [row(1, ("x" * 200, 1), ("b", 2))])
    with pytest.raises(BadInput, match=r"strict order \(1 too long responses, 1 no pair fits\)\.$"):
        encoded(judgments, max_length=100)


def test_a_held_out_file_without_a_pair_is_named_and_measures_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judgments = read(tmp_path, [good(1)], evaluation=[row(2, ("a", 1), ("b", 1))])
    _, held_out = encoded(judgments)
    assert held_out == []
    sentence = "evaluation.jsonl: no ranking has two different responses in a strict order (1 all tied)."
    assert capsys.readouterr().err == f"There is nothing to evaluate on: {sentence}\n"
    assert judgments.report()["held_out_left_out"] == {"all_tied": {"count": 1, "rows": ["r2"]}}
    with pytest.raises(BadInput, match="The row 'r2' ranks all responses alike"):
        read(tmp_path, [good(1)], evaluation=[row(2, ("a", 1), ("b", 1))], unusable_rows="refuse")


def test_a_response_beyond_the_window_is_left_out_and_named_or_refused(tmp_path: Path) -> None:
    judgments = read(tmp_path, [row(1, ("a", 1), ("x" * 200, 2), ("b", 3))])
    (example,), _ = encoded(judgments, max_length=100)
    assert len(example.group.responses) == 2
    assert example.comparisons[0].indices == ((0, None, 1),)
    assert judgments.report()["left_out"] == {"too_long_responses": {"count": 1, "rows": ["r1"]}}
    with pytest.raises(BadInput, match=r"Response 2 of the row 'r1' is longer than max_length \(100 tokens\) allows"):
        encoded(judgments, max_length=100, long_responses="refuse")


def test_lines_that_are_no_rankings_are_left_out_and_named_where_a_setting_says_so(tmp_path: Path) -> None:
    rows = [good(1), {"id": "x", "prompt": chat("hi"), "responses": [{"text": "a", "rank": "first"}]}]
    with pytest.raises(BadInput, match=r"rankings\.jsonl, line 2: response 1: \"rank\" must be"):
        read(tmp_path, rows)
    skipped = read(tmp_path, rows, unreadable_rows="skip").report()["left_out"]
    assert skipped["unreadable_rows"]["count"] == 1
    assert skipped["unreadable_rows"]["rows"][0].startswith("rankings.jsonl, line 2: ")
    with pytest.raises(BadInput, match=r"no row can be read; the first: rankings\.jsonl, line 1"):
        read(tmp_path, rows[1:], unreadable_rows="skip")


def test_demonstrations_stand_above_the_samples_of_their_prompts(tmp_path: Path) -> None:
    """Not compared with each other, weighted together as one ranking, and never of a prompt that is measured on."""
    demonstrations = [
        {"id": "d1", "prompt": chat("say 1"), "response": "best", "lang": "en"},
        {"id": "d2", "prompt": chat("say 2"), "response": "best"},
        {"id": "d3", "prompt": chat("say 9"), "response": "alone"},
    ]
    samples = [
        {"id": f"s{n}", "prompt": chat(f"say {n}"), "responses": [{"text": "one"}, {"text": "two"}, {"text": "best"}]}
        for n in (1, 2)
    ]
    judgments = read(
        tmp_path, [good(1)], evaluation=[good(2)], demonstrations=demonstrations, samples=samples,
        demonstration_pairs=0.5, ties="soft",
    )  # fmt: skip
    comparison = judgments.training.comparisons[-1]
    assert [(comparison.texts[p.better], comparison.texts[p.worse], p.target) for p in comparison.pairs] == [
        ("best", "one", 1.0),
        ("best", "two", 1.0),
    ]
    assert (comparison.weight, comparison.rows[0].id, comparison.rows[0].lang) == (0.5, "demonstration d1", "en")
    report = judgments.report()
    assert report["demonstration_rankings"] == 1
    assert report["left_out"] == {"demonstrations_without_samples": {"count": 1, "rows": ["d3"]}}
    (example,), _ = encoded(judgments)
    assert len(example.group.responses) == 5  # a and b of the ranking, and these three


def test_demonstration_pairs_need_both_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="demonstration_pairs needs both --demonstrations and --samples"):
        read(tmp_path, [good(1)], demonstration_pairs=1)


@pytest.mark.parametrize("name", ["demonstrations", "samples"])
def test_files_that_are_read_after_training_are_checked_before_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=rf"{name}\.jsonl, line 1: \"responses\" is missing"):
        read(tmp_path, [good(1)], **{name: [{"id": "x", "prompt": chat("hi")}]})
