"""What people's side asks for becomes a message to a worker."""

from typing import Any

from . import runs


def build_snapshot(*, snapshot_id: int, **kwargs: Any) -> None:
    runs.send("rlhf.build_snapshot", snapshot_id)


def fulfil_requests(*, request_ids: list[int], **kwargs: Any) -> None:
    runs.send("rlhf.fulfil_requests", list(request_ids))
