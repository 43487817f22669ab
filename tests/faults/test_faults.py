"""The faults command: a short run breaks no promise, and a broken promise is counted."""

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from unittest import mock

import pytest

from annotate.models import JudgmentRevision
from tests.conftest import ROOT
from tests.factories.cast import Cast, cast
from tests.faults import promises
from tests.faults.site import Site
from tests.faults.work import FilledIn
from tests.harness.ports import free_port
from tests.rlhf.conftest import make_judgments

__all__ = ["cast"]


def test_a_short_run_breaks_no_promise() -> None:
    command = [sys.executable, "-m", "tests.faults", "--faults", "3", "--labelers", "2", "--seed", "3", "--no-runs"]
    kinds = ["SIGKILL: web", "SIGKILL: job of the default", "slow", "full disk"]  # what takes little time to come back
    command += [argument for kind in kinds for argument in ("--kind", kind)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    assert sum(found["faults"].values()) == 3
    assert found["acknowledged"] > 10
    assert set(found["broken"].values()) == {0}
    assert len(found["broken"]) >= 20


@pytest.mark.long
def test_a_supervisor_that_ends_by_itself_is_counted_and_started_again(tmp_path: Path) -> None:
    with mock.patch.dict(os.environ):  # the site sets variables for its own process, too
        site = Site(tmp_path, port=free_port(), database=None)
        try:
            site.await_up()
            site.revive()
            assert site.ended_by_itself == []
            first = site.service.process
            first.send_signal(signal.SIGTERM)
            first.wait(60)
            site.revive()
            assert len(site.ended_by_itself) == 1
            assert site.service.process.pid != first.pid
            assert site.service.process.poll() is None
        finally:
            site.stop()
            site.unmount()


@pytest.mark.django_db(transaction=True)
@pytest.mark.any_database
def test_an_acknowledged_judgment_that_is_not_there_is_counted(cast: Cast) -> None:
    make_judgments(cast, 2)
    (first, second) = JudgmentRevision.objects.values_list("client_id", flat=True)
    kept = promises.broken([str(first), str(second)])
    assert set(kept.values()) == {0}
    lost = promises.broken([str(first), str(uuid.uuid4())])
    assert {name: count for name, count in lost.items() if count} == {"acknowledged judgments without a row": 1}


def test_a_form_is_sent_as_it_is_filled_in() -> None:
    page = (
        '<form><input name="a" value="1"><input type="checkbox" name="b" checked><input type="checkbox" name="c">'
        '<select name="d"><option value="x">X<option value="y" selected>Y</select><input type="file" name="e">'
        '<textarea name="f">two\nlines</textarea><button name="g" value="h">Go</button></form>'
    )
    assert FilledIn(page).fields == {"a": "1", "b": "on", "d": "y", "f": "two\nlines"}
