"""Imported rows as records, a batch at a time, each thing made once."""

import dataclasses
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha256

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.data import language_guess
from annotate.data.own_records import OwnRecord, OwnRecords, names_record
from annotate.data.pseudonyms import author_name, imported_labeler
from annotate.formats.rows import ImportedResponse, ImportedRow
from annotate.labeling.ordering import Ordering
from annotate.labeling.queue import first_overlap
from annotate.models import (
    Assignment,
    Author,
    Demonstration,
    Judgment,
    JudgmentRevision,
    Project,
    Prompt,
    PromptChange,
    Response,
    Task,
    TaskResponse,
    User,
)
from annotate.models.data.data_import import import_under_way
from annotate.people import stand_in_accounts

UNACCEPTABLE = "unacceptable"


class RowStore:
    """Writes batches of rows into one project, inside the caller's transaction, and counts what it made."""

    def __init__(self, *, project: Project, file_name: str) -> None:
        self.project = project
        self.file_name = file_name
        self.now: datetime = timezone.now()
        self.created: Counter[str] = Counter(prompts=0, demonstrations=0, responses=0, tasks=0, judgments=0)
        self.duplicates = 0
        # (key, reason) of what a row said of a prompt that was there already and that isn't so there.
        self.not_kept: Counter[tuple[str, str]] = Counter()
        self._said: Counter[str] = Counter()
        self._guessed: Counter[str] = Counter()
        # By the key of a prompt that was there already: what rows say of it, written once the import is seen.
        self._upsetting: set[int] = set()
        self._ids: dict[int, str] = {}
        self._changes: dict[int, PromptChange] = {}
        self._authors: dict[tuple[str, str], Author] = {}
        self._labelers: dict[str, User] = {}
        # Judgments of rows that name their task: (prompt, task, texts) -> task and who has judged it.
        self._shared_tasks: dict[tuple[object, ...], tuple[Task, list[Response], set[int]]] = {}
        revisions = JudgmentRevision.objects.filter(judgment__project=project)
        self._known_judgments: set[uuid.UUID] = set(revisions.values_list("client_id", flat=True))

    @property
    def remarks(self) -> dict[str, int]:
        """What was done besides, and how often."""
        if not self._guessed:
            return dict(self._said)
        found = ", ".join(f"{language} {number}" for language, number in self._guessed.most_common(8))
        return {_("Language guessed (%(languages)s)") % {"languages": found}: self._guessed.total(), **self._said}

    def add(self, rows: Sequence[ImportedRow]) -> None:
        """Store a batch of rows in their order."""
        prompts, new_prompts = self._prompts(rows)
        responses = _KnownResponses(self.project, prompts.values())
        queued = responses.compared
        own = OwnRecords(self.project, rows, prompts.values())
        self._make_authors(rows, prompts, responses, own)
        for row in rows:
            digest = row.content_hash
            prompt = prompts[digest]
            if (record := own.find(row, prompt)) is not None:
                new = False
                self._compare_with_own(row, record)
            elif row.demonstration is not None:
                new = self._add_demonstration(row, prompt, responses)
            elif row.gold:
                new = self._add_gold_task(row, prompt, responses, queued)
            elif row.ranked or row.rated:
                new = self._add_judgment(row, prompt, responses)
            elif row.responses:
                new = self._add_task(row, prompt, responses, queued)
            else:
                # Only the first row of a new prompt brought it.
                new = digest in new_prompts
            new_prompts.discard(digest)
            self.duplicates += not new
        PromptChange.objects.bulk_create(self._changes.values())
        self._changes.clear()

    def _prompts(self, rows: Sequence[ImportedRow]) -> tuple[dict[str, Prompt], set[str]]:
        """The prompts of the rows by content hash, and the hashes of those that were made now."""
        hashes = [row.content_hash for row in rows]
        openings = {row.opening_hash for row in rows if row.opening_hash}
        known = Prompt.objects.filter(project=self.project, content_hash__in={*hashes, *openings})
        # Unordered: asked for an order of ids, SQLite walks over all prompts of the project for each batch.
        prompts = {prompt.content_hash: prompt for prompt in known.prefetch_related("opening").order_by()}
        self._make_openings(rows, prompts)
        made = []
        for row, digest in zip(rows, hashes, strict=True):
            if digest in prompts:
                self._compare_with_known(row, prompts[digest])
                continue
            opening = prompts[row.opening_hash] if row.opening_hash else None
            prompts[digest] = self._new_prompt(row, row.messages, opening=opening, external_id=row.prompt_id or row.id)
            made.append(prompts[digest])
            self._compare_split(row, prompts[digest])
        met = self._create(made)
        prompts |= met
        for row, digest in zip(rows, hashes, strict=True):
            if digest in met:
                self._compare_with_known(row, met[digest])
        return prompts, {prompt.content_hash for prompt in made} - met.keys()

    def _create(self, made: Iterable[Prompt]) -> dict[str, Prompt]:
        """Write new prompts; returns those that people wrote since they were looked for, by content hash.

        PostgreSQL lets them: the unique index says so when both are written.
        """
        new, met = list(made), dict[str, Prompt]()
        while True:
            try:
                with transaction.atomic():
                    Prompt.objects.bulk_create(new)
                break
            except IntegrityError:
                hashes = [prompt.content_hash for prompt in new]
                found = Prompt.objects.filter(project=self.project, content_hash__in=hashes).prefetch_related("opening")
                written = {prompt.content_hash: prompt for prompt in found}
                if not written:
                    raise
                met |= written
                new = [prompt for prompt in new if prompt.content_hash not in written]
        self.created["prompts"] += len(new)
        return met

    def _make_openings(self, rows: Sequence[ImportedRow], prompts: dict[str, Prompt]) -> None:
        """The prompts that chats began as, where they aren't there: they decide the side of all of a chat."""
        made: dict[str, Prompt] = {}
        # What is said of an opening itself goes before what is said of its chats.
        own = {row.content_hash: row for row in reversed(rows)}
        for row in rows:
            if row.opening and (digest := row.opening_hash) and digest not in prompts and digest not in made:
                said = own.get(digest, row)
                made[digest] = self._new_prompt(said, row.opening, opening=None, external_id="")
        prompts |= made | self._create(made.values())

    def _new_prompt(
        self, row: ImportedRow, messages: list[dict[str, str]], *, opening: Prompt | None, external_id: str
    ) -> Prompt:
        prompt = Prompt(
            project=self.project,
            messages=messages,
            kind=row.kind or Prompt.Kind.PLAIN,
            use_case=row.use_case or Prompt.UseCase.OTHER,
            sensitive=bool(row.sensitive),
            language=row.language or self._guessed_language(messages),
            source=self.file_name[:200] if row.source is None else row.source,
            external_id=external_id,
            # All of a chat hangs on the one prompt that it began as.
            opening=(opening.opening or opening) if opening is not None else None,
        )
        prompt.set_content_fields()
        return prompt

    def _guessed_language(self, messages: list[dict[str, str]]) -> str:
        language = language_guess.guess(messages[-1]["content"], usual=self.project.language)
        self._guessed[language] += 1
        return language

    def _compare_with_known(self, row: ImportedRow, prompt: Prompt) -> None:
        """A mark of what may upset is added to a prompt that is there; where a row says else of it, that is named."""
        if row.sensitive and not prompt.sensitive and prompt.pk not in self._upsetting:
            if prompt._state.adding:
                # Another row of this batch brought it, and it isn't written yet.
                prompt.sensitive = True
            else:
                self._upsetting.add(prompt.pk)
                self._change(prompt, sensitive=True)
            self._said[_("Prompts that were there already and are marked as upsetting now")] += 1
        elif row.sensitive is False and prompt.sensitive:
            self._note("sensitive", _("the prompt is marked as upsetting here"))
        said = {"lang": (row.language, prompt.language), "source": (row.source, prompt.source)}
        said |= {"kind": (row.kind, prompt.kind), "use_case": (row.use_case, prompt.use_case)}
        for key, (value, stored) in said.items():
            if value and value != stored:
                self._note(key, _("the prompt was there already with another"))
        if not names_record(row.id):
            self._compare_id(row, prompt)
        if row.opening and prompt.opening is None and row.opening_hash != prompt.content_hash:
            self._note("opening", _("the prompt was there already without one"))
        self._compare_split(row, prompt)

    def _compare_id(self, row: ImportedRow, prompt: Prompt) -> None:
        """The id that somebody gave it. A prompt has it, and what belongs to a prompt may say it."""
        is_prompt = not (row.ranked or row.rated or row.responses or row.demonstration)
        external_id = prompt.external_id or self._ids.get(prompt.pk, "")
        if is_prompt and row.id and not external_id:
            # It was made as the opening of a chat, of which no row said an id.
            if prompt._state.adding:
                prompt.external_id = row.id
            else:
                self._ids[prompt.pk] = row.id
                self._change(prompt, external_id=row.id)
        elif not (row.ranked or row.rated) and row.id and row.id != external_id:
            self._note("id", _("the prompt was there already with another"))

    def _change(self, prompt: Prompt, *, sensitive: bool = False, external_id: str = "") -> None:
        number = import_under_way()
        assert number is not None  # nobody else stores rows
        change = self._changes.setdefault(prompt.pk, PromptChange(data_import_id=number, prompt_id=prompt.pk))
        change.sensitive |= sensitive
        change.external_id = external_id or change.external_id

    def _compare_with_own(self, row: ImportedRow, record: OwnRecord) -> None:
        """An export may be older than what is here."""
        if record.withdrawn and row.demonstration is not None:
            self._note("response", _("the response was withdrawn here"))
        elif record.withdrawn:
            self._note("responses", _("the judgment was withdrawn here"))
        elif record.is_other_revision(row):
            self._note("revision", _("the judgment is here in another"))
        elif record.is_other_order(row):
            self._note("responses", _("the judgment is here with another order"))

    def _compare_split(self, row: ImportedRow, prompt: Prompt) -> None:
        if row.split and row.split != prompt.split:
            self._note("split", _("the side is decided by the prompt's content"))

    def _note(self, key: str, reason: str) -> None:
        self.not_kept[key, reason] += 1

    def _add_demonstration(self, row: ImportedRow, prompt: Prompt, responses: "_KnownResponses") -> bool:
        text = row.demonstration or ""
        written_by = _signature(row.author_kind, row.author or self._unnamed(row))
        if (prompt.pk, text, *written_by) in responses.demonstrated:
            return False
        author = self._author(*written_by)
        by_person = author.kind == Author.Kind.PERSON
        finish = Response.FinishReason.WRITTEN if by_person else row.finish_reason or Response.FinishReason.UNKNOWN
        response = Response.objects.create(prompt=prompt, text=text, author=author, finish_reason=finish)
        Demonstration.objects.create(prompt=prompt, response=response)
        responses.demonstrated.add((prompt.pk, text, *written_by))
        self.created["demonstrations"] += 1
        return True

    def _add_task(
        self,
        row: ImportedRow,
        prompt: Prompt,
        responses: "_KnownResponses",
        queued: set[tuple[int, tuple[str, ...]]],
    ) -> bool:
        key = (prompt.pk, _texts(row.responses))
        if key in queued:
            return False
        if not Project.MIN_RESPONSES <= len(row.responses) <= Project.MAX_RESPONSES:
            return self._add_loose_responses(row, prompt, responses)
        queued.add(key)
        overlap = first_overlap(self.project)
        self._task(prompt, self._responses(row, prompt, responses), judgments_wanted=overlap, slots_free=overlap)
        return True

    def _add_gold_task(
        self,
        row: ImportedRow,
        prompt: Prompt,
        responses: "_KnownResponses",
        queued: set[tuple[int, tuple[str, ...]]],
    ) -> bool:
        """A comparison whose order is known. One that is here already stays as it is: a manager can promote it."""
        key = (prompt.pk, _texts(row.responses))
        if not Project.MIN_RESPONSES <= len(row.responses) <= Project.MAX_RESPONSES:
            self._note("gold", _("a gold task compares fewer responses"))
            return self._add_loose_responses(row, prompt, responses)
        if key in queued:
            known = Task.objects.filter(prompt=prompt, gold_tiers__isnull=False).prefetch_related("responses")
            if key[1] not in {tuple(sorted(response.text for response in task.responses.all())) for task in known}:
                self._note("gold", _("the comparison was there already, without a known order"))
            return False
        queued.add(key)
        stored = self._responses(row, prompt, responses)
        ranks = {response.pk: item.rank for response, item in zip(stored, row.responses, strict=True)}
        tiers = [list(tier) for tier in Ordering.from_ranks(ranks).tiers]
        overlap = first_overlap(self.project)
        self._task(prompt, stored, state=Task.State.GOLD, gold_tiers=tiers, judgments_wanted=overlap, slots_free=0)
        return True

    def _add_loose_responses(self, row: ImportedRow, prompt: Prompt, responses: "_KnownResponses") -> bool:
        """Too few or too many responses to compare: kept as responses of the prompt, and said."""
        before = len(responses)
        self._responses(row, prompt, responses)
        made = len(responses) - before
        self.created["responses"] += made
        if made:
            bounds = {"low": Project.MIN_RESPONSES, "high": Project.MAX_RESPONSES}
            self._said[_("Rows kept as responses without a task, since one compares %(low)d to %(high)d") % bounds] += 1
        return made > 0

    def _add_judgment(self, row: ImportedRow, prompt: Prompt, responses: "_KnownResponses") -> bool:
        client_id = judgment_id(row, project=self.project)
        if client_id in self._known_judgments:
            return False
        self._known_judgments.add(client_id)
        labeler = self._labeler(row.labeler or row.judge_name or row.source or self.file_name)
        key = (prompt.pk, row.task, row.rated, *sorted((item.text, item.model) for item in row.responses))
        shared = self._shared_tasks.get(key) if row.task else None
        if shared is not None and labeler.pk not in shared[2]:
            task, stored, judged_by = shared
            task.judgments_given += 1
            task.judgments_wanted = task.judgments_given
            task.consensus_stale_at = self.now
            task.save(update_fields=["judgments_given", "judgments_wanted", "consensus_stale_at"])
            stored = _in_order(stored, row.responses)
        else:
            stored = self._responses(row, prompt, responses)
            task = self._task(
                prompt,
                stored,
                kind=Task.Kind.RATE if row.rated else Task.Kind.COMPARE,
                judgments_wanted=1,
                judgments_given=1,
                slots_free=0,
                state=Task.State.COMPLETE,
                consensus_stale_at=self.now,
            )
            judged_by = set()
            self._shared_tasks[key] = (task, stored, judged_by)
        judged_by.add(labeler.pk)
        self._judgment(row, task, stored, labeler, client_id)
        return True

    def _judgment(
        self, row: ImportedRow, task: Task, stored: list[Response], labeler: User, client_id: uuid.UUID
    ) -> None:
        ids = [response.pk for response in stored]
        assignment = Assignment.objects.create(
            task=task,
            labeler=labeler,
            project=self.project,
            state=Assignment.State.SUBMITTED,
            lease_until=self.now,
            ended_at=self.now,
            seed=0,
            presentation=ids,
        )
        judgment = Judgment.objects.create(
            assignment=assignment, task=task, labeler=labeler, project=self.project, surplus=False
        )
        ranks = {pk: response.rank for pk, response in zip(ids, row.responses, strict=True)}
        # Of a rating a flag says it; "none of them" is a word of comparisons.
        none_acceptable = row.ranked and not any(response.acceptable for response in row.responses)
        flags = {
            str(pk): [*response.flags, *([] if response.acceptable or none_acceptable else [UNACCEPTABLE])]
            for pk, response in zip(ids, row.responses, strict=True)
        }
        judgment.latest = JudgmentRevision.objects.create(
            judgment=judgment,
            number=row.revision or 1,
            client_id=client_id,
            tiers=[list(tier) for tier in Ordering.from_ranks(ranks).tiers],
            all_unacceptable=none_acceptable,
            ratings={str(pk): item.ratings for pk, item in zip(ids, row.responses, strict=True) if item.ratings},
            flags={key: names for key, names in flags.items() if names},
            notes={str(pk): item.note for pk, item in zip(ids, row.responses, strict=True) if item.note},
            content=_brought(row, ids),
            margin=row.margin,
            comment=row.comment,
            seconds=row.seconds,
            source=row.judge,
        )
        judgment.save(update_fields=["latest"])
        self.created["judgments"] += 1

    def _task(self, prompt: Prompt, stored: list[Response], **values: object) -> Task:
        # A file may bring back a response that was edited here.
        values["has_edits"] = Response.include_edits(stored)
        task = Task.objects.create(project=self.project, prompt=prompt, **values)
        TaskResponse.objects.bulk_create(
            TaskResponse(task=task, response=response, number=number) for number, response in enumerate(stored)
        )
        self.created["tasks"] += 1
        return task

    def _responses(self, row: ImportedRow, prompt: Prompt, known: "_KnownResponses") -> list[Response]:
        """A response for each of the row's, in its order. One that another row brought already is the same response."""
        stored: list[Response] = []
        for item in row.responses:
            written_by = _signature(item.author_kind, item.model or self._unnamed(row))
            response = known.get(prompt, written_by, item.text)
            ended_else = response is not None and item.finish_reason not in ("unknown", response.finish_reason)
            if response is None or response in stored or ended_else:
                response = Response.objects.create(
                    prompt=prompt,
                    text=item.text,
                    author=self._author(*written_by),
                    finish_reason=item.finish_reason,
                )
                known.add(response, written_by)
            stored.append(response)
        return stored

    def _make_authors(
        self, rows: Sequence[ImportedRow], prompts: dict[str, Prompt], known: "_KnownResponses", own: OwnRecords
    ) -> None:
        """The authors that a batch needs, in one order: two imports that wait for each other's would never end."""
        wanted: set[Signature] = set()
        for row in rows:
            prompt = prompts[row.content_hash]
            if own.find(row, prompt) is not None:
                continue
            written = [(_signature(item.author_kind, item.model or self._unnamed(row)), item) for item in row.responses]
            wanted |= {author for author, item in written if known.get(prompt, author, item.text) is None}
            if row.demonstration is not None:
                author = _signature(row.author_kind, row.author or self._unnamed(row))
                if (prompt.pk, row.demonstration, *author) not in known.demonstrated:
                    wanted.add(author)
        for author in sorted(wanted):
            self._author(*author)

    def _unnamed(self, row: ImportedRow) -> str:
        """Stands for whoever wrote texts of a source that names nobody."""
        return f"imported: {row.source or self.file_name}"

    def _author(self, kind: str, name: str) -> Author:
        key = (kind, name)
        if key not in self._authors:
            self._authors[key], _made = Author.objects.get_or_create(kind=kind, name=name, user=None)
        return self._authors[key]

    def _labeler(self, name: str) -> User:
        """The account that stands for somebody outside: inactive, without a password, of this project alone."""
        username = imported_labeler(self.project, name)
        if len(username) > 150:
            username = f"{username[:130]}-{sha256(username.encode()).hexdigest()[:16]}"
        if username not in self._labelers:
            self._labelers[username] = stand_in_accounts.account(username)
        return self._labelers[username]


