"""The container files, as far as a machine without containers can tell: what they start comes up."""

import fnmatch
import os
import re
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings

from config.celery import app
from tests.config.deployment.compose import COMPOSE, DOCKER, OURS, dockerfile, documented_variables, start_command
from tests.conftest import ROOT, end, free_port, wait_until
from tests.harness.machine import find_nginx


@pytest.fixture
def environment(embedded_broker: Path, process_environment: dict[str, str]) -> dict[str, str]:
    """The services' variables, with this machine's database, broker and folder in the place of the containers'.

    The broker is empty: what an earlier test sent would be begun, and looked for in a database that it has gone from.
    """
    app.control.purge()
    return process_environment | {
        "REDIS_URL": settings.CELERY_BROKER_URL,
        "HONE_PORT": str(free_port()),
        "HONE_HTTPS": "0",
        "HONE_PROXIES": "0",
    }


def run_to_its_end(name: str, environment: dict[str, str]) -> None:
    finished = subprocess.run(start_command(name), cwd=ROOT, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_every_service_is_tried_below() -> None:
    assert set(OURS) == {"prepare", "model", "web", "beat", "worker-default", "worker-cpu", "worker-live"}


def test_services_set_only_variables_that_exist() -> None:
    documented = documented_variables()
    for service in OURS.values():
        assert set(service["environment"]) <= documented
        assert set(re.findall(r"(HONE_[A-Z_]+)=", dockerfile(service))) <= documented


def test_the_web_image_has_no_torch_and_both_run_without_roots_rights() -> None:
    web, worker = dockerfile(OURS["web"]), dockerfile(OURS["worker-cpu"])
    assert "install.py train" not in web
    assert "install.py train,cpu-kernels,s3 " in worker
    for text in (web, worker):
        assert text.index("USER 1000") < text.index("\nCMD ")


def test_what_images_copy_exists() -> None:
    for service in OURS.values():
        for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile(service), re.M):
            for source in sources.split():
                assert (ROOT / source).exists(), source


def test_prepare_and_model_come_to_their_end(environment: dict[str, str], tmp_path: Path) -> None:
    # A model that is there already: the fetch itself needs a package index.
    ready = tmp_path / "models" / "smollm2-135m-instruct"
    ready.mkdir(parents=True)
    (ready / "config.json").write_text("{}")
    environment = environment | {"HONE_DATA": str(tmp_path)}
    run_to_its_end("prepare", environment)
    assert (tmp_path / "static" / "staticfiles.json").exists()
    run_to_its_end("model", environment)


def test_web_comes_up(environment: dict[str, str]) -> None:
    run_to_its_end("prepare", environment)
    process = subprocess.Popen(start_command("web"), cwd=ROOT, env=environment)
    address = f"http://127.0.0.1:{environment['HONE_PORT']}"

    def is_up() -> bool:
        assert process.poll() is None
        try:
            with urllib.request.urlopen(address + "/healthz", timeout=5) as reply:
                return bool(reply.read() == b"ok\n")
        except OSError:  # refused, or too slow on a machine that has much to do
            return False

    try:
        wait_until(is_up, what="the web process")
        with urllib.request.urlopen(address + "/accounts/login/", timeout=30) as page:
            assert b'name="login"' in page.read()
            assert "default-src 'none'" in page.headers["Content-Security-Policy"].split("; ")
    finally:
        end(process)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def proxied(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Callable[[Path], None]
) -> Iterator[tuple[int, Path]]:
    """The port of nginx, with compose's own configuration, before a web process; and the log of that."""
    if (nginx := find_nginx()) is None:
        pytest.skip("nginx isn't installed (python -m tests.harness.machine)")
    data = tmp_path_factory.mktemp("proxied")
    migrated_sqlite(data)
    environment = {key: value for key, value in os.environ.items() if key not in ("DATABASE_URL", "REDIS_URL")} | {
        "HONE_DATA": str(data),
        "HONE_PORT": str(free_port()),
        "HONE_PROXIES": "1",
    }
    run_to_its_end("prepare", environment)
    port, log, folder = free_port(), data / "web.log", data / "nginx"
    folder.mkdir()
    server = (DOCKER / "nginx.conf").read_text(encoding="utf-8")
    assert server.count("web:8000") == server.count("listen 8080;") == 1
    server = server.replace("web:8000", f"127.0.0.1:{environment['HONE_PORT']}")
    server = server.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; user root; events {{}}\n"
        f"http {{ access_log off; {paths}\n{server} }}\n"
    )
    command = [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    subprocess.run([*command, "-t"], check=True, capture_output=True)
    with log.open("wb") as output:
        web = subprocess.Popen(start_command("web"), cwd=ROOT, env=environment, stdout=output, stderr=output)
    proxy = subprocess.Popen(command)

    def is_up() -> bool:
        assert web.poll() is None, log.read_text()
        assert proxy.poll() is None, (folder / "error.log").read_text()
        try:
            return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).read() == b"ok\n")
        except OSError:
            return False

    try:
        wait_until(is_up, what="the web process behind nginx")
        yield port, log
    finally:
        end(proxy)
        end(web)


