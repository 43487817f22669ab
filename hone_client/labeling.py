"""A project's exports, a labeler's tasks and chats, and runs."""

import hashlib
import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from hone_client.records import Chat, ChatAction, NextTask, Run, Snapshot, Submitted, Task
from hone_client.tables import to_dataset
from hone_client.transport import Form, HoneError, Transport

if TYPE_CHECKING:
    import datasets

POLL_SECONDS = 0.5
CHAT_POLL_SECONDS = 1.0
CHUNK = 2**20
ENDED = frozenset({"succeeded", "failed", "cancelled"})


class Work:
    """What a project's people and jobs do."""

    def __init__(self, transport: Transport, slug: str) -> None:
        self.transport, self.slug = transport, slug
        self.path = f"/projects/{quote(slug, safe='')}"

    def call(self, method: str, path: str, **values: Any) -> Any:
        """One request below the project's address. Raises HoneError."""
        return self.transport.call(method, self.path + path, **values)

    # ---- exports ----------------------------------------------------------------------------------------------------

    def export(
        self,
        kind: str,
        *,
        format: str = "hone",
        filters: Mapping[str, Any] | None = None,
        tie_policy: str = "keep",
        aggregation: str = "raw",
        key: str = "",
    ) -> Snapshot:
        """Ask for a snapshot and wait until it is ready. Raises HoneError where it fails."""
        body = {"kind": kind, "format": format, "filters": dict(filters or {})}
        body |= {"tie_policy": tie_policy, "aggregation": aggregation}
        found = self.call("POST", "/snapshots", body=body, key=key or str(uuid.uuid4()))
        while found["state"] in ("pending", "building"):
            time.sleep(POLL_SECONDS)
            found = self.call("GET", f"/snapshots/{found['id']}")
        if found["state"] != "ready":
            raise HoneError(409, found["error"] or found["state"])
        return cast(Snapshot, found)

    def download(self, snapshot: Snapshot, folder: str | Path) -> list[Path]:
        """Every file of a snapshot, checked by its hash. Raises ValueError for one that came otherwise."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for file in snapshot["files"]:
            path = folder / Path(file["name"]).name
            digest = hashlib.sha256()
            address = f"{self.path}/snapshots/{snapshot['id']}/files/{quote(file['name'], safe='')}"
            with self.transport.opened("GET", address) as reply, path.open("wb") as out:
                while chunk := reply.read(CHUNK):
                    digest.update(chunk)
                    out.write(chunk)
            if digest.hexdigest() != file["sha256"]:
                path.unlink()
                raise ValueError(f"{file['name']} came with another hash than the snapshot's")
            written.append(path)
        return written

    def to_dataset(self, kind: str, **wanted: Any) -> "datasets.DatasetDict":
        """A new export in Hugging Face's `datasets`, a split each."""
        with TemporaryDirectory() as folder:
            return to_dataset(self.download(self.export(kind, **wanted), folder))

    # ---- tasks ------------------------------------------------------------------------------------------------------

    def next_task(self) -> Task | None:
        """The labeler's current task; None where there is none."""
        return self.next_or_reason()["task"]

    def next_or_reason(self) -> NextTask:
        """The labeler's current task, or why there is none."""
        return cast(NextTask, self.call("POST", "/work/next"))

    def save_draft(self, task: Task, **fields: Any) -> dict[str, Any]:
        """Keep what was entered so far. Fields are those of `submit`, and `version`, `base`, `page`."""
        found: dict[str, Any] = self.call("PUT", f"/work/{task['id']}/draft", body=fields)
        return found

    def submit(self, task: Task, **fields: Any) -> Submitted:
        """Hand a task in: `ranks={key: 1, …}` of a comparison, `fields={"text": …}` of a demonstration.

        The same task handed in again counts once. `next=True` gives the next task with the reply.
        """
        body = {"client_id": task["client_id"], **fields}
        if task["rubric"] is not None:
            body.setdefault("rubric", task["rubric"]["id"])
        return cast(Submitted, self.call("POST", f"/work/{task['id']}/submit", body=body))

    def skip(self, task: Task, reason: str = "", note: str = "") -> None:
        self.call("POST", f"/work/{task['id']}/skip", body={"reason": reason, "note": note})

    def undo(self, task: Task) -> Task:
        """Take back what was submitted or skipped a moment ago: the task is the current one again."""
        return cast(Task, self.call("POST", f"/work/{task['id']}/undo"))

    # ---- chats ------------------------------------------------------------------------------------------------------

    def chat(self, task: Task) -> Chat:
        """How far a chat is, and the responses that a model offers."""
        return cast(Chat, self.call("GET", f"/work/{task['id']}/chat"))

    def continue_chat(
        self,
        task: Task,
        action: ChatAction,
        *,
        after: int,
        text: str = "",
        response: str = "",
        instead_of: int | None = None,
    ) -> Chat:
        """One action in a chat that had `after` turns: `say` or `write` a text, `choose` a response by its key, `ask`
        the model for responses, `take_back` the last turn. Sent again it counts once."""
        body = {"action": action, "after": after, "text": text, "response": response, "instead_of": instead_of}
        return cast(Chat, self.call("POST", f"/work/{task['id']}/chat", body=body))

    def wait_for_responses(self, task: Task, *, seconds: float = float("inf")) -> Chat:
        """The chat once no responses are on their way. Raises TimeoutError."""
        end = time.monotonic() + seconds
        while (found := self.chat(task))["waiting"]:
            if time.monotonic() > end:
                raise TimeoutError(f"the responses of task {task['id']} are on their way still")
            time.sleep(CHAT_POLL_SECONDS)
        return found

    # ---- runs -------------------------------------------------------------------------------------------------------

    def start_run(self, stage: str, *, key: str = "", **wanted: Any) -> Run:
        """Queue a run: `config={…}`, `inputs={role: model}`, `snapshot=…`. With the same key it is the same run."""
        return cast(Run, self.call("POST", "/runs", body={"stage": stage, **wanted}, key=key or str(uuid.uuid4())))

    def measure(self, model: int, file: str | Path, *, key: str = "", **settings: Any) -> Run:
        """Queue a measurement of a model on a file of JSON lines or text, gzipped or not, with settings of `evaluate`.

        With the same key it is the same run.
        """
        body = Form(Path(file), config=json.dumps(settings))
        return cast(Run, self.call("POST", f"/models/{model}/benchmarks", body=body, key=key or str(uuid.uuid4())))

    def run(self, number: int) -> Run:
        return cast(Run, self.call("GET", f"/runs/{number}"))

    def cancel_run(self, number: int) -> Run:
        return cast(Run, self.call("POST", f"/runs/{number}/cancel"))

    def wait_for_run(self, number: int, *, seconds: float = float("inf")) -> Run:
        """The run once it has ended. Raises TimeoutError."""
        end = time.monotonic() + seconds
        while (found := self.run(number))["status"] not in ENDED:
            if time.monotonic() > end:
                raise TimeoutError(f"run {number} is {found['status']} still")
            time.sleep(POLL_SECONDS)
        return found
