"""JSON lines are cut at the line feed alone, whatever else of Unicode parts lines."""

import ast
import json
from pathlib import Path

import pytest
import torch

from models_core.commands import score
from models_core.commands.output.partial_output import begin, entries
from models_core.contract.errors import BadInput, Stopped
from models_core.contract.rows import json_lines, row_parser
from models_core.contract.runs.run_folder import RunFolder
from models_core.contract.settings import ScoreConfig, parse
from models_core.rl import reward_kl_plot
from models_core.rl.rewards.baseline import Baseline
from tests.models_core import recipe_runs
from tests.models_core.tiny import make_tiny_model

ROOT = Path(__file__).parents[4]
PARTING = "\u2028\u2029\x0b\x0c\x1c\x1d\x1e\x85\r"
"""Every character but the line feed at which str.splitlines cuts."""
TEXT = "a" + "b".join(PARTING) + "c"
CHAT = [{"role": "user", "content": TEXT}]
assert len(TEXT.splitlines()) == len(PARTING) + 1


def test_no_module_cuts_text_at_what_python_takes_for_line_ends():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in ("models_core", "rlhf", "benchmarks", "config")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("splitlines", "readlines")
    ]
    assert found == []


def test_rows_and_parts_are_cut_at_the_line_feed_alone(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text(json_lines.line({"id": "1", "prompt": CHAT}) * 2, encoding="utf-8", newline="")
    assert [row.messages[-1]["content"] for row in row_parser.read(path, "prompts")] == [TEXT, TEXT]
    assert [row["prompt"] for row in json_lines.whole(path)] == [CHAT, CHAT]
    assert [row["prompt"] for row in json_lines.written(path)] == [CHAT, CHAT]


def test_a_partial_file_gives_back_what_was_written_up_to_a_torn_line(tmp_path):
    path = tmp_path / "out.jsonl.partial"
    with begin(path, request={"model": TEXT}) as file:
        file.write(json_lines.line({"text": TEXT}) + '{"text": "to\n' + json_lines.line({"text": "behind"}))
    assert entries(path, request={"model": TEXT}) == [{"text": TEXT}]


def test_a_resumed_run_keeps_its_samples_and_baselines(tmp_path):
    folder = RunFolder(tmp_path)
    kept = {"step": 1, "response": TEXT, "content": TEXT, "score": 1.5, "kl": 1.0}
    for path in (folder.metrics, folder.samples, folder.baseline):
        path.write_text(json_lines.line(kept) + json_lines.line(kept | {"step": 2}), encoding="utf-8", newline="")
    folder.rewind(1)
    for path in (folder.metrics, folder.samples, folder.baseline):
        assert path.read_bytes().decode() == json_lines.line(kept)
    baseline = Baseline(folder.baseline, sample=lambda *_: [], score=lambda _: torch.zeros(0), seed=0)
    baseline.load()
    assert baseline.scores == {TEXT: 1.5}
    assert len(reward_kl_plot.read(folder.metrics).iterations) == 1


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    base = make_tiny_model(tmp_path_factory.mktemp("base"))
    return base, recipe_runs.make_reward_model(base, tmp_path_factory.mktemp("reward") / "model")


def test_scores_resumed_in_the_midst_of_such_texts_are_those_of_an_uninterrupted_command(tmp_path, models):
    _, reward = models
    rows = [{"id": f"{TEXT if n == 1 else ''}{n}", "prompt": CHAT, "response": TEXT * (n + 1)} for n in range(9)]
    data = recipe_runs.write(tmp_path / "data.jsonl", rows)
    settings = parse(ScoreConfig, {"batch_size": 2, "precision": "fp32"})
    given = {"model": str(reward), "data": data, "device": recipe_runs.CPU}
    score.run(settings, out=tmp_path / "whole.jsonl", **given)
    with pytest.raises(Stopped):
        score.run(settings, out=tmp_path / "parts.jsonl", stop=recipe_runs.StopAfter(3), **given)
    done = score.run(settings, out=tmp_path / "parts.jsonl", resume=True, **given)
    assert done["rows"] == 9
    assert (tmp_path / "parts.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_ppo_resumed_with_baselines_of_such_prompts_ends_in_the_same_weights(tmp_path, models):
    base, reward = models
    rows = [{"id": str(n), "prompt": [{"role": "user", "content": f"{n}{TEXT}"}]} for n in range(4)]
    given = {
        "model": str(base), "reward": str(reward), "data": recipe_runs.write(tmp_path / "prompts.jsonl", rows),
    }  # fmt: skip
    values = {
        "episodes": 12, "batch_size": 4, "minibatches": 1, "max_new_tokens": 3, "method": "last_n", "held_out": 0,
        "reward_baseline": True, "eval_every": 0, "max_kl": 0, "min_entropy": 0, "min_length": 0,
        "zero_variance_patience": 0,
    }  # fmt: skip
    recipe_runs.run("ppo", tmp_path / "whole", values, **given)
    with pytest.raises(Stopped):
        recipe_runs.run("ppo", tmp_path / "parts", values, stop=recipe_runs.StopAfter(12), **given)
    assert (tmp_path / "parts" / "baseline.jsonl").exists()
    recipe_runs.run("ppo", tmp_path / "parts", values, resume=True, **given)
    whole, parts = recipe_runs.weights(tmp_path / "whole"), recipe_runs.weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert (tmp_path / "whole" / "baseline.jsonl").read_bytes() == (tmp_path / "parts" / "baseline.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "1", "id": "2"}', 'the key "id" stands twice in one object'),
        ('{"id": "1", "prompt": [{"role": "user", "role": "system"}]}', 'the key "role" stands twice in one object'),
        ('{"id": "1", "n": ' + "9" * 400 + "}", '"n" holds a number that is out of bounds'),
        ('{"id": "1", "n": -' + "9" * 9000 + "}", '"n" holds a number that is out of bounds'),
        ('{"id": "1", "n": [1, [2e999]]}', '"n" holds a number that is out of bounds'),
        ('{"id": "1", "n": -Infinity}', "-Infinity is not a JSON number"),
    ],
)
def test_what_means_nothing_is_refused_by_its_line(tmp_path, line, reason):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "0", "prompt": [{"role": "user", "content": "a"}]}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        row_parser.read(path, "prompts")
    assert str(caught.value) == f"rows.jsonl, line 2: {reason}."


def test_the_rest_of_a_line_that_is_too_long_is_no_row_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "MAX_LINE_BYTES", 64)
    row = '{"id": "1", "prompt": [{"role": "user", "content": "a"}]}'
    path = tmp_path / "rows.jsonl"
    path.write_text(" " * 64 + row + "\n" + row + "\n", encoding="utf-8")
    complaints: list[str] = []
    assert len(row_parser.read(path, "prompts", unreadable=complaints)) == 1
    assert complaints == ["rows.jsonl, line 1: the line is longer than 0 MiB."]


def test_written_rows_are_one_line_each():
    assert json_lines.line({"text": "a\nb\r"}) == '{"text": "a\\nb\\r"}\n'
    assert json.loads(json_lines.line({"text": TEXT})) == {"text": TEXT}
