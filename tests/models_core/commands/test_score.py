"""Scoring files and streams: rows come out as they go in, whatever happens on the way."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from models_core.commands import score
from models_core.contract.errors import BadInput, Stopped
from models_core.contract.settings import ScoreConfig, parse
from models_core.modeling import loading
from models_core.rl.rewards.reward_models import RewardModels
from tests.models_core import recipe_runs
from tests.models_core.cli.test_command_line import ROOT
from tests.models_core.recipe_runs import StopAfter, chat, write
from tests.models_core.tiny import make_tiny_model


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    base = make_tiny_model(folder / "base")
    model = loading.new_reward_model(base, device="cpu", dtype=torch.float32, seed=0)
    tokenizer = loading.load_tokenizer(base)
    loading.save_reward_model(folder / "reward", model, tokenizer, reward_shift=0.25, reward_scale=0.5)
    return folder / "reward"


def rows(count: int) -> list[dict[str, Any]]:
    """Rows of all kinds that have responses, in turn."""
    kinds: list[dict[str, Any]] = [
        {"responses": [{"text": "a"}, {"text": "bcd"}, {"text": ""}]},
        {"chosen": "a", "rejected": "bb"},
        {"response": "abc"},
    ]
    return [{"id": str(n), "prompt": chat(f"say {n}"), **kinds[n % 3]} for n in range(count)]


def scored(reward: Path, data: Path, out: Path, **more: Any) -> dict[str, Any]:
    values = {"precision": "fp32", "batch_size": 2, **more.pop("settings", {})}
    return score.run(parse(ScoreConfig, values), model=str(reward), data=data, out=out, device=recipe_runs.CPU, **more)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_scores_in_windows_are_those_of_all_rows_at_once(reward: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", rows(7))
    summary = scored(reward, data, tmp_path / "out.jsonl")
    written = lines(tmp_path / "out.jsonl")
    assert [row["id"] for row in written] == [str(n) for n in range(7)]
    assert [len(row["scores"]) for row in written] == [3, 2, 1, 3, 2, 1, 3]
    reward_models = RewardModels.load(
        str(reward), device=recipe_runs.CPU, dtype=torch.float32, max_length=512, budget=10_000
    )
    chats = [((chat("say 3")[0],), ("a", "bcd", "")), ((chat("say 4")[0],), ("a", "bb"))]
    for row, expected in zip(written[3:5], reward_models.mean_scores(chats), strict=True):
        assert row["scores"] == pytest.approx(expected, abs=1e-4)
    flat = [value for row in written for value in row["scores"]]
    assert summary["mean_score"] == pytest.approx(sum(flat) / 15)
    assert (summary["rows"], summary["responses"]) == (7, 15)
    assert not (tmp_path / "out.jsonl.partial").exists()


def test_an_interrupted_command_goes_on_where_it_stopped(reward: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", rows(7))
    scored(reward, data, tmp_path / "whole.jsonl")
    out = tmp_path / "out.jsonl"
    with pytest.raises(Stopped, match="4 rows are scored, --resume goes on with the others"):
        scored(reward, data, out, stop=StopAfter(3))
    assert not out.exists()
    partial = tmp_path / "out.jsonl.partial"
    assert len(lines(partial)) == 1 + 4
    partial.write_text(partial.read_text(encoding="utf-8")[:-20], encoding="utf-8")  # the last line is torn
    summary = scored(reward, data, out, resume=True)
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert (summary["rows"], summary["responses"]) == (7, 15)
    assert not partial.exists()


def test_other_settings_do_not_go_on_with_a_file(reward: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", rows(5))
    with pytest.raises(Stopped):
        scored(reward, data, tmp_path / "out.jsonl", stop=StopAfter(2))
    with pytest.raises(BadInput, match=r"other settings \(max_length is 1024 there, and 100 here\): take"):
        scored(reward, data, tmp_path / "out.jsonl", resume=True, settings={"max_length": 100})


def test_too_long_a_response_is_refused_or_leaves_a_gap(reward: Path, tmp_path: Path) -> None:
    data = write(
        tmp_path / "rows.jsonl", [*rows(3), {"id": "x", "prompt": chat("hi"), "chosen": "a", "rejected": "b" * 600}]
    )
    with pytest.raises(
        BadInput, match=r"rows.jsonl: response 2 of the row 'x' is longer than max_length \(512 tokens\)"
    ):
        scored(reward, data, tmp_path / "out.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl"]
    summary = scored(reward, data, tmp_path / "out.jsonl", settings={"long_responses": "null"})
    assert lines(tmp_path / "out.jsonl")[3]["scores"][1] is None
    assert (summary["responses"], summary["too_long_responses"]) == (7, 1)


def test_a_bad_line_is_named_before_anything_is_scored_or_left_out(
    reward: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "rows.jsonl", [*rows(3), {"id": "x", "prompt": chat("hi")}, *rows(1)])
    with pytest.raises(BadInput, match=r'rows\.jsonl, line 4: "responses" is missing'):
        scored(tmp_path / "no model", data, tmp_path / "out.jsonl")
    summary = scored(reward, data, tmp_path / "out.jsonl", settings={"unreadable_rows": "skip"})
    assert [row["id"] for row in lines(tmp_path / "out.jsonl")] == ["0", "1", "2", "0"]
    assert (summary["rows"], summary["unreadable_rows"]) == (4, 1)
    assert capsys.readouterr().err.count("line 4") == 1


def test_a_tokenizer_without_a_template_is_refused_unless_a_setting_says_how(tmp_path: Path, reward: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in reward.iterdir():
        if path.suffix != ".jinja":
            (bare / path.name).write_bytes(path.read_bytes())
    config = json.loads((bare / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(config))
    data = write(tmp_path / "rows.jsonl", rows(1))
    with pytest.raises(BadInput, match="has no chat template; the setting chat_template=plain"):
        scored(bare, data, tmp_path / "out.jsonl")
    scored(bare, data, tmp_path / "out.jsonl", settings={"chat_template": "plain"})


def test_a_program_that_waits_for_each_response_gets_it(reward: Path, tmp_path: Path) -> None:
    """Standard input stays open while the response to its first line comes; the summary is the last line."""
    command = [sys.executable, "-m", "models_core", "score", "--model", reward, "--data", "-", "--out", "-"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*map(str, command), "--set", "precision=fp32"],
        cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        responses = []
        for row in rows(2):
            process.stdin.write(json.dumps(row) + "\n")
            process.stdin.flush()
            responses.append(json.loads(process.stdout.readline()))
        out, _ = process.communicate()
        assert process.returncode == 0
    data = write(tmp_path / "rows.jsonl", rows(2))
    scored(reward, data, tmp_path / "file.jsonl")
    for response, row in zip(responses, lines(tmp_path / "file.jsonl"), strict=True):
        assert response["id"] == row["id"]
        assert response["scores"] == pytest.approx(row["scores"], abs=1e-4)
    assert json.loads(out)["rows"] == 2


def test_what_came_from_standard_input_stays_at_a_mistake(reward: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "models_core", "score", "--model", reward, "--data", "-", "--out", out]
    text = "".join(json.dumps(row) + "\n" for row in rows(1))
    done = subprocess.run(
        [*map(str, command), "--set", "precision=fp32", "--set", "batch_size=1"],
        cwd=ROOT, input=text + "nonsense\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("standard input, line 2: not valid JSON")
    assert not out.exists()
    assert [row["id"] for row in lines(tmp_path / "out.jsonl.partial")[1:]] == ["0"]
    with pytest.raises(BadInput, match="--resume needs a file"):
        scored(reward, Path("-"), out, resume=True)