Signature = tuple[str, str]


def _signature(kind: str, name: str) -> Signature:
    """The author of a text in a file: (kind of author, name)."""
    return kind, name[:200]


class _KnownResponses:
    """The responses, demonstrations and comparisons of a batch's prompts, so that none is made twice.

    Their authors are known by what exports of the project call them: a person with an account here, whose pseudonym
    comes back in a file, has written the text already. Nothing new is ever signed with an account.

    Each table is read by itself. Where PostgreSQL takes the tables for empty, as after a deletion or a rollback until
    it has counted them again, it joins them row by row, and an import would take the square of its rows.
    """

    def __init__(self, project: Project, prompts: Iterable[Prompt]) -> None:
        ids = [prompt.pk for prompt in prompts]
        self._project = project
        # Responses last: of those that others write meanwhile none is referred to and missing.
        demonstrations = Demonstration.objects.filter(prompt__in=ids, withdrawn_at=None).order_by()
        demonstrated = list(demonstrations.values_list("prompt", "response"))
        tasks = Task.objects.filter(prompt__in=ids, kind=Task.Kind.COMPARE).order_by()
        compared: dict[int, list[int]] = {pk: [] for pk in tasks.values_list("pk", flat=True)}
        links = TaskResponse.objects.filter(task__in=list(compared)).order_by()
        for task, response in links.values_list("task", "response"):
            compared[task].append(response)
        found = Response.objects.filter(prompt__in=ids).order_by("-pk").prefetch_related("author")
        by_key = {response.pk: response for response in found}
        self._responses = {
            (response.prompt_id, *self._signed(response.author), response.text): response
            for response in by_key.values()
        }
        self.demonstrated = {
            (prompt, by_key[key].text, *self._signed(by_key[key].author)) for prompt, key in demonstrated
        }
        self.compared = {
            (by_key[keys[0]].prompt_id, tuple(sorted(by_key[key].text for key in keys)))
            for keys in compared.values()
            if keys
        }

    def get(self, prompt: Prompt, written_by: Signature, text: str) -> Response | None:
        return self._responses.get((prompt.pk, *written_by, text))

    def add(self, response: Response, written_by: Signature) -> None:
        self._responses.setdefault((response.prompt_id, *written_by, response.text), response)

    def __len__(self) -> int:
        return len(self._responses)

    def _signed(self, author: Author) -> Signature:
        return _signature(author.kind, author_name(author, self._project))


