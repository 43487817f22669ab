"""`python -m benchmarks scale`: the simulation beside closed forms and cases by hand, its figures and their sources."""

import json
import random
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
from django.test import Client

from benchmarks import labeling_queue
from benchmarks.scale import capacity, command, scenarios, service_times, validation, workload
from benchmarks.scale.service_times import FAST, SLOW, Costs, Storage
from benchmarks.scale.simulation import Process, Resource, Simulation
from benchmarks.scale.site import Cores, Deployment, Site, WriteAheadLog
from benchmarks.scale.storage import _Labeler
from tests.conftest import ROOT

EXACT = Costs("exact", "", web=10.0, database=5.0, slowdown=1.0, spread=0.0)


def customer(simulation: Simulation, server: Resource, service: float, times: list[float]) -> Process:
    came = simulation.now
    yield server
    yield service
    server.release()
    times.append(simulation.now - came)


def test_three_customers_by_hand() -> None:
    """At 0, 1 and 1.5, two seconds each: they leave at 2, 4 and 6, and of the first eight seconds six were busy."""
    simulation, times = Simulation(), list[float]()
    server = Resource(simulation, "server", 1)
    server.start_counting()
    for at in (0.0, 1.0, 1.5):
        simulation.start(customer(simulation, server, 2.0, times), at)
        simulation.run(at)
    simulation.run(8.0)
    assert times == [2.0, 3.0, 4.5]
    assert server.utilisation == 0.75


def arrivals(
    simulation: Simulation, server: Resource, chance: random.Random, number: int, times: list[float]
) -> Process:
    for _customer in range(number):
        yield chance.expovariate(0.5)
        simulation.start(customer(simulation, server, chance.expovariate(1.0), times), simulation.now)


def test_one_server_with_exponential_times_has_the_mean_of_m_m_1() -> None:
    """1 / (mu - lambda) = 2 seconds. Of the mean of n waits the variance is rho (2 + 5 rho - 4 rho^2 + rho^3) /
    (1 - rho)^4 / n = 29 / n (Daley 1968); four standard deviations are given, 0.12 with 32,000 customers."""
    number, rho = 32_000, 0.5
    simulation, times = Simulation(), list[float]()
    server = Resource(simulation, "server", 1)
    server.start_counting()
    simulation.start(arrivals(simulation, server, random.Random(3), number, times))
    simulation.run(1e6)
    variance = rho * (2 + 5 * rho - 4 * rho**2 + rho**3) / (1 - rho) ** 4
    assert variance == 29
    assert len(times) == number
    assert fmean(times) == pytest.approx(2.0, abs=4 * (variance / number) ** 0.5)


def test_commits_share_a_write() -> None:
    """Writes of a second begin at 0, 1 and 2: the second takes the commits of 0.2 and 0.5 along."""
    simulation, done = Simulation(), list[float]()
    wal = WriteAheadLog(simulation, 1.0)

    def commit(at: float) -> Process:
        yield at
        yield from wal.commit()
        done.append(simulation.now)

    for at in (0.0, 0.2, 0.5, 1.1):
        simulation.start(commit(at))
    simulation.run(10.0)
    assert done == pytest.approx([1.0, 2.0, 2.0, 3.0])
    assert wal.writes == 3


def test_a_second_busy_core_slows_work_down() -> None:
    simulation, done = Simulation(), list[float]()
    cores = Cores(simulation, "cores", 2, slowdown=1.8)

    def work() -> Process:
        yield from cores.work(1.0)
        done.append(simulation.now)

    for _number in range(2):
        simulation.start(work())
    simulation.run(10.0)
    assert done == [1.0, 1.8]


@pytest.mark.parametrize(
    ("deployment", "milliseconds"),
    [
        # 10 of Python, 5 of statements, 1 of the WAL, and apart 8 statements that travel 0.25 each.
        (Deployment("", is_one_machine=True), 16.0),
        (Deployment(""), 18.0),
        (Deployment("", pool=1), 18.0),
    ],
)
def test_a_request_that_waits_for_nobody(deployment: Deployment, milliseconds: float) -> None:
    simulation, done = Simulation(), list[float]()
    where = Site(simulation, deployment, EXACT, statements=8)

    def ask() -> Process:
        yield from where.request(where.processes[0], EXACT.web, EXACT.database, is_write=True)
        done.append(simulation.now)

    simulation.start(ask())
    simulation.run(1.0)
    assert done == pytest.approx([milliseconds / 1000])
    assert [resource.in_use for resource in simulation.resources] == [0] * len(simulation.resources)


def test_two_requests_of_a_process_take_turns() -> None:
    """One interpreter: 20 ms of Python of both are over no sooner, whatever the second core could do meanwhile."""
    simulation, done = Simulation(), list[float]()
    where = Site(simulation, Deployment("", is_one_machine=True), EXACT, statements=0)

    def ask(web: int) -> Process:
        yield from where.request(where.processes[web], EXACT.web, 0.0, is_write=False)
        done.append(simulation.now)

    for _number in range(2):
        simulation.start(ask(0))
    simulation.run(1.0)
    assert done == pytest.approx([0.015, 0.020])


