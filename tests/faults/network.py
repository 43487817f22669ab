"""Hosts on one bridge, each in namespaces of its own: network, processes, host name, mounts.

A host is what another machine is to Hone: process ids mean nothing elsewhere, names resolve by its own /etc/hosts, its
temporary files are its own, and the network can be taken away. What hosts share is the disk, as by NFS.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.database import Unavailable, ip

PREFIX_LENGTH = 24
READY_SECONDS = 10.0
BEGIN = (
    'hostname "$1" && mount --make-rprivate / && mount --bind "$2" /etc/hosts && echo ready > "$3" && exec sleep inf'
)
"""The first process of a host: the others go with it."""


class Network:
    """A bridge with the address `address`, where servers of all hosts listen. Raises Unavailable."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        if os.geteuid() != 0:
            raise Unavailable("Only root may make network namespaces.")
        number = os.getpid()
        self.bridge = f"hb{number}"
        within = f"10.213.{8 + number % 240}"
        self.address, self.clients = f"{within}.1", f"{within}.0/{PREFIX_LENGTH}"
        self.hosts: dict[str, Host] = {}
        addresses = {name: f"{within}.{place}" for place, name in enumerate(names, start=2)}
        try:
            ip("link", "add", self.bridge, "type", "bridge")
            ip("addr", "add", f"{self.address}/{PREFIX_LENGTH}", "dev", self.bridge)
            ip("link", "set", self.bridge, "up")
            for name in names:
                self.hosts[name] = Host(name, addresses, bridge=self.bridge, folder=folder / name)
        except (OSError, subprocess.CalledProcessError) as error:
            self.stop()
            raise Unavailable(f"This machine makes no network namespaces ({error}).") from None

    def stop(self) -> None:
        for host in self.hosts.values():
            host.stop()
        ip("link", "del", self.bridge, check=False)


class Host:
    """A machine: `start` runs programs on it, `cut` and `heal` are its network, `kill` is a power failure."""

    def __init__(self, name: str, addresses: Mapping[str, str], *, bridge: str, folder: Path) -> None:
        self.name, self.address, self.folder = name, addresses[name], folder
        self.space, self.link, self.bridge = f"hone-{name}-{os.getpid()}", f"hv{os.getpid()}{name[-1]}", bridge
        (folder / "tmp").mkdir(parents=True)
        known = folder / "hosts"
        lines = ["127.0.0.1 localhost", *(f"{address} {other}" for other, address in addresses.items())]
        known.write_text("\n".join(lines) + "\n", encoding="ascii")
        ip("netns", "add", self.space)
        ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        ip("link", "set", self.link, "master", bridge, "up")
        ip("-n", self.space, "addr", "add", f"{self.address}/{PREFIX_LENGTH}", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", self.space, "link", "set", device, "up")
        ready = folder / "ready"
        spaces = ["unshare", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._outside = subprocess.Popen(
            ["ip", "netns", "exec", self.space, *spaces, "sh", "-c", BEGIN, "sh", name, str(known), str(ready)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # unshare's own, at the end of the host
        )
        until = time.monotonic() + READY_SECONDS
        while not ready.exists():
            if self._outside.poll() is not None or time.monotonic() > until:
                raise OSError(f"the host {name} isn't up")
            time.sleep(0.01)
        (child,) = Path(f"/proc/{self._outside.pid}/task/{self._outside.pid}/children").read_text().split()
        self._first = int(child)
        self._processes_space = os.readlink(f"/proc/{self._first}/ns/pid")

    def start(
        self, command: Sequence[str], *, environment: Mapping[str, str], log: Path, folder: Path
    ) -> "subprocess.Popen[bytes]":
        """Run a program on this host. The returned process is its parent outside, which has the program's status."""
        enter = ["nsenter", f"--target={self._first}", "--uts", "--ipc", "--mount", "--pid", "--net", f"--wd={folder}"]
        with log.open("ab") as output:
            return subprocess.Popen(
                [*enter, "--", *command],
                env={**environment, "TMPDIR": str(self.folder / "tmp")},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Not of the caller's session: its signals are no other machine's.
                start_new_session=True,
            )

    def processes(self) -> list[int]:
        """Those that run on it, beside the first, by their ids outside."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                is_here = os.readlink(entry / "ns/pid") == self._processes_space
                if is_here and state not in "ZX" and int(entry.name) != self._first:
                    found.append(int(entry.name))
        return found

    def cut(self) -> None:
        """Take its cable out of the bridge: packets are lost, and neither side is told."""
        ip("link", "set", self.link, "nomaster")

    def heal(self) -> None:
        ip("link", "set", self.link, "master", self.bridge)

    def kill(self) -> None:
        """The network first, so that nobody hears of it; then every process at once."""
        self.cut()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._first, signal.SIGKILL)
        self._outside.wait(READY_SECONDS)

    def stop(self) -> None:
        if self._outside.poll() is None:
            self.kill()
        ip("netns", "del", self.space, check=False)
        ip("link", "del", self.link, check=False)
