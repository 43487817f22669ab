"""SQLite's write lock goes to whoever waits longest, and a wait ends when its time is over."""

import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from itertools import groupby
from threading import Barrier, Thread

import pytest
from django.db import OperationalError, connection, transaction

from annotate.models import User
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif("connection.vendor != 'sqlite'", reason="the lock of one file is SQLite's")
THREADS, TURNS = 8, 25


def together(work, count=THREADS):
    """Call work(number) in so many threads, which begin at the same moment and close their connections."""
    barrier = Barrier(count)

    def run(number):
        try:
            barrier.wait()
            work(number)
        finally:
            connection.close()

    threads = [Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.django_db(transaction=True)
def test_the_lock_goes_round():
    """Everybody has it again after all who waited had it: nobody is passed by a thread that came later."""
    had = []

    def take(number):
        for _ in range(TURNS):
            with transaction.atomic():
                had.append(number)
                time.sleep(0.003)

    together(take)
    assert Counter(had) == dict.fromkeys(range(THREADS), TURNS)
    # All are in line but at the beginning, where threads start, and at the end, where they are through.
    middle = had[2 * THREADS : -2 * THREADS]
    passed = [
        len(list(others))
        for number in range(THREADS)
        for is_own, others in groupby(middle, number.__eq__)
        if not is_own
    ]
    assert max(passed) <= 3 * THREADS


@pytest.mark.django_db(transaction=True)
def test_a_single_update_waits_in_the_line_too():
    user = User.objects.create(username="ann")

    def count(number):
        for _ in range(TURNS):
            User.objects.filter(pk=user.pk).update(first_name=str(number))

    together(count)
    assert User.objects.get().first_name in set(map(str, range(THREADS)))


@pytest.mark.django_db(transaction=True)
def test_a_wait_ends_when_its_time_is_over(monkeypatch):
    """For everybody in the line: who comes second doesn't wait twice as long."""
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.3)
    other = sqlite3.connect(connection.settings_dict["NAME"], check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    waited = []

    def ask(number):
        began = time.monotonic()
        with pytest.raises(OperationalError, match="locked"), transaction.atomic():
            pass
        waited.append(time.monotonic() - began)

    try:
        together(ask, count=4)
    finally:
        other.rollback()
        other.close()
    assert len(waited) == 4
    assert all(0.29 < seconds < 3.0 for seconds in waited)
    with transaction.atomic():
        User.objects.create(username="bob")


PRAGMAS = """
import django
django.setup()
from django.db import connection
with connection.cursor() as cursor:
    print(*(cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")))
"""


def test_what_was_committed_is_on_the_disk(tmp_path):
    """FULL (2) flushes the log at every commit; under NORMAL (1) a power cut may lose what was "Saved".

    In a process with users' settings: this one's database belongs to tests, which don't wait for the disk.
    """
    environment = {"PATH": os.environ["PATH"], "HONE_DATA": str(tmp_path), "DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-c", PRAGMAS]
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "wal 2\n"
