"""An HTTP server that is part of the tests' own process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer


@contextmanager
def serving(server: BaseServer, *, gate: threading.Event) -> Iterator[None]:
    """Within it the server answers. `gate`: what its replies may be waiting for, opened at the end."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
