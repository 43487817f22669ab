"""A port of this machine that nothing listens on: for conftest, and for commands that stand outside pytest."""

import socket


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
