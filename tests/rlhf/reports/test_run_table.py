"""The table of runs: its filters, its order, its columns, its pages and its file; and runs side by side."""

import csv
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rlhf.loop import versions
from rlhf.models import RunInput, TrainingRun
from rlhf.reports import run_table
from rlhf.reports.run_table import RunFilters, RunTable
from tests.factories.cast import Cast
from tests.rlhf.views.test_views import as_user, url

pytestmark = pytest.mark.django_db


def made(cast: Cast, **fields: Any) -> TrainingRun:
    return TrainingRun.objects.create(**{"project": cast.project, "stage": "sft", "status": "succeeded", **fields})


def numbers(cast: Cast, query: str) -> list[int]:
    page = as_user("manager", cast).get(url(cast, "training") + f"?{query}")
    return [run.pk for run in page.context["table"].runs]


@pytest.fixture
def three(cast: Cast) -> list[TrainingRun]:
    """Three runs whose settings and results differ."""
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    values = [({"epochs": 3, "lora_rank": 4}, 0.5), ({"epochs": 1, "lora_rank": 4}, 0.75), ({"lora_rank": 4}, None)]
    runs = []
    for days, (config, accuracy) in enumerate(values):
        result = {} if accuracy is None else {"accuracy": accuracy, "eval_loss": 1.0}
        run = made(cast, config=config, result=result, started_at=noon, finished_at=noon + timedelta(seconds=90 + days))
        TrainingRun.objects.filter(pk=run.pk).update(created_at=noon + timedelta(days=days))
        runs.append(run)
    return runs


def test_filters_let_through_what_they_name(cast: Cast, three: list[TrainingRun]) -> None:
    first, second, third = (run.pk for run in three)
    failed = made(cast, stage="reward", status="failed", created_by=cast.manager)
    chat = made(cast, queue="live")
    base = versions.base(cast.project)
    RunInput.objects.create(run_id=second, version=base, role="model")
    assert numbers(cast, "") == [failed.pk, third, second, first]
    assert numbers(cast, "stage=sft") == [third, second, first]
    assert numbers(cast, "status=failed") == [failed.pk]
    assert numbers(cast, f"by={cast.manager.pk}") == [failed.pk]
    assert numbers(cast, f"model={base.pk}") == [second]
    assert numbers(cast, "since=2026-03-02&until=2026-03-02") == [second]
    assert numbers(cast, "show=live") == [chat.pk]
    assert numbers(cast, "stage=nonsense&by=x&model=99999999999999999999&since=2026-13-01&until=0001-01-01") == [
        *(failed.pk, third, second, first),
    ]


def test_the_order_is_by_any_column_and_runs_without_a_value_come_last(cast: Cast, three: list[TrainingRun]) -> None:
    first, second, third = (run.pk for run in three)
    assert numbers(cast, "sort=result.accuracy") == [second, first, third]
    assert numbers(cast, "sort=result.accuracy&order=up") == [first, second, third]
    assert numbers(cast, "sort=config.epochs") == [first, third, second]  # the default is 2
    assert numbers(cast, "sort=seconds") == [third, second, first]
    assert numbers(cast, "sort=run&order=up") == [first, second, third]
    assert numbers(cast, "sort=no_such") == [third, second, first]


def test_the_columns_are_the_settings_that_differ_and_the_main_results(cast: Cast, three: list[TrainingRun]) -> None:
    table = RunTable(filters=RunFilters(project=cast.project))
    assert [column.key for column in table.columns] == ["config.epochs", "result.accuracy", "result.eval_loss"]
    assert [cells for _run, cells, _duration in table.cells] == [
        ["2", "–", "–"], ["1", "0.75", "1"], ["3", "0.5", "1"],
    ]  # fmt: skip
    assert [duration for *_others, duration in table.cells] == ["1 min 32 s", "1 min 31 s", "1 min 30 s"]
    chosen = RunTable(filters=RunFilters(project=cast.project), chosen=["config.lora_rank", "config.no_such"])
    assert [column.key for column in chosen.columns] == ["config.lora_rank"]


@pytest.mark.parametrize("sort", ["run", "status", "result.score"])
@pytest.mark.parametrize("order", ["up", "down"])
def test_pages_follow_each_other_without_gap_or_repetition(cast: Cast, sort: str, order: str) -> None:
    for number in range(60):
        made(cast, result={"score": number % 7}, status=("succeeded", "failed")[number % 2])
    seen, after = [], None
    while True:
        table = RunTable(filters=RunFilters(project=cast.project), sort=sort, descending=order == "down", after=after)
        seen += [run.pk for run in table.runs]
        after = table.next
        if after is None:
            break
    assert len(seen) == 60
    assert set(seen) == set(TrainingRun.objects.values_list("pk", flat=True))


def test_the_file_has_all_settings_and_numbers(cast: Cast, three: list[TrainingRun]) -> None:
    made(cast, config={"method": "=1+1"}, stage="reward")
    reply = as_user("manager", cast).get(url(cast, "training") + "?format=csv&stage=sft")
    head, *rows = csv.reader(b"".join(reply.streaming_content).decode().removeprefix("\ufeff").splitlines())
    assert head == [
        *("run", "stage", "status", "created", "by", "seconds", "model"),
        *("config.epochs", "config.lora_rank", "result.accuracy", "result.eval_loss"),
    ]
    assert [row[5:] for row in rows] == [
        ["92.0", "", "2", "4", "", ""], ["91.0", "", "1", "4", "0.75", "1.0"], ["90.0", "", "3", "4", "0.5", "1.0"],
    ]  # fmt: skip
    whole = as_user("manager", cast).get(url(cast, "training") + "?format=csv")
    assert "'=1+1" in b"".join(whole.streaming_content).decode()


def test_runs_side_by_side_show_what_differs(cast: Cast, three: list[TrainingRun]) -> None:
    client = as_user("researcher", cast)
    page = client.get(url(cast, "compare") + "?" + "&".join(f"run={run.pk}" for run in three))
    assert [(column.key, values) for column, values in page.context["differences"]] == [
        ("config.epochs", ["3", "1", "2"]),
    ]
    assert [(column.key, values) for column, values in page.context["results"]] == [
        ("result.accuracy", ["0.5", "0.75", "–"]), ("result.eval_loss", ["1", "1", "–"]),
    ]  # fmt: skip
    assert "No run is ticked" in client.get(url(cast, "compare")).content.decode()
    many = "&".join(f"run={made(cast).pk}" for _ in range(9))
    assert "1 more was left out" in client.get(url(cast, "compare") + f"?{many}").content.decode()
    assert run_table.differences([]) == []
