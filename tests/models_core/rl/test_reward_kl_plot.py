"""Reward over the root of the divergence."""

import json
import re
from xml.etree import ElementTree

import pytest

from models_core.rl import reward_kl_plot
from models_core.rl.reward_kl_plot import Point, RewardKLPoints

ROWS = [
    {"step": 0, "eval_kl": -0.01, "eval_score": 0.5},
    {"step": 1, "kl": 4.0, "score": 1.0},
    {"step": 2, "kl": 9.0, "score": None},
    {"step": 2, "eval_kl": 16.0, "eval_score": 2.5},
]


def test_points_are_those_of_the_metrics(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + '{"step": 3, "kl"')
    assert reward_kl_plot.read(path) == RewardKLPoints([Point(2.0, 1.0)], [Point(0.0, 0.5), Point(4.0, 2.5)])
    assert reward_kl_plot.read(tmp_path / "none") == RewardKLPoints([], [])


def test_the_picture_puts_each_point_in_its_place():
    drawn = reward_kl_plot.svg(RewardKLPoints([Point(2.0, 1.0)], [Point(0.0, 0.0), Point(4.0, 2.0)]))
    ElementTree.fromstring(drawn)
    dots = [tuple(map(float, found)) for found in re.findall(r'<circle class="\w+" cx="([\d.]+)" cy="([\d.]+)"', drawn)]
    middle, first, last = dots
    assert middle == ((first[0] + last[0]) / 2, (first[1] + last[1]) / 2)
    assert (first[0], last[0]) == (reward_kl_plot.LEFT, reward_kl_plot.WIDTH - reward_kl_plot.RIGHT)
    assert first[1] > last[1]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (-0.179, 3.77, [0, 1, 2, 3]),
        (0, 7.8, [0, 2, 4, 6]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-0.03, 0.012, [-0.03, -0.02, -0.01, 0, 0.01]),
        (970, 1030, [980, 1000, 1020]),
    ],
)
def test_axes_are_numbered_in_round_steps(low, high, ticks):
    assert reward_kl_plot._ticks(low, high) == ticks


def test_a_run_without_points_or_with_one_is_drawn_too():
    for found in (
        RewardKLPoints([], []),
        RewardKLPoints([Point(0.0, 3.0)], []),
        RewardKLPoints([], [Point(1.0, -2.0)]),
    ):
        ElementTree.fromstring(reward_kl_plot.svg(found))
