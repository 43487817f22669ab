"""What the forms of all kinds of task share: their data, where they are sent, and the fields that each of them has.

`FormData` are the fields of a form as {name: [values]}, responses named by their ids. A draft is the same, so the page
that comes back after a reload, a refusal or a lost connection is made by the same code. Every form has `comment`,
`seconds` and `client_id`, and may be skipped with `skip_reason` and `skip_note`.
"""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from django.urls import reverse
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.forms.response_keys import ResponseKeys
from annotate.labeling.model_self_identification import mask_names
from annotate.labeling.submissions import Submission
from annotate.models import Assignment, JudgmentRevision, Project, Prompt

FormData = Mapping[str, list[str]]
COMMON_FIELDS = frozenset({"comment", "seconds", "skip_reason", "skip_note"})


@dataclass(frozen=True, slots=True)
class Urls:
    """Where a task's form goes; an empty `skip` is a task that can't be skipped."""

    submit: str
    draft: str
    skip: str = ""
    report: str = ""

    @classmethod
    def of(cls, assignment: Assignment) -> "Urls":
        where = [assignment.project.slug, assignment.pk]
        name = "annotate:adjudication_submit" if assignment.is_adjudication else "annotate:submit"
        submit = reverse(name, args=where)
        stem = submit.removesuffix("submit")
        report = "" if assignment.is_adjudication else f"{stem}report"
        return cls(submit=submit, draft=f"{stem}draft", skip=f"{stem}skip", report=report)


class TaskForm(ABC):
    """An assignment with what was entered so far: in the form, else in the draft."""

    template: ClassVar[str]

    def __init__(self, assignment: Assignment, *, data: FormData | None = None) -> None:
        self.assignment = assignment
        self.data = data if data is not None else draft_fields(assignment.draft)
        # New at each showing, so that going back and judging again is a revision and a double click is not.
        self.client_id = uuid.uuid4()

    @classmethod
    @abstractmethod
    def draft(cls, data: FormData) -> dict[str, list[str]]:
        """The fields to keep as a draft."""

    @classmethod
    @abstractmethod
    def submission(cls, data: FormData) -> Submission:
        """The fields as a submission, which the queue checks. Raises Refused (400) for what no page sends."""

    @classmethod
    @abstractmethod
    def initial_data(cls, revision: JudgmentRevision) -> dict[str, list[str]]:
        """The fields that a revision came from, so that it can be changed or given again."""

    @staticmethod
    def response_keys_of(assignment: Assignment) -> ResponseKeys:
        """The keys of the responses on the assignment's page."""
        return ResponseKeys.of(assignment)

    @cached_property
    def response_keys(self) -> ResponseKeys:
        return self.response_keys_of(self.assignment)

    @cached_property
    def urls(self) -> Urls:
        return Urls.of(self.assignment)

    @property
    def prompt(self) -> Prompt | None:
        return self.assignment.task.prompt

    @property
    def comment(self) -> str:
        return self.last("comment")

    @property
    def seconds(self) -> str:
        return self.last("seconds")

    @property
    def skip_note(self) -> str:
        return self.last("skip_note")

    def last(self, name: str, default: str = "") -> str:
        """The last value of a field; `default` where the form had no such field."""
        return last(self.data, name) if name in self.data else default


def last(data: FormData, name: str) -> str:
    """The last value of a field; empty where the form had no such field."""
    return (data.get(name) or [""])[-1]


def skip_reason(data: FormData) -> str:
    """The chosen reason and what was written beside it, as one text."""
    parts = [last(data, name).strip() for name in ("skip_reason", "skip_note")]
    return ": ".join(part for part in parts if part)


def client_id_and_seconds(data: FormData) -> tuple[uuid.UUID, float | None]:
    """Which showing of a task was handed in, and the time spent on it. Raises Refused (400)."""
    seconds = last(data, "seconds")
    try:
        return uuid.UUID(last(data, "client_id")), float(seconds) if seconds else None
    except ValueError:
        raise Refused(_("The form came incomplete. Reload the page: your draft is kept."), status=400) from None


def draft_fields(stored: Any) -> FormData:
    """Of a stored draft, which is any JSON, the part that has the shape of a form's fields."""
    if not isinstance(stored, dict):
        return {}
    return {
        name: values
        for name, values in stored.items()
        if isinstance(values, list) and values and all(isinstance(value, str) for value in values)
    }


def shown_fields(stored: Any, names: ResponseKeys, project: Project) -> dict[str, list[str]]:
    """A stored draft as the people who work on it are told it: responses by their keys, and models' names hidden where
    the project hides them. What was made of a masked response is stored with the names."""
    fields = names.to_keys(draft_fields(stored))
    if project.mask_model_names and "improved_text" in fields:
        fields["improved_text"] = [mask_names(value) for value in fields["improved_text"]]
    return fields
