"""The report that a training of a reward model leaves, that of evaluate, and the model before on what is new to it."""

import json

import pytest

from models_core.commands import evaluate, score
from models_core.contract.errors import BadInput
from models_core.contract.rows import row_parser
from models_core.contract.rows.prompt_identity import hold_out
from models_core.contract.runs.stopping import StopSignal
from models_core.contract.settings import EvaluateConfig, ScoreConfig
from tests.models_core import recipe_runs
from tests.models_core.tiny import make_tiny_model

SETTINGS = {"epochs": 1, "held_out": 0.4, "precision": "fp32"}


def row(number, *, labeler="ann", swapped=False):
    texts = ["a" * (number % 3 + 1), "m" * 4, "z" * (number % 5 + 1)]
    ranks = (2, 1, 3) if swapped else (1, 2, 3)
    return {
        "id": f"{number}-{labeler}",
        "prompt": recipe_runs.chat(f"say {number}"),
        "lang": "zh" if number % 4 == 0 else "en",
        "source": "tests",
        "labeler": labeler,
        "judge": "human",
        "responses": [
            {"text": text, "rank": rank, "model": f"policy-{number % 2}"}
            for text, rank in zip(texts, ranks, strict=True)
        ],
    }


ROWS = [row(number) for number in range(48)] + [row(n, labeler="bob", swapped=n % 3 == 0) for n in range(0, 48, 2)]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def runs(base, tmp_path_factory):
    """A run on a part of the rows, and one on all of them that knows the first."""
    folder = tmp_path_factory.mktemp("runs")
    first = recipe_runs.write(folder / "first.jsonl", ROWS[:30])
    everything = recipe_runs.write(folder / "all.jsonl", ROWS)
    recipe_runs.run("reward", folder / "first", SETTINGS, model=str(base), data=first)
    previous = str(folder / "first" / "model")
    recipe_runs.run(
        "reward", folder / "second", SETTINGS | {"ensemble": 2}, model=str(base), data=everything, previous=previous
    )
    return folder


def report_of(run):
    return json.loads((run / "report.json").read_text())


def slow_pairs(folder, model, rows, tmp_path):
    """(right, pairs) by `score`, the accuracy counted in loops."""
    data = recipe_runs.write(tmp_path / "rows.jsonl", rows)
    out = tmp_path / "scores.jsonl"
    score.run(ScoreConfig(precision="fp32"), model=str(folder / model), data=data, out=out, device=recipe_runs.CPU)
    right = total = 0
    for item, line in zip(rows, out.read_text().splitlines(), strict=True):
        scored = list(
            zip([response["rank"] for response in item["responses"]], json.loads(line)["scores"], strict=True)
        )
        for rank, better in scored:
            for other, worse in scored:
                if rank < other:
                    total += 1
                    right += better > worse
    return right, total


def held_out_of(path):
    kept = {item.id for item in hold_out(row_parser.read(path, "rankings"), fraction=0.4)[1]}
    return [item for item in ROWS if item["id"] in kept]


def test_a_training_leaves_its_report(runs, tmp_path):
    report, metrics = report_of(runs / "second"), json.loads((runs / "second" / "result.json").read_text())["metrics"]
    rows = held_out_of(runs / "all.jsonl")
    right, total = slow_pairs(runs, "second/model", rows, tmp_path)
    assert (report["judgments"], report["judgments_in_all"], report["pairs"]) == (len(rows), len(ROWS), total)
    assert report["accuracy"] == metrics["accuracy"] == pytest.approx(right / total)
    assert (metrics["accuracy_low"], metrics["accuracy_high"]) == (report["accuracy_low"], report["accuracy_high"])
    assert metrics["verdict"] == report["verdict"]["sentence"]
    assert set(report["by"]) == {
        "language", "source", "judge", "labeler", "policy", "distance", "confidence", "disagreement",
    }  # fmt: skip
    assert (runs / "second" / "report.md").read_text().count(report["verdict"]["sentence"]) == 1


