"""Hosts in namespaces: what the network between them does, and a training that two of them share."""

import ctypes
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults.database import Unavailable, ip
from tests.faults.network import Host, Network

CLONE_NEWNET = 0x40000000  # linux/sched.h


@pytest.fixture
def own_space() -> Iterator[None]:
    """This thread and its children in a network namespace of their own.

    Chromium gives up every request under way when an interface appears in its namespace (ERR_NETWORK_CHANGED), and the
    tests in a browser run at the same time as these.
    """
    library = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if library.unshare(CLONE_NEWNET):
        os.close(before)
        pytest.skip(f"no network namespace can be made here: {os.strerror(ctypes.get_errno())}")
    try:
        ip("link", "set", "lo", "up")
        yield
    finally:
        returned = library.setns(before, CLONE_NEWNET)
        os.close(before)
        assert returned == 0, os.strerror(ctypes.get_errno())


@pytest.fixture
def network(own_space: None, tmp_path: Path) -> Iterator[Network]:
    try:
        network = Network(tmp_path, ["hone-a", "hone-b"])
    except Unavailable as reason:
        pytest.skip(str(reason))
    yield network
    network.stop()


def run_on(host: Host, command: str, *, folder: Path) -> tuple[int, str]:
    log = folder / "said"
    log.write_text("")
    process = host.start(["bash", "-c", command], environment={"PATH": os.environ["PATH"]}, log=log, folder=folder)
    return process.wait(20), log.read_text()


def test_a_host_has_a_name_and_processes_of_its_own_and_loses_the_network(network: Network, tmp_path: Path) -> None:
    first, second = network.hosts.values()
    assert run_on(first, "hostname; getent hosts hone-b", folder=tmp_path) == (
        0,
        f"hone-a\n{second.address:<15} hone-b\n",
    )
    with socket.create_server((network.address, 0)) as server:
        connect = f"timeout 1 bash -c '</dev/tcp/{network.address}/{server.getsockname()[1]}'"
        assert run_on(first, connect, folder=tmp_path)[0] == 0
        first.cut()
        assert run_on(first, connect, folder=tmp_path)[0] == 124
        assert run_on(second, connect, folder=tmp_path)[0] == 0
        first.heal()
        assert run_on(first, connect, folder=tmp_path)[0] == 0
    sleeping = first.start(["sleep", "60"], environment=os.environ, log=tmp_path / "log", folder=tmp_path)
    first.kill()
    assert sleeping.wait(10) == -9
    assert first.processes() == []


@pytest.mark.long
def test_two_hosts_that_meet_by_c10d_train_the_weights_of_one() -> None:
    command = [sys.executable, "-m", "tests.faults.two_hosts", "--scenario", "torchrun", "--parallel", "ddp"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode == 2:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["broken"] == {
        "processes of torchrun that ended badly": 0,
        "weights of two hosts that are not those of one": 0,
        "trainings that changed nothing": 0,
    }
