import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from benchmarks import data_files
from tests.conftest import ROOT


@pytest.mark.long
@pytest.mark.any_database
def test_the_last_line_has_the_figures_of_exports_import_and_pages() -> None:
    size = ["--rankings", "60", "--prompts", "40", "--idle-seconds", "0.5"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "data", *size], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    figures = json.loads(done.stdout.rstrip("\n").split("\n")[-1])
    assert (figures["rankings"], figures["database"]) == (60, "sqlite")
    assert [figures[name]["rows"] for name in ("parquet", "hone", "import")] == [60, 60, 40]
    assert figures["import"]["created"] == 40
    assert min(figures[name]["seconds"] for name in ("parquet", "hone", "import")) > 0


def test_a_peer_is_timed_on_its_own_export() -> None:
    """What a Label Studio is asked, by a server that keeps what it is given: its first export is not timed."""
    kept: list[dict[str, Any]] = []
    seen: list[tuple[str, str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.append((self.command, self.path, self.headers["Authorization"]))
            found: Any = {"id": 7}
            if self.path.endswith("/import"):
                kept.extend(json.loads(body))
            elif "/export" in self.path:
                found = kept
            content = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = reply  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    tasks = [{"data": {"prompt": str(number)}} for number in range(1_500)]
    try:
        found = data_files.of_peer(f"http://127.0.0.1:{server.server_port}/", "secret", tasks)
    finally:
        server.shutdown()
        server.server_close()
    assert (found["rows"], kept) == (1_500, tasks)
    assert seen == [
        ("POST", "/api/projects", "Token secret"),
        ("POST", "/api/projects/7/import", "Token secret"),
        ("POST", "/api/projects/7/import", "Token secret"),
        ("GET", "/api/projects/7/export?exportType=JSON", "Token secret"),
        ("GET", "/api/projects/7/export?exportType=JSON", "Token secret"),
    ]