def _brought(row: ImportedRow, ids: Sequence[int]) -> dict[str, object]:
    """An imported judgment without its order, for JudgmentRevision.content."""
    scores = {str(pk): item.score for pk, item in zip(ids, row.responses, strict=True) if item.score is not None}
    said = {"id": row.id, "judge": row.judge_name, "scale": row.scale, "timestamp": row.timestamp, "rubric": row.rubric}
    brought: dict[str, object] = {} if row.weight is None else {"weight": row.weight}
    return brought | ({"scores": scores} if scores else {}) | {key: value for key, value in said.items() if value}


def _texts(responses: Sequence[ImportedResponse]) -> tuple[str, ...]:
    return tuple(sorted(response.text for response in responses))


def _in_order(stored: list[Response], responses: Sequence[ImportedResponse]) -> list[Response]:
    """The stored responses of a shared task in the order in which another row lists them."""
    left = list(stored)
    ordered = []
    for item in responses:
        found = next(response for response in left if response.text == item.text)
        left.remove(found)
        ordered.append(found)
    return ordered


def judgment_id(row: ImportedRow, *, project: Project) -> uuid.UUID:
    """The same for the same judgment in a project, so that a second import knows it: of all that it says, by whom."""
    parts: list[object] = [project.pk, row.id, row.task, row.labeler, row.judge, row.judge_name, row.source]
    parts += [row.messages, row.margin, row.weight, row.seconds, row.scale, row.comment, row.timestamp, row.rated]
    parts += [dataclasses.astuple(response) for response in row.responses]
    return uuid.uuid5(uuid.NAMESPACE_OID, repr(parts))
