"""The embedded broker: private, persistent, and cleared of what an earlier one left behind."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kombu import Connection
from redis import Redis

from config.serving import broker
from tests.conftest import end, wait_until


@contextmanager
def running(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(broker.prepare(data), stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: broker.is_responding(data), what="the broker")
        yield process
    finally:
        end(process)


def client(data: Path) -> Redis:
    return Redis(unix_socket_path=str(broker.socket_path(data)), db=1)


def test_keeps_messages_over_a_restart(tmp_path: Path) -> None:
    with running(tmp_path):
        client(tmp_path).lpush("default", "a message")
    with running(tmp_path):
        assert client(tmp_path).lrange("default", 0, -1) == [b"a message"]


def test_keeps_messages_over_a_kill(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        client(tmp_path).lpush("default", "a message")
        server.send_signal(signal.SIGKILL)
        server.wait()
        assert broker.socket_path(tmp_path).exists()  # the stale socket that the next one must clear
    with running(tmp_path):
        assert client(tmp_path).lrange("default", 0, -1) == [b"a message"]


def test_never_drops_a_message_and_opens_no_port(tmp_path: Path) -> None:
    with running(tmp_path):
        settings = client(tmp_path).config_get()
        assert settings["maxmemory-policy"] == "noeviction"
        assert settings["appendonly"] == "yes"
        assert settings["port"] == "0"
        assert broker.socket_path(tmp_path).stat().st_mode & 0o777 == 0o700


def test_a_server_left_behind_is_replaced_and_its_messages_kept(tmp_path: Path) -> None:
    with running(tmp_path) as left_behind:
        client(tmp_path).lpush("default", "a message")
        with running(tmp_path) as successor:
            assert left_behind.poll() is not None
            assert client(tmp_path).info("server")["process_id"] == successor.pid
            assert client(tmp_path).lrange("default", 0, -1) == [b"a message"]


def test_a_server_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "REPLY_SECONDS", 0.2)
    with running(tmp_path) as hanging:
        hanging.send_signal(signal.SIGSTOP)
        with running(tmp_path) as successor:
            assert hanging.wait(5) == -signal.SIGKILL
            assert client(tmp_path).info("server")["process_id"] == successor.pid


def test_a_process_id_with_a_new_owner_is_left_alone(tmp_path: Path) -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "valkey.pid").write_text(str(bystander.pid))
    with running(tmp_path):
        assert bystander.poll() is None
    end(bystander)


def test_a_deep_data_folder_gets_a_short_private_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    path = broker.socket_path(deep)
    assert len(os.fsencode(path)) <= broker.LONGEST_SOCKET_PATH
    assert path == broker.socket_path(deep) != broker.socket_path(tmp_path / ("e" * 100))
    with running(deep):
        assert client(deep).ping()
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_somebody_elses_socket_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "TEMPORARY", tmp_path)
    (tmp_path / f"hone-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"hone-{os.getuid()}").chmod(0o777)
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    with pytest.raises(broker.BrokerError, match="private folder"):
        broker.prepare(deep)


@pytest.mark.parametrize(
    "name", ["a b", "it's", 'say "x"', "100%20", "a#b?c", "数据", "a\nb", "back\\slash", "\udcff", "x" * 120]
)
def test_a_data_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    data = tmp_path / name
    with running(data), Connection(broker.address(data), connect_timeout=5) as queue:
        queue.SimpleQueue("default").put("a message")
        assert client(data).llen("default") == 1
    assert list((data / "broker").rglob("*.aof"))
