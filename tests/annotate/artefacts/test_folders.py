"""Folders on S3-compatible storage: published and fetched whole, verified, removed; every fault is a sentence."""

import hashlib
import json
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from annotate.artefacts import bucket, fetching, folders, local_folders, publishing
from annotate.errors import Refused
from tests.harness.s3_server import SharedBucket, s3_client, shared_bucket

__all__ = ["s3_client", "shared_bucket"]
FOLDER = "runs/7/run/model"
CONTENT = {"config.json": b"{}", "sub/weights.safetensors": bytes(range(256)) * 512, "copy.json": b"{}"}
LIST = f"folders/{FOLDER}.json"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def place(name: str) -> str:
    return f"files/{FOLDER}/{sha256(CONTENT[name])}"


def make(data: Path, content: dict[str, bytes] = CONTENT, folder: str = FOLDER) -> Path:
    for name, text in content.items():
        (data / folder / name).parent.mkdir(parents=True, exist_ok=True)
        (data / folder / name).write_bytes(text)
    return data / folder


def read(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 64 KB is a large one."""
    monkeypatch.setattr(publishing, "IN_MEMORY", 1 << 16)


@pytest.fixture
def published(shared_bucket: SharedBucket) -> SharedBucket:
    """CONTENT, published by the host `a`; the host `b` goes on."""
    make(shared_bucket.at("a"))
    folders.publish(FOLDER)
    shared_bucket.at("b")
    return shared_bucket


def test_another_host_fetches_the_same_bytes_once(published: SharedBucket) -> None:
    assert sorted(published.names()) == sorted([place("config.json"), place("sub/weights.safetensors"), LIST])
    assert read(folders.ensure(FOLDER)) == CONTENT
    before = (published.folder / "a" / FOLDER / "config.json").stat().st_mtime_ns
    assert (published.folder / "b" / FOLDER / "config.json").stat().st_mtime_ns == before
    published.client.delete_object(Bucket=published.name, Key=f"team/{LIST}")
    assert read(folders.ensure(FOLDER)) == CONTENT  # no longer asked for


def test_without_storage_nothing_is_asked_for(settings: Any, tmp_path: Path) -> None:
    settings.HONE_DATA = tmp_path
    path = make(tmp_path)
    folders.publish(FOLDER)
    folders.remove(FOLDER)
    assert (folders.ensure(FOLDER), folders.published(FOLDER)) == (path, None)
    assert [entry.name for entry in tmp_path.iterdir()] == ["runs"]


def test_what_is_published_again_replaces_what_another_host_has(published: SharedBucket) -> None:
    folders.ensure(FOLDER)
    here = published.folder / "b" / FOLDER
    (here / "sub" / "weights.safetensors").unlink()
    (here / "new.json").write_bytes(b"new")
    (here / ".partial").write_bytes(b"half")
    folders.publish(FOLDER)
    assert place("sub/weights.safetensors") not in published.names()
    published.at("a")
    assert read(folders.ensure(FOLDER)) == CONTENT  # a folder that never changes isn't looked for again
    path = folders.ensure(FOLDER, is_current=False)
    assert read(path) == {"config.json": b"{}", "copy.json": b"{}", "new.json": b"new"}
    assert not (path / "sub").exists()


def test_what_went_on_here_since_it_was_published_stays(published: SharedBucket) -> None:
    published.at("a")
    (published.folder / "a" / FOLDER / "config.json").write_bytes(b"further")
    assert read(folders.ensure(FOLDER, is_current=False))["config.json"] == b"further"


def test_subfolders_of_their_own_are_left_alone(published: SharedBucket) -> None:
    data = published.at("a")
    (data / "runs/7/log.txt").write_bytes(b"log")
    folders.publish("runs/7", without=["run/model"])
    assert folders.published("runs/7").files.keys() == {"log.txt"}  # type: ignore[union-attr]
    data = published.at("b")
    make(data, {"stale.txt": b"", "run/model/mine": b"mine"}, "runs/7")
    folders.ensure("runs/7", without=["run/model"], is_current=False)
    assert read(data / "runs/7") == {"log.txt": b"log", "run/model/mine": b"mine"}


def test_a_part_is_fetched_and_the_whole_later(published: SharedBucket) -> None:
    path = folders.ensure(FOLDER, selection=lambda name: name == "config.json")
    assert read(path).keys() == {"config.json"}
    assert read(folders.ensure(FOLDER, selection=lambda name: name == "copy.json")).keys() == {
        "config.json",
        "copy.json",
    }
    assert not folders.is_here(FOLDER)
    assert read(folders.ensure(FOLDER)) == CONTENT


def test_the_list_comes_last_and_an_interrupted_publication_leaves_none(shared_bucket: SharedBucket) -> None:
    make(shared_bucket.at("a"))

    def lost() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        folders.publish(FOLDER, before_list=lost)
    assert sorted(shared_bucket.names()) == sorted([place("config.json"), place("sub/weights.safetensors")])
    data = shared_bucket.at("b")
    assert not folders.ensure(FOLDER).exists()
    assert (folders.published(FOLDER), [path.name for path in data.iterdir()]) == (None, [".artefacts"])


def test_a_folder_that_is_published_while_it_is_read_is_read_again(published: SharedBucket) -> None:
    real, names = bucket.Bucket.download, list[str]()

    def download(self: Any, name: str, *args: Any, **values: Any) -> Any:
        names.append(name)
        if len(names) == 1:
            published.at("a")
            for each in ("config.json", "copy.json", "sub/weights.safetensors"):
                (published.folder / "a" / FOLDER / each).write_bytes(each.encode())
            folders.publish(FOLDER)
            published.at("b")
        return real(self, name, *args, **values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket.Bucket, "download", download)
        found = read(folders.ensure(FOLDER))
    assert found == {each: each.encode() for each in CONTENT}
    assert len(names) == 1 + len(CONTENT)


def test_a_folder_of_another_owner_is_left_alone(published: SharedBucket) -> None:
    assert published.get(LIST).find(b'"owner": ""') > 0  # of an older version, or of nobody in particular
    assert folders.published(FOLDER, owner="x") is not None
    published.at("a")
    folders.publish(FOLDER, owner="run 7 of 2026")
    data = published.at("b")
    assert folders.published(FOLDER, owner="run 7 of 2027") is None
    assert not folders.ensure(FOLDER, owner="run 7 of 2027").exists()
    make(data, {"config.json": b"{}"})
    before = {name: published.get(name) for name in published.names()}
    sentence = rf"holds {FOLDER} of another installation, which is not replaced\. Give each installation a bucket"
    with pytest.raises(Refused, match=sentence):
        folders.publish(FOLDER, owner="run 7 of 2027")
    folders.remove(FOLDER, owner="run 7 of 2027")
    folders.drop(FOLDER, "config.json", owner="run 7 of 2027")
    assert {name: published.get(name) for name in published.names()} == before
    folders.remove(FOLDER, owner="run 7 of 2026")
    assert published.names() == []


def test_whoever_does_not_wait_is_told_that_the_folder_is_locked(published: SharedBucket) -> None:
    with local_folders.locked(FOLDER, local_folders.silent), pytest.raises(local_folders.Busy):
        folders.ensure(FOLDER, is_current=False, waits=False)
    assert read(folders.ensure(FOLDER, waits=False)) == CONTENT


def test_folders_may_be_mounts_of_their_own(published: SharedBucket) -> None:
    """runs/ of this host is on another file system than the rest of its data folder."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == published.folder.stat().st_dev:
        pytest.skip("/dev/shm is no file system of its own here")
    with tempfile.TemporaryDirectory(dir=memory) as mount:
        (published.at("c") / "runs").symlink_to(mount)
        assert read(folders.ensure(FOLDER)) == CONTENT
        local_folders.scratch(FOLDER).mkdir()
        os.link(folders.ensure(FOLDER) / "config.json", local_folders.scratch(FOLDER) / "config.json")
        folders.publish(FOLDER)
        assert {path.name for path in (Path(mount) / "7/run").iterdir()} == {"model"}


def test_a_list_that_is_too_long_is_refused_where_it_is_made(
    published: SharedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(published.at("a"), {f"{number}": b"" for number in range(20)})
    monkeypatch.setattr(bucket, "MOST_LIST_BYTES", 500)
    with pytest.raises(Refused, match="could not be published: a list of its 23 files would be longer than 64 MB"):
        folders.publish(FOLDER)


def test_what_the_disk_has_no_room_for_is_not_fetched(published: SharedBucket) -> None:
    published.settings.HONE_RESERVED_DISK_GB = 10**6
    with pytest.raises(Refused, match=r"are to be fetched from the storage, and 0.bytes of the disk are free") as found:
        folders.ensure(FOLDER)
    assert found.value.message is not None
    assert found.value.message["values"]["needed"] == {"bytes": sum(map(len, CONTENT.values()))}
    assert not (published.folder / "b" / FOLDER).exists()


def test_a_stale_publisher_leaves_what_another_has_uploaded(published: SharedBucket) -> None:
    """Its list is the published one, and the other's is about to be written."""
    make(published.folder / "b", {"new.json": b"new"})
    real = bucket.Bucket.write

    def write(self: Any, name: str, content: bytes) -> None:
        if name == LIST:
            patch.setattr(bucket.Bucket, "write", real)
            published.at("a")
            folders.publish(FOLDER)
            published.at("b")
        real(self, name, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket.Bucket, "write", write)
        folders.publish(FOLDER)
    published.at("c")
    assert read(folders.ensure(FOLDER)) == {"new.json": b"new"}


def test_whoever_lost_the_folder_deletes_nothing_of_it(published: SharedBucket) -> None:
    published.at("a")
    (published.folder / "a" / FOLDER / "sub/weights.safetensors").unlink()
    calls = list[bool]()

    def lost_after_the_list() -> None:
        calls.append(True)
        if len(calls) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        folders.publish(FOLDER, before_list=lost_after_the_list)
    assert place("sub/weights.safetensors") in published.names()


@pytest.mark.parametrize(
    ("act", "stuck_at"),
    [
        (folders.publish, (bucket.Bucket, "upload")),
        (folders.ensure, (fetching, "copied")),
        (folders.ensure, (os, "replace")),
    ],
)
def test_a_process_killed_in_the_middle_leaves_nothing_that_looks_whole(
    shared_bucket: SharedBucket, act: Callable[[str], Any], stuck_at: tuple[Any, str]
) -> None:
    content = CONTENT | {"large": b"x" * (publishing.IN_MEMORY + 1)}
    make(shared_bucket.at("a"), content)
    if act is folders.ensure:
        folders.publish(FOLDER)
        make(shared_bucket.at("b"), {"config.json": b"{}"} if stuck_at[1] == "copied" else {})
    kill_at(stuck_at, lambda: act(FOLDER))
    if act is folders.publish:
        assert LIST not in shared_bucket.names()
        folders.publish(FOLDER)
        shared_bucket.at("b")
    elif stuck_at[1] == "replace":
        assert not (shared_bucket.folder / "b" / FOLDER).exists()
    assert read(folders.ensure(FOLDER)) == content


def kill_at(place: tuple[Any, str], act: Callable[[], Any]) -> None:
    """Do something in a process of its own, which is killed when it comes to the place."""
    reader, writer = os.pipe()

    def stuck(*args: Any, **kwargs: Any) -> None:
        os.write(writer, b"stuck")
        signal.pause()

    def go() -> None:
        setattr(*place, stuck)
        act()

    child = multiprocessing.get_context("fork").Process(target=go)
    child.start()
    os.close(writer)
    assert os.read(reader, 10) == b"stuck"
    os.close(reader)
    child.kill()
    child.join()


def test_processes_that_ensure_at_once_wait_for_each_other(
    published: SharedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads: list[str] = []
    all_wait = threading.Event()
    real = bucket.Bucket.download

    def download(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        downloads.append(name)
        assert all_wait.wait(30)
        return real(self, name, *args, **kwargs)

    beats: set[int] = set()

    def paced(heartbeat: Any) -> Any:
        def beat() -> None:
            beats.add(threading.get_ident())
            if len(beats) == 2:
                all_wait.set()

        return beat

    monkeypatch.setattr(bucket.Bucket, "download", download)
    monkeypatch.setattr(local_folders, "paced", paced)
    threads = [threading.Thread(target=folders.ensure, args=[FOLDER]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(downloads) == 3
    assert read(published.folder / "b" / FOLDER) == CONTENT


def test_removed_is_removed_and_may_be_again(published: SharedBucket) -> None:
    published.put(f"files/{FOLDER}/orphan", b"of a publication that was interrupted")
    published.put(f"files/{FOLDER}/below/of-another", b"another folder's")
    folders.remove(FOLDER)
    folders.remove(FOLDER)
    assert published.names() == [f"files/{FOLDER}/below/of-another"]
    assert not folders.ensure(FOLDER).exists()


@pytest.fixture
def use_endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets AWS_ENDPOINT_URL for the rest of a test."""

    def use(address: str) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        bucket.forget_client()

    yield use
    bucket.forget_client()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"id": "1", "is_whole": true, "files": {"a": ["x", 1, 1]}}',
        b"[" * 100_000,
        b"\xff",
        *(
            json.dumps({"id": "1", "is_whole": True, "files": {name: ["0" * 64, 1, 1]}}).encode()
            for name in (
                *("../../secret_key", "/etc/passwd", "a/../../b", ".hidden", "", "a\0b", "a//b", "a/./b"),
                *("\ud800", "x" * 256, "ä" * 128, "x/" * 2048 + "x"),
            )
        ),
        *(
            b'{"id": "1", "is_whole": true, "files": {"a": ["%s", %s]}}' % (b"0" * 64, numbers)
            for numbers in (
                b"1e999, 1",
                b"1, 1e999",
                b"-1, 1",
                b"1, -1",
                b"1, 9223372036854775808",
                b"true, 1",
                b'"1", 1',
            )
        ),
        json.dumps({"id": "1", "is_whole": True, "files": {name: ["0" * 64, 1, 1] for name in ("a", "a/b")}}).encode(),
        json.dumps({"id": "1", "is_whole": True, "files": {"a": ["١" * 64, 1, 1]}}).encode(),
    ],
)
def test_a_hostile_list_writes_nothing(published: SharedBucket, text: bytes) -> None:
    published.put(LIST, text)
    with pytest.raises(Refused, match="is damaged on the storage"):
        folders.ensure(FOLDER)
    assert not (published.folder / "b" / "runs").exists()


def test_of_an_object_that_is_larger_than_its_list_says_one_byte_more_is_read(
    published: SharedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.put(place("config.json"), b"{}" + b"x" * (3 << 20))
    real, sizes = bucket.copied, list[int]()

    def copied(*args: Any, **values: Any) -> tuple[str, int]:
        found = real(*args, **values)
        sizes.append(found[1])
        return found

    monkeypatch.setattr(bucket, "copied", copied)
    with pytest.raises(Refused, match=r"config\.json of .* is damaged on the storage"):
        folders.ensure(FOLDER)
    assert sizes == [3]


@pytest.mark.parametrize("act", [folders.publish, folders.ensure, folders.remove])
def test_what_killed_processes_left_goes(published: SharedBucket, act: Callable[[str], Any]) -> None:
    make(published.at("b"))
    room = published.folder / "b/runs/7/run"
    for name in (".model.fetching", ".model.held"):
        make(room, {"w": b"w"}, name)
    act(FOLDER)
    assert {path.name for path in room.iterdir()} == {"model"}


def test_times_before_1970_are_published_as_1970(shared_bucket: SharedBucket) -> None:
    os.utime(make(shared_bucket.at("a")) / "config.json", ns=(-5, -5))
    folders.publish(FOLDER)
    shared_bucket.at("b")
    assert (folders.ensure(FOLDER) / "config.json").stat().st_mtime_ns == 0


class TestFaults:
    def test_a_corrupted_object_is_refused_and_nothing_of_it_is_put_in_place(self, published: SharedBucket) -> None:
        published.put(place("sub/weights.safetensors"), bytes(range(256)) * 511 + bytes(256))
        sentence = (
            f"sub/weights.safetensors of {FOLDER} is damaged on the storage: its bytes are not those that were "
            "published."
        )
        with pytest.raises(Refused, match=f"^{sentence}$"):
            folders.ensure(FOLDER)
        assert read(published.folder / "b") == {f".artefacts/{FOLDER}.lock": b""}

    def test_a_missing_object_is_named(self, published: SharedBucket) -> None:
        published.client.delete_object(Bucket=published.name, Key=f"team/{place('config.json')}")
        with pytest.raises(Refused, match=rf"^The storage lacks config\.json of {FOLDER}\. Restore the bucket"):
            folders.ensure(FOLDER)

    def test_a_missing_bucket(self, published: SharedBucket) -> None:
        published.settings.HONE_ARTEFACTS = "s3://no-such-bucket/team"
        sentence = (
            "The storage s3://no-such-bucket/team has no bucket no-such-bucket. Create it, or correct HONE_ARTEFACTS."
        )
        for act in (folders.ensure, folders.remove, folders.published):
            with pytest.raises(Refused, match=f"^{sentence}$"):
                act(FOLDER)

    def test_missing_credentials(
        self, published: SharedBucket, monkeypatch: pytest.MonkeyPatch, use_endpoint: Callable[[str], None]
    ) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        use_endpoint(os.environ["AWS_ENDPOINT_URL"])
        with pytest.raises(Refused, match="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for this process"):
            folders.ensure(FOLDER)

    def test_an_endpoint_where_nobody_listens(
        self, published: SharedBucket, use_endpoint: Callable[[str], None]
    ) -> None:
        use_endpoint("http://127.0.0.1:9")
        with pytest.raises(Refused, match=r"could not be reached at http://127\.0\.0\.1:9\. Check AWS_ENDPOINT_URL"):
            folders.ensure(FOLDER)

    def test_an_endpoint_that_is_no_address(self, published: SharedBucket, use_endpoint: Callable[[str], None]) -> None:
        use_endpoint("nonsense")
        with pytest.raises(Refused, match="failed: Invalid endpoint: nonsense"):
            folders.ensure(FOLDER)

    def test_a_refused_key_and_a_failing_server(
        self,
        published: SharedBucket,
        monkeypatch: pytest.MonkeyPatch,
        use_endpoint: Callable[[str], None],
        odd_server: ThreadingHTTPServer,
    ) -> None:
        use_endpoint(f"http://127.0.0.1:{odd_server.server_port}")
        monkeypatch.setattr(bucket, "TRIES", 1)
        for status, code, sentence, kind in [
            (403, "Signature", r"refuses access \(Signature\)\. Check AWS_ACCESS_KEY_ID", bucket.StorageFault),
            (400, "Malformed", r"failed: Malformed\.", bucket.StorageFault),
            (500, "InternalError", r"failed: InternalError\.", bucket.StorageAway),
            (429, "SlowDown", r"failed: SlowDown\.", bucket.StorageAway),
        ]:
            OddServer.status, OddServer.code = status, code
            with pytest.raises(Refused, match=sentence) as caught:
                folders.ensure(FOLDER)
            assert type(caught.value) is kind

    def test_a_download_that_breaks_off_is_tried_again_and_then_refused(
        self,
        published: SharedBucket,
        use_endpoint: Callable[[str], None],
        odd_server: ThreadingHTTPServer,
        tmp_path: Path,
    ) -> None:
        use_endpoint(f"http://127.0.0.1:{odd_server.server_port}")
        OddServer.status, OddServer.asked = 200, 0
        with (tmp_path / "out").open("wb") as target, pytest.raises(Refused, match="could not be reached"):
            bucket.current().download("object", target, heartbeat=local_folders.silent)
        assert OddServer.asked == bucket.TRIES

    def test_a_server_that_hangs_is_given_up_within_a_lease(
        self, published: SharedBucket, monkeypatch: pytest.MonkeyPatch, use_endpoint: Callable[[str], None]
    ) -> None:
        pauses, tries = 3, bucket.TRIES
        assert tries * (bucket.CONNECT_SECONDS + bucket.READ_SECONDS) + pauses < 60
        monkeypatch.setattr(bucket, "READ_SECONDS", 0.05)
        monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *args: 0.0)
        with socket.create_server(("127.0.0.1", 0)) as server:
            use_endpoint(f"http://127.0.0.1:{server.getsockname()[1]}")
            with (published.folder / "out").open("wb") as target, pytest.raises(Refused, match="could not be reached"):
                bucket.current().download("object", target, heartbeat=local_folders.silent)
            server.settimeout(0.2)
            asked = 0
            with suppress(TimeoutError):
                while True:
                    server.accept()[0].close()
                    asked += 1
        assert asked == tries


class OddServer(BaseHTTPRequestHandler):
    """Replies with an error, or with less than it announces."""

    status, code, asked = 200, "", 0

    def do_GET(self) -> None:
        type(self).asked += 1
        text = f"<Error><Code>{self.code}</Code></Error>".encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(text) + (100 if self.status == 200 else 0)))
        self.end_headers()
        self.wfile.write(text)
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def odd_server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), OddServer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_probe_leaves_nothing(shared_bucket: SharedBucket) -> None:
    folders.probe()
    assert shared_bucket.names() == []


@pytest.fixture
def while_uploaded(
    shared_bucket: SharedBucket, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Path], Any]], Path]:
    """Does something to a large file of a folder of `a` whenever its upload begins."""
    folder = make(shared_bucket.at("a"), {"large": b"x" * (publishing.IN_MEMORY + 10)})
    real = bucket.Bucket.upload

    def use(act: Callable[[Path], Any]) -> Path:
        def upload(self: Any, name: str, source: Any) -> None:
            act(folder / "large")
            real(self, name, source)

        monkeypatch.setattr(bucket.Bucket, "upload", upload)
        return folder

    return use


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"y")


def test_a_file_that_grows_is_published_as_it_was(
    shared_bucket: SharedBucket, while_uploaded: Callable[[Callable[[Path], Any]], Path]
) -> None:
    folder = while_uploaded(append)
    for _time in range(2):
        folders.publish(FOLDER)
    assert (folder / "large").read_bytes() == b"x" * (publishing.IN_MEMORY + 10) + b"yy"
    shared_bucket.at("b")
    assert read(folders.ensure(FOLDER))["large"] == b"x" * (publishing.IN_MEMORY + 10) + b"y"


@pytest.mark.parametrize(
    "act",
    [
        lambda path: os.truncate(path, path.stat().st_size - 1),
        lambda path: path.write_bytes(os.urandom(path.stat().st_size)),
    ],
)
def test_a_file_that_changes_otherwise_leaves_no_object(
    shared_bucket: SharedBucket, while_uploaded: Callable[[Callable[[Path], Any]], Path], act: Callable[[Path], Any]
) -> None:
    while_uploaded(act)
    with pytest.raises(Refused, match="its files changed while they were being read"):
        folders.publish(FOLDER)
    assert shared_bucket.names() == []


def test_a_dropped_file_goes_alone(published: SharedBucket) -> None:
    folders.drop(FOLDER, "config.json")
    folders.drop(FOLDER, "config.json")
    assert read(folders.ensure(FOLDER)).keys() == {
        "copy.json",
        "sub/weights.safetensors",
    }  # the copy has the same bytes
    folders.drop(FOLDER, "copy.json")
    assert folders.sizes_below("runs") == {FOLDER: len(CONTENT["sub/weights.safetensors"])}
