"""The fuzz command: a short run of every part finds nothing, and what breaks a promise is found with its number."""

import json
import random
import subprocess
import sys
import time
from typing import Any

import pytest

from annotate.formats.files import json_objects
from annotate.rendering import markup
from tests.conftest import ROOT
from tests.fuzz import __main__ as command
from tests.fuzz import campaign, file_parts, text_parts
from tests.fuzz.campaign import Part

PARTS = {part.name: part for part in (*text_parts.PARTS, *file_parts.PARTS)}


def failures(part: Part, cases: int = 40, seed: int = 0) -> list[campaign.Failure]:
    said: list[str] = []
    found = campaign.run([part], seed=seed, until=time.monotonic() + 60, most_cases=cases, said=said.append)
    assert len(said) == len(found[part.name].failures)
    return found[part.name].failures


def test_a_short_run_of_every_part_finds_nothing() -> None:
    run = [sys.executable, "-m", "tests.fuzz", "--minutes", "2", "--cases", "2", "--seed", "1"]
    done = subprocess.run(run, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["seed"] == 1
    assert {name: (part["cases"], part["failed"]) for name, part in found["parts"].items()} == {
        name: (2, []) for name in command.NAMES
    }


def test_a_failure_names_the_command_that_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markup, "plain", lambda text: "")
    monkeypatch.setattr(markup, "HIGHEST_COST", 20)
    first, *_others = failures(PARTS["shown"])
    assert first.command == f"python -m tests.fuzz --part shown --seed {first.seed} --cases 1"
    (again,) = failures(PARTS["shown"], cases=1, seed=first.seed)
    assert again == first
    assert "letters differ" in again.reason


def test_a_key_that_is_read_and_dropped_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from annotate.formats.rows import Fields

    monkeypatch.setattr(Fields, "close", lambda fields: None)
    assert any("neither kept nor named" in found.reason for found in failures(PARTS["unknown_keys"]))


def test_two_readers_that_differ_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_objects, "_keys_once", dict)
    assert failures(PARTS["lines"], cases=200)


def spin(seconds: float) -> Any:
    def check(_rng: random.Random) -> None:
        until = time.process_time() + seconds
        while time.process_time() < until:
            pass

    return check


def test_a_case_that_takes_long_grows_or_hangs_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    (slow,) = failures(Part("slow", spin(0.05), seconds=0.02), cases=1)
    assert "more than 0.02" in slow.reason
    with monkeypatch.context() as patched:
        patched.setattr(campaign, "_largest_size", iter([100 * campaign.MEGABYTES, 160 * campaign.MEGABYTES]).__next__)
        (large,) = failures(Part("large", spin(0), seconds=9, memory=50), cases=1)
    assert large.reason == "took 60 MB of memory, more than 50"
    monkeypatch.setattr(campaign, "HANG_SECONDS", 1)
    (hung,) = failures(Part("hung", spin(30), seconds=9), cases=1)
    assert hung.reason == "still under way after 1 s"


def test_a_part_that_fails_again_and_again_is_left_alone() -> None:
    def fail(_rng: random.Random) -> None:
        raise AssertionError("no")

    assert len(failures(Part("bad", fail, seconds=1), cases=1_000)) == campaign.MOST_FAILURES