def test_labelers_agree_over_all_rows_and_not_only_those_held_out(runs):
    labelers = report_of(runs / "second")["labelers"]
    assert (labelers["number"], labelers["agreement"]["pairs"]) == (2, 24 * 3)
    # bob swaps the two best in every third of the 24 prompts that both judged.
    assert labelers["agreement"]["share"] == pytest.approx(1 - 8 / 72)


def test_the_model_before_is_measured_on_responses_it_has_never_seen(runs, tmp_path):
    newest = report_of(runs / "second")["newest"]
    seen = {json.dumps(item["prompt"]) for item in ROWS[:30]}
    fresh = [item for item in ROWS if json.dumps(item["prompt"]) not in seen]
    right, total = slow_pairs(runs, "first/model", fresh, tmp_path)
    assert (newest["judgments"], newest["pairs"], newest["known"]) == (len(fresh), total, True)
    assert newest["accuracy"] == pytest.approx(right / total)
    assert newest["before"] == report_of(runs / "first")["accuracy"]
    again = [item for item in fresh if item in held_out_of(runs / "all.jsonl")]
    right, total = slow_pairs(runs, "second/model", again, tmp_path)
    assert (newest["now"]["accuracy"], newest["now"]["pairs"]) == (pytest.approx(right / total), total)


def test_a_model_without_a_run_folder_has_seen_nothing_that_is_known(runs, base, tmp_path):
    (runs / "first" / "model").rename(tmp_path / "moved")
    try:
        metrics = recipe_runs.run(
            "reward",
            tmp_path / "run",
            SETTINGS,
            model=str(base),
            data=runs / "all.jsonl",
            previous=str(tmp_path / "moved"),
        )
    finally:
        (tmp_path / "moved").rename(runs / "first" / "model")
    newest = report_of(tmp_path / "run")["newest"]
    assert (newest["judgments"], newest["known"], newest["before"]) == (len(ROWS), False, None)
    assert metrics["newest_accuracy"] == newest["accuracy"]


def test_nothing_new_is_said_and_no_error(runs, base, tmp_path):
    recipe_runs.run(
        "reward", tmp_path / "run", SETTINGS, model=str(base), data=runs / "first.jsonl",
        previous=str(runs / "first" / "model"),
    )  # fmt: skip
    newest = report_of(tmp_path / "run")["newest"]
    assert (newest["judgments"], newest["accuracy"]) == (0, None)


def test_what_is_no_reward_model_is_refused_before_anything_is_written(runs, base, tmp_path):
    with pytest.raises(BadInput, match=r"is not a reward model \(--previous\)"):
        recipe_runs.run(
            "reward", tmp_path / "run", SETTINGS, model=str(base), data=runs / "all.jsonl", previous=str(base)
        )
    assert not (tmp_path / "run").exists()


def test_evaluate_makes_the_same_report_of_the_same_rows(runs, tmp_path):
    rows = held_out_of(runs / "all.jsonl")
    found = evaluate.run(
        EvaluateConfig(precision="fp32"), model=str(runs / "second" / "model"),
        data=recipe_runs.write(tmp_path / "rows.jsonl", rows), out=tmp_path / "report.json", device=recipe_runs.CPU,
        stop=StopSignal(),
    )  # fmt: skip
    trained = report_of(runs / "second")
    for part in ("judgments", "prompts", "pairs"):
        assert found[part] == trained[part]
    for part in ("accuracy", "accuracy_low", "accuracy_high"):
        assert found[part] == pytest.approx(trained[part], abs=1e-9)
    assert found["ordering"]["tau_b"]["mean"] == pytest.approx(trained["ordering"]["tau_b"]["mean"])
    assert found["scores"]["mean"] == pytest.approx(trained["scores"]["mean"], abs=1e-4)
    assert [row["pairs"] for row in found["by"]["disagreement"]] == [
        row["pairs"] for row in trained["by"]["disagreement"]
    ]
    assert evaluate.text(found).startswith(found["verdict"]["sentence"])
    summary = evaluate.summary(found)
    assert (summary["accuracy"], summary["rankings"]) == (found["accuracy"], len(rows))
    assert not any(isinstance(value, dict | list) for value in summary.values())