def test_a_day() -> None:
    day = workload.day(people=400)
    assert workload.judgments_per_day() == 360
    assert fmean(day) * 24 == pytest.approx(7.0)
    assert 0.4 < max(day) < 1
    assert min(day) < 0.1


def test_capacity_by_hand() -> None:
    costs = replace(EXACT, web=27.0, database=12.0)
    part = 15.7 / 19.3 + 20.0 / 19.3 + 3 * 15.3 / 29.7
    assert capacity.work_per_judgment(costs) == pytest.approx((27 * part, 12 * part))
    store = Storage(task=3000, judgment=1000, wal=0, wal_after_checkpoint=250_000, statements=0, commits=0)
    assert capacity.database_bytes(store, 1e8) == 5e11
    assert (capacity.databases(store, 1e8), capacity.databases(store, 1e9)) == (1, 7)
    loads = capacity.other_loads(Deployment("", web_hosts=5), store, 100)
    assert loads["connections of PostgreSQL"] == 0.94
    assert loads["WAL to the disk"] == 0.2
    # 50 tasks, 6.02 ms each, within half of the time.
    assert loads["consensus job"] == pytest.approx(0.602)
    assert capacity.gpu_hours(1e9, 1.8e8) == pytest.approx(1.0)
    assert capacity.count_seconds(1e8) == 290
    fleet = capacity.Fleet(
        web_hosts=2, databases=1, database_cores=4, replica_cores=2, worker_cores=2, disk_gb=100, backup_gb=1000,
        gpu_hours=10,
    )  # fmt: skip
    assert capacity.month(fleet) == {
        "web hosts": 145,
        "databases and their disks": 132,
        "replicas and their disks": 72,
        "workers, scheduler, broker": 120,
        "backups, snapshots": 23,
        "GPUs": 30,
    }


def test_few_labelers_wait_for_nobody_and_many_fill_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenarios, "SUBMITS", 200)
    few = scenarios.simulate(scenarios.ONE_MACHINE, FAST, 10, 5)
    assert few.crowded == []
    # The submit's part of 10.5 and 4.7 ms, and a write of the WAL.
    assert few.median == pytest.approx(15.2 * 15.7 / 19.3 + 1, rel=0.05)
    many = scenarios.simulate(scenarios.ONE_MACHINE, SLOW, 1200, 600)
    assert many.crowded[0] == "cores"
    assert many.rate < 0.98 * many.wanted_rate


def test_measured_figures_are_those_of_the_pages_that_they_name() -> None:
    page = (ROOT / service_times.QUEUE).read_text(encoding="utf-8")
    for point in validation.POINTS:
        rows = [row for row in page.splitlines() if f"| {point.median} ms | {point.p95} ms |" in row]
        assert len(rows) == 1
        assert f"| {point.labelers} |" in rows[0]
        assert f"| {point.web} ms |" in rows[0]
    for costs in (FAST, SLOW):
        assert f"| {costs.web} ms | {costs.database} ms |" in page


def test_the_last_line_has_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(validation, "SUBMITS", 100)
    monkeypatch.setattr(validation, "POINTS", validation.POINTS[:1])
    monkeypatch.setattr(scenarios, "SUBMITS", 50)
    monkeypatch.setattr(scenarios, "most_labelers", lambda deployment, costs: 1)
    assert command.main(["--machine", "fast", "--labelers", "10", "20", "--plots", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(row["labelers"], row["crowded"]) for row in found["sweep"]] == [(10, [])] * 3 + [(20, [])] * 3
    assert found["validation"][0]["predicted_p50_ms"] == pytest.approx(15.2, rel=0.05)
    assert found["capacity"]["backup or restore, hours"] == pytest.approx(0.917, abs=0.001)
    assert (found["groups"]["deployment"], found["groups"]["active"]) == ("one of 4 databases", 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scale-day.svg", "scale.svg"]


@pytest.mark.parametrize("wrong", [["--labelers", "0"], ["--tasks", "0"], ["--measure", "--tasks", "100"]])
def test_nonsense_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(wrong)
    assert "python -m benchmarks scale: error:" in capsys.readouterr().err


@pytest.mark.django_db(transaction=True)
def test_the_requests_whose_cost_is_measured_are_taken(client: Client) -> None:
    client.force_login(labeling_queue._make_project(3, 1)[0])
    labeler = _Labeler(client, client.get(f"/p/{labeling_queue.PROJECT}/work/").content.decode())
    labeler.ahead()
    labeler.draft()
    labeler.draft()
    labeler.submit()
    assert labeling_queue.TASK.search(labeler.page) is not None
