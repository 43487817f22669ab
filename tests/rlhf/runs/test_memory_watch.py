"""A process that the kernel killed for lack of memory is told from one that was killed otherwise."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rlhf.runs.execution import machine
from rlhf.runs.execution.machine import MemoryWatch


@pytest.fixture
def count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set the kernel's counter of the kills for lack of memory, which stands at 7."""

    def write(kills: int) -> None:
        (tmp_path / "vmstat").write_text(f"pgfault 1\noom_kill {kills}\n", encoding="ascii")

    write(7)
    monkeypatch.setattr(machine, "PROC", tmp_path)
    return write


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    return pass_by


def test_a_kill_after_the_last_look_is_the_process_s_own(
    count: Callable[[int], None], wait: Callable[[float], None]
) -> None:
    watch = MemoryWatch()
    assert not watch.ran_out()
    count(8)
    assert watch.ran_out()


def test_a_look_between_the_kill_and_the_end_of_a_process_takes_nothing_away(
    count: Callable[[int], None], wait: Callable[[float], None]
) -> None:
    watch = MemoryWatch()
    for _ in range(100):
        wait(0.5)
        watch.look()
    count(8)
    for _ in range(10):
        wait(0.5)
        watch.look()
    assert watch.ran_out()


def test_a_kill_of_long_ago_was_another_process_s(count: Callable[[int], None], wait: Callable[[float], None]) -> None:
    watch = MemoryWatch()
    count(8)
    for _ in range(60):
        wait(0.5)
        watch.look()
    assert not watch.ran_out()
    assert len(watch._looks) <= MemoryWatch.ENDING_SECONDS / 0.5 + 2


def test_a_kernel_that_counts_nothing_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PROC", tmp_path)
    watch = MemoryWatch()
    watch.look()
    assert not watch.ran_out()
