"""A run is resumed where the data folder has another place: on another host, or after a move."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import equal

from models_core.commands.output import partial_output
from models_core.contract.errors import BadInput, Stopped
from models_core.contract.runs import model_places
from tests.models_core import recipe_runs
from tests.models_core.tiny import make_tiny_model


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HONE_DATA", str(tmp_path / "here"))
    (tmp_path / "here" / "runs" / "1").mkdir(parents=True)
    return tmp_path / "here"


def test_folders_of_the_data_folder_are_stored_relative_to_it(store: Path, tmp_path: Path) -> None:
    assert model_places.stored(str(store / "runs" / "1")) == "data:runs/1"
    assert model_places.stored(f"{store}/runs/1,{store}/runs/2,smollm2-135m-instruct") == (
        "data:runs/1,data:runs/2,smollm2-135m-instruct"
    )
    for other in ("owner/name", "runs/1", "http://127.0.0.1/v1", str(tmp_path / "other"), f"{store}-other/x", None):
        assert model_places.stored(other) == other
    (tmp_path / "link").symlink_to(store)
    assert model_places.stored(f"{tmp_path}/link/runs/1") == "data:runs/1"


@pytest.mark.parametrize(
    ("before", "now", "is_same"),
    [
        ("/old/var/runs/1/run/model", "data:runs/1/run/model", True),
        ("/old/runs/11/run/model", "data:runs/1/run/model", False),
        ("/a/runs/1,/a/runs/2", "data:runs/1,data:runs/2", True),
        ("/a/runs/1,/a/runs/2", "data:runs/1", False),
        ("/a/runs/1", "/b/runs/1", False),
        ("data:runs/1", "data:runs/2", False),
        (None, "data:runs/1", False),
    ],
)
def test_absolute_folders_of_earlier_versions_are_recognised_by_their_end(
    before: str | None, now: str, is_same: bool
) -> None:
    assert model_places.as_stored_now({"model": before}, {"model": now}) == {"model": now if is_same else before}


@pytest.mark.parametrize("version", ["today", "earlier"])
def test_a_stopped_run_is_resumed_to_the_same_bits_after_the_data_folder_has_moved(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    make_tiny_model(store / "models" / "tiny")
    rows = recipe_runs.demonstrations(tmp_path)
    values = {"epochs": 3, "batch_size": 4, "max_length": 64, "save_every": 1}

    def run(root: Path, name: str, **given: object) -> None:
        recipe_runs.run("sft", root / name, values, model=str(root / "models" / "tiny"), data=rows, **given)  # type: ignore[arg-type]

    run(store, "whole")
    with pytest.raises(Stopped):
        run(store, "halves", stop=recipe_runs.StopAfter(3))
    document = json.loads((store / "halves" / "run.json").read_text())
    assert document["models"] == {"model": "data:models/tiny"}
    if version == "earlier":
        document["models"] = {"model": str(store / "models" / "tiny")}
        (store / "halves" / "run.json").write_text(json.dumps(document))
    moved = store.rename(tmp_path / "there")
    monkeypatch.setenv("HONE_DATA", str(moved))
    run(moved, "halves", resume=True)
    whole, halves = (load_file(moved / name / "model" / "model.safetensors") for name in ("whole", "halves"))
    assert all(equal(whole[name], halves[name]) for name in whole)


def test_a_partial_output_of_an_earlier_version_goes_on(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.partial"
    path.write_text('{"model": "/old/runs/1", "data": "ab"}\n{"id": 1}\n')
    request = {"model": "data:runs/1", "data": "ab"}
    assert partial_output.entries(path, request=request) == [{"id": 1}]
    with pytest.raises(BadInput, match="from a command with other settings"):
        partial_output.entries(path, request=request | {"model": "data:runs/2"})
