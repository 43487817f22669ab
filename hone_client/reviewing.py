"""Adjudication by reviewers, and the qualification exam of labelers."""

from collections.abc import Mapping
from typing import Any, cast

from hone_client.labeling import Work
from hone_client.records import Decided, Exam, ExamItem, Orders, Task


class Reviewing(Work):
    """What reviewers and examinees do."""

    # ---- adjudication -----------------------------------------------------------------------------------------------

    def next_adjudication(self) -> Task | None:
        """What the reviewer has at hand, else the least certain task that waits; None where nothing does."""
        return cast("Task | None", self.call("POST", "/adjudications/next")["task"])

    def take_adjudication(self, task: int) -> Task:
        """A certain task, by its number in `rows("adjudications/waiting")`."""
        return cast(Task, self.call("POST", f"/adjudications/tasks/{task}/take"))

    def orders(self, task: Task) -> Orders:
        """What the labelers say. Raises HoneError (403) where the project hides it."""
        return cast(Orders, self.call("GET", f"/adjudications/{task['id']}/orders"))

    def save_adjudication_draft(self, task: Task, **fields: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.call("PUT", f"/adjudications/{task['id']}/draft", body=fields)
        return found

    def decide(self, task: Task, **fields: Any) -> Decided:
        """The order that counts; fields are those of `submit`. Sent again it counts once."""
        body = {"client_id": task["client_id"], **fields}
        if task["rubric"] is not None:
            body.setdefault("rubric", task["rubric"]["id"])
        return cast(Decided, self.call("POST", f"/adjudications/{task['id']}/submit", body=body))

    def skip_adjudication(self, task: Task, reason: str = "", note: str = "") -> None:
        """Leave a task to another reviewer."""
        self.call("POST", f"/adjudications/{task['id']}/skip", body={"reason": reason, "note": note})

    def undo_adjudication(self, task: Task) -> Task:
        """Take back what was decided or skipped a moment ago."""
        return cast(Task, self.call("POST", f"/adjudications/{task['id']}/undo"))

    def set_aside(self, judgment: int) -> None:
        """Have a decision count no more, by its judgment's number in `rows("adjudications")`."""
        self.call("POST", f"/adjudications/judgments/{judgment}/set_aside")

    # ---- the exam ---------------------------------------------------------------------------------------------------

    def exam(self) -> Exam:
        """How far one is: the item to answer, or the result."""
        return cast(Exam, self.call("GET", "/exam"))

    def start_exam(self) -> Exam:
        """Begin an attempt, or go on with the open one."""
        return cast(Exam, self.call("POST", "/exam/start"))

    def save_exam_draft(self, item: ExamItem, **fields: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.call("PUT", f"/exam/items/{item['id']}/draft", body=fields)
        return found

    def answer_exam(self, item: ExamItem, ranks: Mapping[str, int | None], *, all_unacceptable: bool = False) -> Exam:
        """Hand in an item; the reply has the next one, after the last one the result."""
        body = {"ranks": dict(ranks), "all_unacceptable": all_unacceptable}
        return cast(Exam, self.call("POST", f"/exam/items/{item['id']}/submit", body=body))
