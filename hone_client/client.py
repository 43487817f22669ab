"""Hone and its projects: what is listed, read and imported. Exports, tasks and runs are in labeling.py,
adjudication and the exam in reviewing.py."""

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from hone_client.records import Import, Listed, ProjectRecord
from hone_client.reviewing import Reviewing
from hone_client.tables import to_pandas
from hone_client.transport import HoneError, Transport

if TYPE_CHECKING:
    import pandas

PAGE = 200
MOST_ROWS, MOST_BYTES = 5_000, 1_500_000
"""Of one request of an import."""
POLL_SECONDS = 1.0


class Hone:
    """One Hone, as the person whose token it is."""

    def __init__(self, url: str, token: str, *, timeout: float = 60.0) -> None:
        self.transport = Transport(url, token, timeout=timeout)

    def __repr__(self) -> str:
        return f"Hone({self.transport.url!r})"

    def me(self) -> dict[str, Any]:
        """The person, and the token's name, scopes and expiry."""
        found: dict[str, Any] = self.transport.call("GET", "/me")
        return found

    def projects(self) -> Iterator[ProjectRecord]:
        return cast(Iterator[ProjectRecord], pages(self.transport, "/projects", {}))

    def project(self, slug: str) -> "Project":
        return Project(self.transport, slug)


class Project(Reviewing):
    """A project by its slug. Nothing is asked for before a method is called."""

    def __repr__(self) -> str:
        return f"Project({self.slug!r})"

    def read(self) -> ProjectRecord:
        return cast(ProjectRecord, self.call("GET", ""))

    def guidelines(self) -> str:
        """Markdown."""
        return str(self.call("GET", "/guidelines")["text"])

    def figures(self) -> dict[str, Any] | None:
        """Counts; None while a large project hasn't been counted yet."""
        found: dict[str, Any] | None = self.call("GET", "/figures")
        return found

    def rows(self, what: Listed, **filters: Any) -> Iterator[dict[str, Any]]:
        """Every row, the newest first; pages are asked for as they are needed. Filters are those of the API."""
        return pages(self.transport, f"{self.path}/{what}", filters)

    def responses_to(self, prompt: int) -> Iterator[dict[str, Any]]:
        return pages(self.transport, f"{self.path}/prompts/{prompt}/responses", {})

    def metrics(self, run: int, name: str = "") -> Iterator[dict[str, Any]]:
        return pages(self.transport, f"{self.path}/runs/{run}/metrics", {"name": name})

    def to_pandas(self, what: Listed, **filters: Any) -> "pandas.DataFrame":
        """A list as a table."""
        return to_pandas(self.rows(what, **filters))

    def import_rows(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        format: str = "hone",
        key: str = "",
        dry_run: bool = False,
        **options: Any,
    ) -> list[Import]:
        """Import any number of rows in several requests; each is all or nothing. Raises HoneError for broken rows.

        key: with the same one, the same rows sent again bring nothing, even after the client has died half-way.
        options: `language`, `keep_tools` and `columns` as the API has them.
        """
        key = key or str(uuid.uuid4())
        wanted = {"format": format, "dry_run": dry_run, **options}
        return [
            self._import({"rows": batch, **wanted}, "" if dry_run else f"{key}-{number}")
            for number, batch in enumerate(_batches(rows))
        ]

    def rejected_rows(self, imported: Import) -> list[dict[str, Any]]:
        """The rows of an import that were not taken, each as `place`, `reason` and `row`."""
        report = imported["report"]
        if report is None or not report["rejected"]:
            return []
        with self.transport.opened("GET", f"{self.path}/imports/rejected/{report['rejected']}") as reply:
            return [json.loads(line) for line in reply]

    def _import(self, body: dict[str, Any], key: str) -> Import:
        found = self.call("POST", "/imports", body=body, key=key)
        while found["state"] in ("waiting", "working"):
            time.sleep(POLL_SECONDS)
            found = self.call("GET", f"/imports/{found['id']}")
        if found["state"] != "done":
            raise HoneError(422, found["summary"] or found["state"])
        return cast(Import, found)


def pages(transport: Transport, path: str, filters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    cursor = ""
    while True:
        page = transport.call("GET", path, query={"limit": PAGE, **filters, "cursor": cursor})
        yield from page["items"]
        if page["next"] is None:
            return
        cursor = page["next"]


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    batch: list[Mapping[str, Any]] = []
    size = 0
    for row in rows:
        length = len(json.dumps(row))
        if batch and (len(batch) == MOST_ROWS or size + length > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += length
    if batch:
        yield batch
