"""A session over HTTP: cookies, forms, and how long each request took."""

import http.client
import re
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from statistics import quantiles
from urllib.parse import urlencode

TIMEOUT_SECONDS = 70.0
UPLOAD_SECONDS = 3_600.0
NO_REPLY = 0
"""The status of a request that ended without a reply."""
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


@dataclass
class Times:
    """Seconds and statuses of requests by kind, of all threads."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: dict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, status: int, seconds: float) -> None:
        with self.lock:
            self.seconds[kind].append(seconds)
            self.statuses[kind][status] += 1

    def forget(self) -> None:
        with self.lock:
            self.seconds.clear()
            self.statuses.clear()

    def together(self) -> list[float]:
        """Of all kinds of requests."""
        with self.lock:
            return [seconds for kind in self.seconds.values() for seconds in kind]

    def table(self) -> list[str]:
        """A line for each kind of request, in milliseconds."""
        lines = [f"{'':<28}{'requests':>9}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}  statuses (0: no reply)"]
        for kind, seconds in sorted(self.seconds.items()):
            cuts = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
            figures = "".join(f"{1000 * value:>8.0f}" for value in (cuts[49], cuts[94], cuts[98], max(seconds)))
            statuses = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses[kind].items()))
            lines.append(f"{kind:<28}{len(seconds):>9}{figures}  {statuses}")
        return lines


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    text: str


class Browser:
    """One person's, at an address of their own on the loopback network. A request without a reply has status 0."""

    def __init__(self, port: int, times: Times, *, number: int = 1) -> None:
        self.port, self.times = port, times
        self.source = f"127.0.{1 + number // 250}.{1 + number % 250}"
        self.cookies: dict[str, str] = {}
        self.timeout = TIMEOUT_SECONDS
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str, kind: str, *, script: bool = False) -> Reply:
        return self._request("GET", path, kind, body=b"", script=script)

    def post(self, path: str, fields: dict[str, str], kind: str, *, script: bool = False) -> Reply:
        body = urlencode({"csrfmiddlewaretoken": self.cookies.get("csrftoken", ""), **fields}).encode()
        return self._request("POST", path, kind, body=body, script=script)

    def upload(self, path: str, name: str, content: bytes, fields: dict[str, str], kind: str) -> Reply:
        """Post a form with a file in the field `file`."""
        edge = "edge-of-a-part"
        fields = {"csrfmiddlewaretoken": self.cookies.get("csrftoken", ""), **fields}
        heads = "".join(
            f'--{edge}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in fields.items()
        )
        heads += f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        body = heads.encode() + content + f"\r\n--{edge}--\r\n".encode()
        self.close()
        self.timeout = UPLOAD_SECONDS
        return self._request("POST", path, kind, body=body, content_type=f"multipart/form-data; boundary={edge}")

    def sign_in(self, name: str, password: str) -> Reply:
        page = "/accounts/login/"
        token = TOKEN.search(self.get(page, "sign-in page").text)
        fields = {"login": name, "password": password, "csrfmiddlewaretoken": token[1] if token else ""}
        return self.post(page, fields, "sign-in")

    def _request(
        self,
        method: str,
        path: str,
        kind: str,
        *,
        body: bytes,
        script: bool = False,
        content_type: str = "application/x-www-form-urlencoded",
    ) -> Reply:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        headers |= {"Content-Type": content_type} if method == "POST" else {}
        headers |= {"HX-Request": "true"} if script else {}
        began = time.perf_counter()
        reply = self._reply(method, path, body, headers)
        if reply.status == NO_REPLY and time.perf_counter() - began < 0.5:
            # The server closed a connection that was idle just as it was used: every browser sends again.
            reply = self._reply(method, path, body, headers)
        self.times.add(kind, reply.status, time.perf_counter() - began)
        return reply

    def _reply(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(
                    "127.0.0.1", self.port, timeout=self.timeout, source_address=(self.source, 0)
                )
            self._connection.request(method, path, body or None, headers)
            response = self._connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException):
            self.close()
            return Reply(status=NO_REPLY, headers={}, text="")
        for line in response.headers.get_all("Set-Cookie") or []:
            name, _, rest = line.partition("=")
            self.cookies[name] = rest.partition(";")[0]
        if response.will_close:
            self.close()
        return Reply(status=response.status, headers=dict(response.headers), text=text)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
