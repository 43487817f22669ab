"""The benchmark of SQLite's write lock sees what a transaction does with it."""

import json
import subprocess
import sys
import time

import pytest
from django.db import connection, transaction

from benchmarks import write_locks
from config.models import RateBucket
from tests.conftest import ROOT


@pytest.mark.long
def test_the_last_line_has_the_figures_of_each_change() -> None:
    named = ["copy the project", "reopen by a filter"]
    chosen = [word for name in named for word in ("--change", name)]
    command = [sys.executable, "-m", "benchmarks", "locks", "--tasks", "400", *chosen]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    figures = json.loads(done.stdout.rstrip("\n").split("\n")[-1])
    assert list(figures) == named
    for found in figures.values():
        assert found["transactions"] > 0
        assert found["waits"] > 0
        assert 0 < found["longest_cpu_ms"] < 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.any_database
def test_it_sees_how_long_a_transaction_has_the_lock() -> None:
    with write_locks.holds() as held:
        RateBucket.objects.create(key="alone", drained_at=0)
        with transaction.atomic():
            RateBucket.objects.create(key="a", drained_at=0)
            time.sleep(0.05)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            RateBucket.objects.create(key="b", drained_at=1 / 0)
    assert connection.vendor == "sqlite"
    assert len(held.times) == 3
    (longest, processor, statement) = max(held.times)
    assert longest >= 0.05 > processor
    assert statement.startswith("INSERT INTO")
