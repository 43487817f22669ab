"""A run's folder: what is written at the start, on the way and at the end, and which folders are refused."""

import hashlib
import json
import math
import re

import pytest
import torch

from models_core.contract.atomic_write import write_lines
from models_core.contract.errors import BadInput
from models_core.contract.runs.run_folder import RunFolder, finite, folder_sha256
from models_core.contract.settings import SFTConfig


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "somewhere.jsonl"
    path.write_text('{"id": "a"}\n')
    return path


def start(tmp_path, data, **changes):
    run = RunFolder(tmp_path / "run")
    options = {"stage": "sft", "settings": SFTConfig(seed=3), "models": {"model": "m"}, "threads": 2}
    run.check(**(options | {"data": {"demonstrations": data}} | changes))
    run.create()
    return run


def lines(run):
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


def test_the_start_writes_down_all_that_a_repetition_needs(tmp_path, data):
    run = start(tmp_path, data)
    document = json.loads((run.path / "run.json").read_text())
    sha256 = hashlib.sha256(b'{"id": "a"}\n').hexdigest()
    assert document["data"] == {"demonstrations": {"file": "demonstrations.jsonl", "sha256": sha256}}
    assert (document["stage"], document["seed"], document["models"], document["threads"]) == (
        "sft",
        3,
        {"model": "m"},
        2,
    )
    assert document["config"]["learning_rate"] == SFTConfig().learning_rate
    assert document["versions"]["torch"] == torch.__version__
    assert (run.path / "data" / "demonstrations.jsonl").read_text() == '{"id": "a"}\n'
    assert not run.resumed


def test_a_folder_that_holds_a_run_is_refused_without_resume(tmp_path, data):
    start(tmp_path, data)
    with pytest.raises(BadInput, match="already holds a run; continue it with --resume"):
        start(tmp_path, data)
    assert start(tmp_path, data, resume=True).resumed


def test_a_run_of_an_earlier_version_is_resumed_under_the_new_names_of_settings(tmp_path, data):
    run = start(tmp_path, data, settings=SFTConfig(warmup_ratio=0.2))
    path = run.path / "run.json"
    document = json.loads(path.read_text())
    document["config"]["warmup"] = document["config"].pop("warmup_ratio")
    path.write_text(json.dumps(document))
    assert start(tmp_path, data, settings=SFTConfig(warmup_ratio=0.2), resume=True).resumed
    with pytest.raises(BadInput, match=r"warmup_ratio is 0\.2 there, and 0\.3 here"):
        start(tmp_path, data, settings=SFTConfig(warmup_ratio=0.3), resume=True)


def test_a_run_that_held_out_other_prompts_is_not_resumed(tmp_path, data):
    run = start(tmp_path, data)
    path = run.path / "run.json"
    document = json.loads(path.read_text())
    del document["hold_out_version"]
    path.write_text(json.dumps(document))
    with pytest.raises(BadInput, match="which held out other prompts: start a new run"):
        start(tmp_path, data, resume=True)


def test_resume_in_an_empty_place_is_a_fresh_start(tmp_path, data):
    assert not start(tmp_path, data, resume=True).resumed


def test_a_folder_with_something_else_in_it_is_refused(tmp_path, data):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("precious")
    with pytest.raises(BadInput, match="is not a run of this program"):
        start(tmp_path, data, resume=True)
    assert (tmp_path / "run" / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"stage": "reward"}, "stage (sft there, and reward here)"),
        ({"settings": SFTConfig(seed=4)}, "settings (seed is 3 there, and 4 here)"),
        ({"models": {"model": "other"}}, "models (model is m there, and other here)"),
    ],
)
def test_another_run_cannot_be_resumed_in_its_place(tmp_path, data, changes, what):
    start(tmp_path, data)
    with pytest.raises(BadInput, match=re.escape(f"has other {what}; --resume must be given the same")):
        start(tmp_path, data, resume=True, **changes)


def test_changed_data_cannot_be_resumed(tmp_path, data):
    start(tmp_path, data)
    data.write_text('{"id": "b"}\n')
    with pytest.raises(BadInput, match="has other data files"):
        start(tmp_path, data, resume=True)


def test_a_finished_run_is_not_resumed(tmp_path, data):
    start(tmp_path, data).finish(status="succeeded", metrics={})
    with pytest.raises(BadInput, match="is finished; there is nothing to resume"):
        start(tmp_path, data, resume=True)


def test_a_missing_data_file_leaves_no_folder(tmp_path):
    with pytest.raises(BadInput, match="does not exist"):
        start(tmp_path, tmp_path / "absent.jsonl")
    assert not (tmp_path / "run").exists()


def test_metrics_are_one_strict_line_a_step_and_are_shown(tmp_path, data, capsys):
    run = start(tmp_path, data)
    run.progress(0, 9)
    run.log(1, loss=0.51234567, accuracy=None)
    run.log(2, loss=math.nan, kl=torch.tensor(2.0))
    first, second = lines(run)
    assert (first["step"], first["loss"], first["accuracy"]) == (1, 0.51234567, None)
    assert (second["loss"], second["kl"]) == (None, 2.0)
    assert "step 1/9  loss 0.5123" in capsys.readouterr().err
    assert json.loads((run.path / "progress.json").read_text())["total"] == 9


def test_rewinding_drops_what_will_be_written_again_and_what_a_crash_tore(tmp_path, data):
    run = start(tmp_path, data)
    for step in (1, 2, 3):
        run.log(step, loss=1.0)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    run.rewind(2)
    run.log(3, loss=2.0)
    assert [(line["step"], line["loss"]) for line in lines(run)] == [(1, 1.0), (2, 1.0), (3, 2.0)]


def test_the_result_carries_the_models_hash(tmp_path, data):
    run = start(tmp_path, data)
    run.model.mkdir()
    (run.model / "b").write_text("2")
    (run.model / "a").write_text("1")
    run.finish(status="succeeded", metrics={"loss": math.inf})
    listing = "".join(f"{hashlib.sha256(text).hexdigest()}  {name}\n" for name, text in (("a", b"1"), ("b", b"2")))
    expected = hashlib.sha256(listing.encode()).hexdigest()
    result = json.loads((run.path / "result.json").read_text())
    assert result == {"status": "succeeded", "metrics": {"loss": None}, "sha256": expected}
    (run.model / "a").rename(run.model / "c")
    assert folder_sha256(run.model) != expected


def test_numbers_that_json_lacks_become_null():
    assert finite({"a": [math.nan, 1.0, torch.tensor(3)], "b": -math.inf}) == {"a": [None, 1.0, 3], "b": None}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    def broken():
        yield "new"
        raise RuntimeError

    path = tmp_path / "deep" / "rows.jsonl"
    write_lines(path, ["old", "lines"])
    with pytest.raises(RuntimeError):
        write_lines(path, broken())
    assert path.read_text() == "old\nlines\n"
    assert [file.name for file in path.parent.iterdir()] == ["rows.jsonl"]
    with pytest.raises(BadInput, match="cannot be written"):
        write_lines(path / "below" / "a.jsonl", ["x"])