def test_the_proxy_passes_pages_and_addresses_on(proxied: tuple[int, Path]) -> None:
    port, log = proxied
    page = f"http://127.0.0.1:{port}/accounts/login/"
    request = urllib.request.Request(page, headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.7"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        assert b'name="login"' in reply.read()
    wait_until(lambda: "127.0.0.1 GET /accounts/login/ 200" in log.read_text(), what="the line in the access log")
    assert "6.6.6.6" not in log.read_text()


@pytest.mark.parametrize("path", ["/accounts/login/", "/no/such/page", "/p/kindness/prompts/import"])
def test_the_proxy_keeps_large_bodies_out(proxied: tuple[int, Path], path: str) -> None:
    port, _ = proxied
    length = 500 * 2**20
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode() + b"x" * 50_000)
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_forty_slow_clients_of_the_proxy_keep_nobody_waiting(proxied: tuple[int, Path]) -> None:
    port, _ = proxied
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
    try:
        for client in slow:
            client.sendall(b"POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\nlogin=")
        for _ in range(5):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/accounts/login/", timeout=10) as reply:
                assert reply.status == 200
    finally:
        for client in slow:
            client.close()


def test_web_is_reached_through_the_proxy_alone() -> None:
    published = {name for name, service in COMPOSE["services"].items() if "ports" in service}
    assert published == {"proxy"}
    assert OURS["web"]["environment"]["HONE_PROXIES"] == "${HONE_PROXIES:-1}"


def is_left_out(path: str) -> bool:
    """Whether .dockerignore keeps a file out of the images, by the last pattern that matches it, or a folder of it."""
    left_out = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern, keeps = line.lstrip("!"), line.startswith("!")
        words = [re.escape(word) if word == "**" else fnmatch.translate(word)[4:-3] for word in pattern.split("/")]
        expression = "/".join(words).replace(re.escape("**") + "/", "(?:[^/]+/)*").replace(".*", "[^/]*")
        if re.fullmatch(f"(?:{expression})(?:/.*)?", path):
            left_out = not keeps
    return left_out


def test_no_secret_is_copied_into_an_image() -> None:
    secrets = ["docker/.env", ".env", "docker/.env.production", "a/b/site.env", "var/secret_key", "data/hone.sqlite3"]
    secrets += [
        "certificates/site.key",
        "docker/site.pem",
        "hone.sqlite3-wal",
        "id_ed25519",
        "secrets/database",
        "a/.ssh/x",
    ]
    assert [path for path in secrets if not is_left_out(path)] == []
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    kept = [path for path in tracked if path and not is_left_out(path)]
    missing = set(filter(None, tracked)) - set(kept)
    assert missing == set()
    assert "static/package-lock.json" in kept


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        pytest.param("beat", "beat: Starting...", marks=pytest.mark.any_database),
        ("worker-default", " ready."),
        pytest.param("worker-cpu", " ready.", marks=pytest.mark.any_database),
        pytest.param("worker-live", " ready.", marks=pytest.mark.any_database),
    ],
)
def test_celery_comes_up(environment: dict[str, str], tmp_path: Path, name: str, sign: str) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(start_command(name), cwd=ROOT, env=environment, stdout=output, stderr=output)

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        return sign in log.read_text()

    try:
        wait_until(is_up, what=name)
    finally:
        end(process)
    assert process.returncode == 0, log.read_text()
