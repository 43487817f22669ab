"""Handlers of annotate's signals, which notify workers."""

from typing import Any

from annotate.models import ResponseRequest
from rlhf.loop import sampling
from rlhf.runs import runs


def build_snapshot(*, snapshot_id: int, **kwargs: Any) -> None:
    runs.send("rlhf.build_snapshot", snapshot_id)


def import_upload(*, upload_id: int, **kwargs: Any) -> None:
    runs.send("rlhf.import_upload", upload_id)


def push_snapshot(*, push_id: int, **kwargs: Any) -> None:
    runs.send("rlhf.push_snapshot", push_id)


def change_overlap(*, change_id: int, **kwargs: Any) -> None:
    runs.send("rlhf.change_overlap", change_id)


def change_tasks(*, change_id: int, **kwargs: Any) -> None:
    runs.send("rlhf.change_tasks", change_id)


def apply_batch_change(*, name: str, change_id: int, **kwargs: Any) -> None:
    runs.send("rlhf.apply_batch_change", name, change_id)


def delete_person(*, deletion_id: int, **kwargs: Any) -> None:
    runs.send("rlhf.delete_person", deletion_id)


def fulfil_requests(*, request_ids: list[int], **kwargs: Any) -> None:
    """A chat's request gets a run at once, with a place in its queue; a worker fulfils the others."""
    requests = ResponseRequest.objects.filter(pk__in=request_ids)
    awaited = set(requests.filter(purpose=ResponseRequest.Purpose.CHAT).values_list("pk", flat=True))
    sampling.fulfil(awaited)
    if others := [key for key in request_ids if key not in awaited]:
        runs.send("rlhf.fulfil_requests", others)
