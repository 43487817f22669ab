"""Rows of a project's own exports: what they say is there already, whoever judged or wrote it.

An exported row names its record ("judgment-12") and, where that came from another file, what it was called there. Each
counts only where prompt, person and texts are the same, since another project's export has the same numbers.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from django.db.models import Q

from annotate.data.pseudonyms import author_name, labeler_name
from annotate.formats.rows import ImportedRow
from annotate.labeling.ordering import Ordering
from annotate.models import Demonstration, Judgment, Project, Prompt, Response, TaskResponse
from annotate.models.data.data_import import import_under_way

RECORD = re.compile(r"(judgment|edit|demonstration|prompt)-(\d{1,18})", re.ASCII)


def names_record(identifier: str) -> bool:
    """Whether it is a number of Hone's own, not an id that somebody gave."""
    return RECORD.fullmatch(identifier) is not None


@dataclass(frozen=True, kw_only=True)
class OwnRecord:
    """A judgment, edit or demonstration. person: as exports call whoever judged or wrote; revision: the latest.

    places: {text: its tier, None where it wasn't ranked} of an order, None where two of the texts are equal.
    """

    prompt_id: int | None
    person: str
    texts: frozenset[str]
    withdrawn: bool
    revision: int | None = None
    places: dict[str, int | None] | None = None

    def is_of(self, row: ImportedRow, prompt: Prompt) -> bool:
        texts = {row.demonstration} if row.demonstration is not None else {item.text for item in row.responses}
        person = row.author if row.demonstration is not None else row.labeler
        return (self.prompt_id, self.person) == (prompt.pk, person) and bool(texts) and self.texts >= texts

    def is_other_revision(self, row: ImportedRow) -> bool:
        return None not in (row.revision, self.revision) and row.revision != self.revision

    def is_other_order(self, row: ImportedRow) -> bool:
        """Whether the row, such as one that was edited in its file, orders the responses otherwise."""
        if self.places is None or not row.ranked:
            return False
        ranks = dict(enumerate(item.rank for item in row.responses))
        places = dict(enumerate(self.places.get(item.text) for item in row.responses))
        return Ordering.from_ranks(ranks) != Ordering.from_ranks(places)


class OwnRecords:
    """The records of a project that some rows name; those that the import under way has brought don't count."""

    def __init__(self, project: Project, rows: Sequence[ImportedRow], prompts: Iterable[Prompt]) -> None:
        numbers: dict[str, set[int]] = defaultdict(set)
        for row in rows:
            for name in (row.record_id, row.id):
                if found := RECORD.fullmatch(name):
                    numbers[found[1]].add(int(found[2]))
        self._project = project
        self._known: dict[str, list[OwnRecord]] = defaultdict(list)
        # Exported rows of judgments that came from files, which had ids of their own.
        came_along = {row.id for row in rows if names_record(row.record_id) and not names_record(row.id)}
        if numbers["judgment"] or came_along:
            chosen = Q(pk__in=numbers["judgment"])
            if came_along:
                chosen |= Q(task__prompt__in=list(prompts), latest__content__id__in=list(came_along))
            self._add_judgments(chosen)
        if numbers["edit"] or numbers["demonstration"]:
            self._add_demonstrations(numbers["edit"] | numbers["demonstration"])

    def find(self, row: ImportedRow, prompt: Prompt) -> OwnRecord | None:
        """The judgment, edit or demonstration of the project that the row is of."""
        if not names_record(row.record_id):
            return None
        named = [*self._known.get(row.record_id, ()), *self._known.get(row.id, ())]
        return next((record for record in named if record.is_of(row, prompt)), None)

    def _add_judgments(self, chosen: Q) -> None:
        found = Judgment.objects.filter(chosen, project=self._project).exclude(data_import=import_under_way() or 0)
        judgments = list(found.prefetch_related("task", "labeler", "latest"))
        texts: dict[int, dict[int, str]] = defaultdict(dict)
        tasks = {judgment.task_id for judgment in judgments}
        links = list(TaskResponse.objects.filter(task__in=tasks).order_by().values_list("task", "response"))
        compared = Response.with_unfinished.filter(pk__in={response for _task, response in links}).order_by()
        text_of = dict(compared.values_list("pk", "text"))
        for task, response in links:
            texts[task][response] = text_of[response]
        for judgment in judgments:
            latest, shown = judgment.latest, texts[judgment.task_id]
            tiers = {key: number for number, tier in enumerate(latest.tiers if latest else []) for key in tier}
            places = {text: tiers.get(key) for key, text in shown.items()}
            record = OwnRecord(
                prompt_id=judgment.task.prompt_id,
                person=labeler_name(judgment.labeler, self._project),
                texts=frozenset(shown.values()),
                withdrawn=latest is None,
                revision=latest.number if latest is not None else None,
                places=places if len(places) == len(shown) else None,
            )
            self._known[f"judgment-{judgment.pk}"].append(record)
            if latest is not None and (came_as := latest.content.get("id")):
                self._known[came_as].append(record)

    def _add_demonstrations(self, numbers: set[int]) -> None:
        found = Demonstration.objects.filter(prompt__project=self._project, pk__in=numbers)
        found = found.exclude(data_import=import_under_way() or 0)
        for item in found.select_related("response__author", "response__edited_from", "assignment"):
            response, original = item.response, item.response.edited_from
            written = OwnRecord(
                prompt_id=item.prompt_id,
                person=author_name(response.author, self._project),
                texts=frozenset({response.text}),
                withdrawn=item.withdrawn_at is not None,
            )
            self._known[f"demonstration-{item.pk}"].append(written)
            if original is not None and item.assignment is not None:
                editor = self._project.pseudonym(item.assignment.labeler_id)
                edit = replace(written, person=editor, texts=frozenset({response.text, original.text}))
                self._known[f"edit-{item.pk}"].append(edit)
