"""One signed POST to a webhook.

The body is signed with the time, so that an old request can't be sent again by somebody who has seen it:
X-Hone-Signature is "sha256=" and the HMAC-SHA256 of "TIMESTAMP.BODY" in hexadecimal digits, X-Hone-Timestamp that time.

Nobody may make this machine ask its own network (SSRF): the name is looked up here, every address of it must be public
unless HONE_PRIVATE_WEBHOOKS allows others, and the connection goes to the very address that was checked. Redirections
are not followed.

A receiver has SECONDS for the whole exchange, however it spends them: a socket's own timeout begins anew with every
byte, so a timer shuts the connection down.
"""

import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Thread, Timer
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from annotate.data.stored_messages import StoredMessage

SECONDS = 10.0
"""Of a whole exchange, from looking up the name to the end of the reply's headers."""
MOST_ADDRESSES = 20
EMBEDDED_IPV4 = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::/96", "::ffff:0:0/96", "::ffff:0:0:0/96")))
"""NAT64, IPv4-compatible, IPv4-mapped and SIIT: the last 32 bits are an IPv4 address that a gateway may pass on to."""
LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
"""In which the operator of a network chooses where the IPv4 address stands."""
OF_CLOUDS = frozenset({ipaddress.IPv4Address("168.63.129.16")})
"""Public by number, but inside: Azure's host of each virtual machine."""


class NotDelivered(Exception):
    """Why, as a stored message."""

    def __init__(self, code: str, **values: object) -> None:
        super().__init__(code)
        self.message = StoredMessage(code, values)


def key_of(salt: str) -> str:
    """The key that a target's requests are signed with: made from the site's secret key, so that no row holds it."""
    return hmac.new(settings.SECRET_KEY.encode(), f"webhook:{salt}".encode(), hashlib.sha256).hexdigest()


def signature(key: str, *, timestamp: int, body: bytes) -> str:
    digest = hmac.new(key.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"sha256={digest}"


def post(url: str, body: bytes, *, key: str, headers: Mapping[str, str]) -> int:
    """Send; returns the status, which is a success (2xx). Raises NotDelivered."""
    parts = split(url)
    deadline = time.monotonic() + SECONDS
    address = _address(parts, deadline)
    timestamp = int(time.time())
    sent = {
        "Content-Type": "application/json",
        "User-Agent": "Hone",
        "X-Hone-Timestamp": str(timestamp),
        "X-Hone-Signature": signature(key, timestamp=timestamp, body=body),
        **headers,
    }
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(parts.hostname or "", address[1], timeout=SECONDS)
    try:
        with _connected(address, deadline) as plain:
            connection.sock = _secured(plain, parts)
            connection.request("POST", target, body, sent)
            status = connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NotDelivered("webhook_unreachable", error=_reason(error)) from None
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise NotDelivered("webhook_refused", status=status)
    return status


def split(url: str) -> SplitResult:
    """The parts of an http or https address. Raises NotDelivered."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise NotDelivered("webhook_address") from None
    if parts.scheme not in ("http", "https") or not host or parts.username or port == 0 or not url.isascii():
        raise NotDelivered("webhook_address")
    if any(ord(character) <= 32 for character in url):
        raise NotDelivered("webhook_address")
    return parts


def _address(parts: SplitResult, deadline: float) -> tuple[str, int]:
    """(IP address, port) that was checked. Raises NotDelivered."""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = _looked_up(parts.hostname or "", port, deadline)[:MOST_ADDRESSES]
    except (OSError, UnicodeError) as error:
        raise NotDelivered("webhook_unreachable", error=_reason(error)) from None
    addresses = [str(each[4][0]).partition("%")[0] for each in found]
    if not settings.HONE_PRIVATE_WEBHOOKS and not all(map(is_public, addresses)):
        raise NotDelivered("webhook_private")
    return addresses[0], port


def _looked_up(host: str, port: int, deadline: float) -> list[Any]:
    """What getaddrinfo finds, which takes no timeout: a name server of the receiver's may be slow too."""
    found: list[Any] = []

    def look() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    thread = Thread(target=look, daemon=True)
    thread.start()
    thread.join(max(0.0, deadline - time.monotonic()))
    result = found[0] if found else TimeoutError(_late())
    if isinstance(result, Exception):
        raise result
    return list(result)


def is_public(address: str) -> bool:
    """Whether an IP address is anybody's on the Internet: not of this machine, a private network, or a group."""
    parsed = ipaddress.ip_address(address)
    if not parsed.is_global or parsed.is_multicast or parsed in OF_CLOUDS:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return True
    inner = parsed.sixtofour
    if any(parsed in network for network in EMBEDDED_IPV4):
        inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
    return not parsed.is_site_local and parsed not in LOCAL_NAT64 and (inner is None or is_public(str(inner)))


@contextmanager
def _connected(address: tuple[str, int], deadline: float) -> Iterator[socket.socket]:
    """A connection that is shut down at the deadline, so that whatever waits for it ends. Raises TimeoutError then."""
    plain = socket.create_connection(address, timeout=max(0.1, deadline - time.monotonic()))
    held, is_late = plain.dup(), Event()  # TLS takes `plain` over

    def shut() -> None:
        is_late.set()
        with suppress(OSError):  # the receiver was faster
            held.shutdown(socket.SHUT_RDWR)

    timer = Timer(max(0.0, deadline - time.monotonic()), shut)
    timer.daemon = True
    timer.start()
    try:
        yield plain
    except (OSError, ValueError, http.client.HTTPException):
        if not is_late.is_set():
            raise
    finally:
        timer.cancel()
        timer.join()
        held.close()
        plain.close()
    # Headers that were cut off look complete.
    if is_late.is_set():
        raise TimeoutError(_late())


def _secured(plain: socket.socket, parts: SplitResult) -> socket.socket:
    """Under the name that certificate and Host header are for."""
    if parts.scheme != "https":
        return plain
    return ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname)


def _late() -> str:
    return f"no complete reply within {SECONDS:g} s"


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):  # of a step, which may be noticed before the deadline of all of them
        return _late()
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]
