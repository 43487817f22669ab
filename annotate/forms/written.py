"""The forms of tasks that ask for text, and of the rating of one response.

Fields of a demonstration: `text`, and for a few-shot prompt `query-N` and `response-N` of each example N. Of a prompt
to write: `kind`, `use_case`, `language`, `sensitive`, `instruction`, `query-N`, `response-N`, and `text`, the prompt
itself. A rating has the board's fields for its one response. All have `comment`, `seconds` and `client_id` besides.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from django.utils.translation import gettext as _

from annotate.data.text import as_written
from annotate.forms.board import Board
from annotate.forms.task_forms import COMMON_FIELDS, FormData, TaskForm, client_id_and_seconds, last
from annotate.labeling.few_shot import MOST_PAIRS, FewShot
from annotate.labeling.submissions import Submission
from annotate.models import JudgmentRevision, Prompt

LEAST_ROWS = 3


@dataclass(frozen=True, slots=True)
class Example:
    """A row of the form for a query and its response."""

    number: int
    query: str
    response: str


class TextTask(TaskForm):
    """An assignment whose judgment is a text, with what was entered so far."""

    fields: ClassVar[frozenset[str]] = frozenset({"text"})

    @property
    def task_instructions(self) -> dict[str, str]:
        return self.assignment.task.task_instructions

    @property
    def text(self) -> str:
        return self.last("text")

    @classmethod
    def draft(cls, data: FormData) -> dict[str, list[str]]:
        """What of a form's fields is worth keeping as a draft."""
        kept = cls.fields | COMMON_FIELDS
        return {name: values for name, values in data.items() if name in kept or is_example(name)}

    @classmethod
    def submission(cls, data: FormData) -> Submission:
        """The form's fields as a submission. Raises Refused (400) for what no page sends; the queue checks the rest."""
        client_id, seconds = client_id_and_seconds(data)
        return Submission(
            client_id=client_id, content=cls.content(data), comment=last(data, "comment"), seconds=seconds
        )

    @classmethod
    def content(cls, data: FormData) -> dict[str, Any]:
        """The fields as the content of a revision (see annotate.labeling.task_kinds)."""
        return {"text": last(data, "text")}

    @classmethod
    def initial_data(cls, revision: JudgmentRevision) -> dict[str, list[str]]:
        """The fields that a revision came from, so that it can be changed or given again."""
        once = {"comment": revision.comment, "seconds": revision.seconds, "text": revision.content.get("text", "")}
        return {name: [str(value)] for name, value in once.items() if value}


class Demonstrate(TextTask):
    """Write the ideal response."""

    template = "annotate/work/demonstrate.html"

    @cached_property
    def few_shot(self) -> FewShot | None:
        """The prompt as examples, where it is one of that kind."""
        prompt = self.prompt
        return FewShot.of(prompt.messages) if prompt is not None and prompt.kind == Prompt.Kind.FEW_SHOT else None

    @property
    def examples(self) -> list[Example]:
        """The examples as they were entered, else as the prompt has them."""
        pairs = example_pairs(self.data)
        return rows_of(pairs if pairs is not None else self.few_shot.pairs if self.few_shot else ())

    @property
    def examples_changed(self) -> bool:
        pairs = example_pairs(self.data)
        return self.few_shot is not None and pairs is not None and tuple(pairs) != self.few_shot.pairs

    @classmethod
    def content(cls, data: FormData) -> dict[str, Any]:
        pairs = example_pairs(data)
        return super().content(data) | ({"pairs": [list(pair) for pair in pairs]} if pairs is not None else {})

    @classmethod
    def initial_data(cls, revision: JudgmentRevision) -> dict[str, list[str]]:
        return super().initial_data(revision) | fields_of_pairs(revision.content.get("pairs", []))


class WritePrompt(TextTask):
    """Write a prompt of one of InstructGPT's three kinds."""

    template = "annotate/work/write_prompt.html"
    fields = frozenset({"text", "kind", "use_case", "language", "sensitive", "instruction"})

    @property
    def kind(self) -> str:
        return self.last("kind", self.task_instructions.get("kind") or Prompt.Kind.PLAIN)

    @property
    def kinds(self) -> list[tuple[str, str, str]]:
        """(value, label, what it is)."""
        meanings = {
            Prompt.Kind.PLAIN: _("Any task that comes to your mind; the more different ones, the better."),
            Prompt.Kind.FEW_SHOT: _("An instruction with several examples of a query and its response."),
            Prompt.Kind.USER_BASED: _("A request by a user of the product in the brief."),
        }
        return [(kind.value, str(kind.label), meanings[kind]) for kind in Prompt.Kind]

    @property
    def use_case(self) -> str:
        return self.last("use_case", self.task_instructions.get("use_case") or Prompt.UseCase.OTHER)

    @property
    def use_cases(self) -> list[tuple[str, str]]:
        return [(case.value, str(case.label)) for case in Prompt.UseCase]

    @property
    def language(self) -> str:
        return self.last("language", self.assignment.project.language)

    @property
    def sensitive(self) -> bool:
        return bool(self.last("sensitive"))

    @property
    def instruction(self) -> str:
        return self.last("instruction")

    @property
    def examples(self) -> list[Example]:
        return rows_of(example_pairs(self.data) or ())

    @classmethod
    def content(cls, data: FormData) -> dict[str, Any]:
        content = {name: last(data, name) for name in ("kind", "use_case", "language", "instruction")}
        pairs = [list(pair) for pair in example_pairs(data) or ()]
        return content | {"query": last(data, "text"), "pairs": pairs, "sensitive": bool(last(data, "sensitive"))}

    @classmethod
    def initial_data(cls, revision: JudgmentRevision) -> dict[str, list[str]]:
        content = revision.content
        messages = content.get("messages", [])
        shown = FewShot.of(messages) if content.get("kind") == Prompt.Kind.FEW_SHOT else None
        fields = super().initial_data(revision) | {"text": [messages[-1]["content"] if messages else ""]}
        fields |= {name: [content[name]] for name in ("kind", "use_case", "language") if name in content}
        if content.get("sensitive"):
            fields["sensitive"] = ["1"]
        if shown is not None:
            fields |= {"instruction": [shown.instruction]} | fields_of_pairs(shown.pairs)
        return fields


class Rate(Board):
    """Rate one response by the rubric: the board with one response and nothing to order."""

    template = "annotate/work/rate.html"
    tiers = False


def is_example(name: str) -> bool:
    part, _dash, number = name.partition("-")
    return part in ("query", "response") and number.isascii() and number.isdigit() and int(number) < MOST_PAIRS


def example_pairs(data: FormData) -> list[tuple[str, str]] | None:
    """The examples of the form, empty rows left out; None where the form had no rows for any."""
    numbers = sorted({int(name.partition("-")[2]) for name in data if is_example(name)})
    if not numbers:
        return None
    pairs = [tuple(as_written(last(data, f"{part}-{number}")) for part in ("query", "response")) for number in numbers]
    return [(query, response) for query, response in pairs if query or response]


def fields_of_pairs(pairs: Any) -> dict[str, list[str]]:
    return {
        f"{part}-{number}": [value]
        for number, pair in enumerate(pairs)
        for part, value in zip(("query", "response"), pair, strict=True)
    }


def rows_of(pairs: Any) -> list[Example]:
    """A row for each example, and at least one more for another."""
    filled = [Example(number, query, response) for number, (query, response) in enumerate(pairs)]
    wanted = min(MOST_PAIRS, max(LEAST_ROWS, len(filled) + 1))
    return filled + [Example(number, "", "") for number in range(len(filled), wanted)]
