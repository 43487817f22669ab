"""What the name of a reward source stands for."""

import subprocess
import sys

import pytest

from models_core.contract.errors import BadInput
from models_core.contract.reports.reward_names import Kind, kind_of


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("runs/reward", Kind.MODELS),
        ("/data/reward model", Kind.MODELS),
        ("organisation/reward-model", Kind.MODELS),
        ("one,two", Kind.MODELS),
        ("runs/one, runs/two", Kind.MODELS),
        ("C:", Kind.MODELS),
        ("a:b:c", Kind.MODELS),
        ("gold:positivity", Kind.FUNCTION),
        ("my_package.gold_2:positivity", Kind.FUNCTION),
        ("http://127.0.0.1:8000/v1", Kind.JUDGE),
        ("https://host/v1", Kind.JUDGE),
        ("https://host/v1,2", Kind.JUDGE),
    ],
)
def test_a_name_is_told_apart_by_its_shape(name, kind):
    assert kind_of(name) == kind


def test_what_lies_on_disk_is_a_reward_model_whatever_it_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("gold:positivity", "one,os:system"):
        (tmp_path / name).mkdir()
        assert kind_of(name) == Kind.MODELS


@pytest.mark.parametrize("name", ["runs/reward,os:system", "runs/reward,http://host/v1", "a:b,c:d"])
def test_models_and_other_sources_are_not_mixed(name):
    with pytest.raises(BadInput, match="several reward models, or one judge or function alone"):
        kind_of(name)


def test_the_pages_side_can_ask_without_torch():
    code = "import sys; import models_core.contract.reports.reward_names; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
