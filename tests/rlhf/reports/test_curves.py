"""Curves that the database thins, which charts they share, and the numbers behind them as JSON and CSV."""

import math
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from rlhf.models import RunMetric, TrainingRun
from rlhf.reports import curves, metric_groups
from rlhf.reports.curves import Steps
from tests.factories.cast import Cast
from tests.rlhf.views.test_views import as_user, url

pytestmark = pytest.mark.django_db


def made(cast: Cast, values: dict[str, dict[int, float]], *, stage: str = "sft", **fields: Any) -> TrainingRun:
    run = TrainingRun.objects.create(project=cast.project, stage=stage, status="succeeded", **fields)
    rows = ((name, step, value) for name, points in values.items() for step, value in points.items())
    RunMetric.objects.bulk_create(RunMetric(run=run, name=name, step=step, value=value) for name, step, value in rows)
    return run


def test_a_short_curve_comes_as_it_is(cast: Cast) -> None:
    run = made(cast, {"loss": {1: 3.0, 2: 2.0, 40: 1.5}})
    assert curves.series(run) == {"loss": [[1, 2, 40], [3.0, 2.0, 1.5]]}


def test_a_long_curve_keeps_every_extreme_in_at_most_so_many_buckets(cast: Cast) -> None:
    points = {step: math.sin(step) for step in range(7, 3007)} | {1234: 99.0, 1235: -99.0}
    steps, means, least, greatest = curves.series(made(cast, {"loss": points}))["loss"]
    assert len(steps) <= curves.BUCKETS
    assert (min(least), max(greatest)) == (-99.0, 99.0)
    # Each bucket against the same one computed in Python.
    buckets: dict[int, list[int]] = {}
    for step in points:
        buckets.setdefault((step - 7) * (curves.BUCKETS - 1) // 2999, []).append(step)
    assert steps == [found[0] for found in buckets.values()]
    assert least == [min(points[step] for step in found) for found in buckets.values()]
    assert greatest == [max(points[step] for step in found) for found in buckets.values()]
    expected = [sum(points[step] for step in found) / len(found) for found in buckets.values()]
    assert means == pytest.approx(expected)
    assert (steps[-1], means[-1]) == (3006, math.sin(3006))


def test_steps_of_two_thousand_million_do_not_overflow(cast: Cast) -> None:
    run = made(cast, {"loss": {0: 1.0, 2_000_000_000: 2.0}})
    assert curves.series(run)["loss"] == [[0, 2_000_000_000], [1.0, 2.0]]


def test_a_zoom_has_buckets_of_its_own(cast: Cast) -> None:
    run = made(cast, {"loss": {step: float(step) for step in range(5000)}})
    assert curves.series(run, steps=Steps(100, 103)) == {"loss": [[100, 101, 102, 103], [100.0, 101.0, 102.0, 103.0]]}
    assert curves.series(run, steps=Steps(6000)) == {}
    reply = as_user("manager", cast).get(url(cast, "metrics", run.pk) + "?name=loss&low=4998")
    assert reply.json()["series"] == {str(run.pk): {"loss": [[4998, 4999], [4998.0, 4999.0]]}}


def test_a_page_asks_for_few_rows_whatever_a_run_reported(cast: Cast) -> None:
    run = made(cast, {f"m{name}": {step: float(step) for step in range(400)} for name in range(5)})
    assert curves.names_of(run) == ["m0", "m1", "m2", "m3", "m4"]
    with CaptureQueriesContext(
        connection,
    ) as asked:
        curves.series(run, ["m3"])
    assert len(asked) == 2
    with CaptureQueriesContext(connection) as asked:
        as_user("manager", cast).get(url(cast, "run", run.pk))
    assert not [query for query in asked if '"value"' in query["sql"] and "GROUP BY" in query["sql"]]


def test_runs_are_laid_over_each_other_and_only_the_projects_own(cast: Cast) -> None:
    first, second = made(cast, {"loss": {1: 1.0}}), made(cast, {"loss": {1: 2.0}, "kl": {1: 0.5}})
    client = as_user("manager", cast)
    reply = client.get(url(cast, "metrics", first.pk) + f"?with={second.pk}&with={first.pk}&with=x")
    assert reply.json() == {
        "series": {str(first.pk): {"loss": [[1], [1.0]]}, str(second.pk): {"loss": [[1], [2.0]], "kl": [[1], [0.5]]}},
        "names": ["loss", "kl"],
        "ended": True,
    }
    foreign = TrainingRun.objects.create(project=cast.other_project, stage="sft", status="succeeded")
    for name in ("metrics", "metrics_file", "run"):
        assert client.get(url(cast, name, first.pk) + f"?with={foreign.pk}").status_code == 404
    assert client.get(url(cast, "compare") + f"?run={first.pk}&run={foreign.pk}").status_code == 404


def test_every_value_is_in_the_file(cast: Cast) -> None:
    run = made(cast, {"loss": {1: 0.1 + 0.2, 2: 1.0}, "kl": {1: -0.5}})
    client = as_user("researcher", cast)
    lines = b"".join(client.get(url(cast, "metrics_file", run.pk)).streaming_content).decode().splitlines()
    assert lines == [
        "\ufeffrun,metric,step,value",
        f"{run.pk},kl,1,-0.5",
        f"{run.pk},loss,1,{0.1 + 0.2!r}",
        f"{run.pk},loss,2,1.0",
    ]
    one = b"".join(client.get(url(cast, "metrics_file", run.pk) + "?name=kl").streaming_content).decode()
    assert one.splitlines()[1:] == [f"{run.pk},kl,1,-0.5"]


def test_the_charts_of_ppo_begin_with_what_tells_whether_it_goes_well() -> None:
    names = ["kl", "loss", "score", "eval_kl", "entropy", "reward", "reward/length", "clip_fraction", "length"]
    names += ["value_clip_fraction", "approx_kl", "sampler_bias", "mine/a", "mine/b", "else"]
    groups = [
        (str(group.title), [chart.metrics for chart in group.charts])
        for group in metric_groups.group(names, stage="ppo")
    ]
    assert groups == [
        (
            "PPO at a glance",
            [
                ("score", "reward", "reward/length"),
                ("kl", "eval_kl"),
                ("entropy",),
                ("clip_fraction", "value_clip_fraction"),
                ("length",),
            ],
        ),
        ("Loss", [("loss",)]),
        ("KL divergence", [("approx_kl",)]),
        ("Rollout log-probabilities", [("sampler_bias",)]),
        ("mine", [("mine/a",), ("mine/b",)]),
        ("Other", [("else",)]),
    ]
    sft = metric_groups.group(["loss", "eval_loss", "eval_accuracy"], stage="sft")
    assert [chart.metrics for group in sft for chart in group.charts] == [("loss", "eval_loss"), ("eval_accuracy",)]


@pytest.mark.parametrize("query", ["smooth=nan&low=-1&high=x", "smooth=1e9&low=9999999999&q=%00", "log=2&with=&with=9"])
def test_odd_views_are_shown_as_far_as_they_mean_something(cast: Cast, query: str) -> None:
    run = made(cast, {"loss": {1: 1.0}})
    status = as_user("manager", cast).get(url(cast, "run", run.pk) + f"?{query}").status_code
    assert status == (404 if "with=9" in query else 200)
