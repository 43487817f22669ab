"""The search for a labeler's next task in the queue, and the slot that they take of it.

A claim holds locks; on SQLite it is the lock that every writer waits for. So within its transaction a search looks at
no more than WINDOW tasks of each place. Where those leave the labeler nothing (they have done them, or the tasks are in
another language) the transaction ends, and `look_further` goes through the rest of the queue without a lock. The next
transaction looks at a window again, which begins at what was found.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import transaction
from django.db.models import F, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from annotate.labeling.checks import lane
from annotate.labeling.queue.work_rules import WorkRules, for_labeler, is_there, reads
from annotate.labeling.sensitive_content import visibility
from annotate.models import Assignment, Prompt, QueueCursor, Task
from annotate.models.prepared_queries import Update, prepared_query, prepared_update

# Positions before and behind every task's (they fit in 64 bits, see Task.position).
START, END = -(2**63), 2**63 - 1
WINDOW = 500
"""Tasks of the queue that one search looks at while it holds locks."""
STRIDE = 5_000
"""Tasks that one query looks at without a lock."""
MOST_LANGUAGES = 200
"""Of a project's prompts, beyond which nobody looks for those that a labeler reads."""
MOST_LOOKED_AT = 500
"""Tasks of the last one's prompt, one after the other, among which one of another prompt is looked for."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A part of the queue: the tasks above one position and up to another; with `reopened_after`, of those the ones of
    which places came free again since then."""

    above: int
    up_to: int
    reopened_after: int | None = None


@dataclass(frozen=True, kw_only=True)
class Further:
    """A search that goes on without locks.

    searched:  what the labeler may be given.
    prompt:    of the task that they had before: the next one is of another, if there is one.
    cursor:    (position, epoch, reopened_seen) as the labeler's cursor was. Where any of these three has changed, the
               search begins anew.
    epoch, reopened_count: the project's, read before anything was looked at.
    places:    where the first task for the labeler is, or may be; nowhere, if there are none.
    others:    where the first one of another prompt is; empty if there is none, or before it was looked for.
    looked:    whether `look_further` has gone through the places.
    """

    searched: dict[str, Any]
    prompt: int | None
    cursor: tuple[int, int, int]
    epoch: int
    reopened_count: int
    places: Sequence[Place]
    others: Sequence[Place] = ()
    looked: bool = False

    def goes_on_from(self, other: "Further | None") -> bool:
        """Whether what the other one has found is what this one looks for."""
        if other is None:
            return False
        return (self.searched, self.prompt, self.cursor) == (other.searched, other.prompt, other.cursor)


def take_slot(
    rules: WorkRules, *, cursor: QueueCursor, wait: bool, after: Task | None, further: Further | None = None
) -> Task | Further | None:
    """Take a slot of the first task that the labeler hasn't seen, or whose lease of theirs ran out.

    The search begins with what came free again in tasks that the labeler has come past, goes on where the last one
    ended, so that it skips what was judged, and begins once more from the front if nothing is left there.
    Tasks that others have locked are passed by; `wait` waits for them when there are no others. A search that would
    hold its locks too long comes back as Further.
    """
    search = _begun(rules, cursor=cursor, after=after)
    if further is not None and search.goes_on_from(further):
        search = further
    found = _first_free(search, wait=wait)
    if found is None or isinstance(found, Further):
        return found
    place, task = found
    came_again = task is not None and place.reopened_after is not None
    position = END if task is None else task.position
    if task is not None and search.prompt is not None and task.prompt_id == search.prompt:
        other = _of_another_prompt(search, place, task)
        if isinstance(other, Further):
            return other
        if other is not None:
            # The one of the same prompt is the first of the next search.
            position, task = position - 1, other
    if task is not None:
        if _take_place(task=task.pk) != 1:
            raise RuntimeError(f"task {task.pk} lost its free place while it was locked")
        task.slots_free -= 1
    kept: dict[str, int] = {}
    if not came_again:
        kept |= {"position": position, "epoch": search.epoch, "reopened_seen": search.reopened_count}
    if task is not None and lane.is_on(rules.project, cursor):
        # This task's draw, see checks.draws. Where there was no task, asking again asks for the same draw.
        kept |= {"draws": cursor.draws + 1, "calibrated": cursor.calibrated}
    if kept:
        for name, value in kept.items():
            setattr(cursor, name, value)
        _keep_cursor(cursor=cursor.pk, **kept)
    return task


def look_further(search: Further) -> Further:
    """Go through the places without a lock, outside a transaction, to the first task that the labeler may be given and
    the first of those of another prompt than the last one's."""
    if (few := _few_in_languages(search)) is not None:
        return _found_among(search, few)
    first: list[Place] = []
    passed = 0
    for number, place in enumerate(search.places):
        rest = search.places[number + 1 :]
        for part in _strides(search, place):
            if not first:
                if (task := _first_in.first(**search.searched, **vars(part))) is None:
                    continue
                first = [replace(place, above=task.position - 1), *rest]
                if search.prompt is None or task.prompt_id != search.prompt:
                    return replace(search, places=first, others=(), looked=True)
                part = replace(part, above=task.position - 1)
            of_prompt = {**search.searched, **vars(part), "prompt": search.prompt}
            if (other := _first_of_another_prompt_in.first(**of_prompt)) is not None:
                others = [replace(place, above=other.position - 1), *rest]
                return replace(search, places=first, others=others, looked=True)
            passed += _of_prompt_in.count(**of_prompt)
            if passed >= MOST_LOOKED_AT:
                return replace(search, places=first, others=(), looked=True)
    return replace(search, places=first, others=(), looked=True)


def _few_in_languages(search: Further) -> list[int] | None:
    """The tasks with a free place in the languages that the labeler reads, by the index of prompts' languages; None
    where they are more than STRIDE, or the labeler reads any language."""
    languages, project = search.searched["languages"], search.searched["project"]
    if not languages or (readable := _readable(project, languages)) is None:
        return None
    prompts = Prompt.with_unfinished.filter(project=project, language__in=readable).order_by()
    numbers = list(prompts.values_list("pk", flat=True)[: STRIDE + 1])
    if len(numbers) > STRIDE:
        return None
    free = Task.objects.filter(state=Task.State.OPEN, slots_free__gt=0).order_by().values_list("pk", flat=True)
    # A kind whose tasks have no prompt is for everybody; the others are skipped by the index of kinds.
    found = list(free.filter(project=project, kind=Task.Kind.WRITE_PROMPT, prompt=None)[: STRIDE + 1])
    for start in range(0, len(numbers), WINDOW):
        if len(found) > STRIDE:
            break
        found += free.filter(prompt__in=numbers[start : start + WINDOW])[: STRIDE + 1]
    return found if len(found) <= STRIDE else None


def _readable(project: int, languages: frozenset[str]) -> list[str] | None:
    """Those of the languages of a project's prompts that somebody with these languages reads; each is one look into an
    index. None where the project has more than MOST_LANGUAGES."""
    prompts = Prompt.with_unfinished.filter(project=project).order_by("language").values_list("language", flat=True)
    found: list[str] = []
    language = prompts.first()
    for _language in range(MOST_LANGUAGES):
        if language is None:
            return found
        if reads(languages, language):
            found.append(language)
        language = prompts.filter(language__gt=language).first()
    return None


def _found_among(search: Further, tasks: list[int]) -> Further:
    """What `look_further` finds, if the labeler may be given no other tasks than these."""
    first: list[Place] = []
    for number, place in enumerate(search.places):
        rest = search.places[number + 1 :]
        # Sorted here: SQLite would walk along the queue for its order.
        candidates = _candidates(**search.searched, **vars(place), is_window=False).order_by()
        passing = [
            found
            for start in range(0, len(tasks), WINDOW)
            for found in candidates.filter(pk__in=tasks[start : start + WINDOW]).values_list("position", "prompt")
        ]
        passing.sort(key=lambda found: found[0])
        if passing and not first:
            first = [replace(place, above=passing[0][0] - 1), *rest]
            if search.prompt is None:
                break
        if (other := next((found for found, prompt in passing if prompt != search.prompt), None)) is not None:
            return replace(search, places=first, others=[replace(place, above=other - 1), *rest], looked=True)
    return replace(search, places=first, others=(), looked=True)


def _begun(rules: WorkRules, *, cursor: QueueCursor, after: Task | None) -> Further:
    """A search from the labeler's place in the queue. Inside the transaction that has locked the cursor."""
    # See leases.locked_cursor.
    epoch, reopened_count = cursor.queue_epoch, cursor.reopened_count  # type: ignore[attr-defined]
    project = rules.project
    start = cursor.position if cursor.epoch == epoch else START
    places = [Place(above=place, up_to=END) for place in (start,) if place != END]
    if start not in (START, END):
        places.append(Place(above=START, up_to=start))
    if start != START and cursor.reopened_seen < reopened_count:
        again = Place(above=START, up_to=start, reopened_after=cursor.reopened_seen)
        if _beyond_reopened.first(project=project.pk, after=cursor.reopened_seen) is not None:
            places = [Place(above=START, up_to=END)]
        else:
            places.insert(0, again)
    return Further(
        searched={
            "labeler": rules.labeler.pk,
            "project": project.pk,
            "kinds": (cursor.kind,) if cursor.kind in project.task_kinds else tuple(project.task_kinds),
            "is_spared": visibility.is_spared(rules.labeler, project),
            "skills": rules.skills,
            "languages": rules.languages,
        },
        prompt=None if after is None else after.prompt_id,
        cursor=(cursor.position, cursor.epoch, cursor.reopened_seen),
        epoch=epoch,
        reopened_count=reopened_count,
        places=places,
    )


def _first_free(search: Further, *, wait: bool) -> tuple[Place, Task | None] | Further | None:
    """The first task that may be taken, locked, with the place where it was; with no task where there is none. None
    where others have locked what there is, and Further where there is more to look at."""
    # Of what `look_further` found only the first place: what comes behind it is not known.
    places = search.places[:1] if search.looked else search.places
    is_all = not search.looked or not search.places
    for place in places:
        if (task := _first_unlocked.first(**search.searched, **vars(place))) is not None:
            return place, task
        if not search.looked and not _is_window(search, place):
            return search
    # What is left is locked by others, who may not take its last place: wait for it instead of saying there is nothing.
    for place in places:
        while (locked := _first_in_window.first(**search.searched, **vars(place))) is not None:
            if not wait:
                return None
            if (task := _waited_for(search, place, locked.pk)) is not None:
                return place, task
    return (Place(above=START, up_to=END), None) if is_all else search


def _of_another_prompt(search: Further, place: Place, task: Task) -> Task | Further | None:
    """The first task of another prompt than this one's that nobody has locked; None where there are none."""
    if search.looked:
        places = search.others[:1]
    else:
        places = search.places[search.places.index(place) :]
    for part in places:
        of_prompt = {**search.searched, **vars(part), "prompt": search.prompt}
        if (other := _first_unlocked_of_another_prompt.first(**of_prompt)) is not None:
            return other
        if search.looked or not _is_window(search, part):
            return search
    return None


def _waited_for(search: Further, place: Place, number: int) -> Task | None:
    """The task, locked, once nobody else has locked it; None where the search doesn't find it any more."""
    with transaction.atomic():
        candidates = _candidates(**search.searched, **vars(place))
        task = candidates.filter(pk=number).select_for_update(of=("self",), no_key=True).first()
        if task is None:
            # PostgreSQL keeps the lock of a row that it waited for and then left out. Whoever went on to wait for the
            # next one with it could wait for somebody who waits for this one.
            transaction.set_rollback(True)
    return task


def _is_window(search: Further, place: Place) -> bool:
    """Whether the place has no more tasks than one search looks at."""
    if place.reopened_after is not None:
        return True  # see _begun
    return _window_end.first(project=search.searched["project"], above=place.above, up_to=place.up_to) is None


def _strides(search: Further, place: Place) -> Iterator[Place]:
    """The place in parts of STRIDE tasks."""
    project = search.searched["project"]
    while place.reopened_after is None:
        end = _stride_end.first(project=project, above=place.above, up_to=place.up_to)
        if end is None:
            break
        yield replace(place, up_to=end.position)
        place = replace(place, above=end.position)
    yield place


@prepared_update
def _take_place(task: int) -> Update:
    free = Task.objects.filter(pk=task, state=Task.State.OPEN, slots_free__gt=0)
    return free, {"slots_free": F("slots_free") - 1}


@prepared_update
def _keep_cursor(cursor: int, **kept: int) -> Update:
    return QueueCursor.objects.filter(pk=cursor), kept


def _queue(project: int, above: int, up_to: int) -> QuerySet[Task]:
    """The tasks of a place, for whomever, in their order: an index, of which nothing else is read."""
    tasks = Task.with_unfinished.filter(project=project, state=Task.State.OPEN, slots_free__gt=0)
    return tasks.filter(position__gt=above, position__lte=up_to).order_by("position").only("position")


@prepared_query
def _window_end(project: int, above: int, up_to: int) -> QuerySet[Task]:
    return _queue(project, above, up_to)[WINDOW - 1 : WINDOW]


@prepared_query
def _stride_end(project: int, above: int, up_to: int) -> QuerySet[Task]:
    return _queue(project, above, up_to)[STRIDE - 1 : STRIDE]


@prepared_query
def _beyond_reopened(project: int, after: int) -> QuerySet[Task]:
    """One of those that came free again, if there are more than WINDOW of them."""
    reopened = Task.with_unfinished.filter(project=project, state=Task.State.OPEN, slots_free__gt=0)
    return reopened.filter(reopened__gt=after).order_by("reopened").only("reopened")[WINDOW : WINDOW + 1]


def _candidates(
    labeler: int,
    project: int,
    kinds: tuple[str, ...],
    is_spared: bool,
    skills: frozenset[int],
    languages: frozenset[str],
    above: int,
    up_to: int,
    reopened_after: int | None,
    is_window: bool = True,
) -> QuerySet[Task]:
    """The tasks of a place that the labeler may be given, in the order of the queue; of the first WINDOW tasks of the
    place, unless the place is small enough (`is_window` False)."""
    # A lease that ran out doesn't count as seen: the labeler gets the task again.
    seen = Assignment.objects.filter(task=OuterRef("pk"), labeler=labeler).exclude(state=Assignment.State.EXPIRED)
    tasks = Task.objects.filter(project=project, state=Task.State.OPEN, slots_free__gt=0, kind__in=kinds)
    tasks = for_labeler(
        visibility.unmarked(tasks) if is_spared else tasks, labeler=labeler, skills=skills, languages=languages
    )
    tasks = tasks.exclude(is_there(seen))
    end: Any = up_to
    if reopened_after is not None:
        tasks = tasks.filter(reopened__gt=reopened_after)
    elif is_window:
        # One bound and not two, or SQLite would walk to the other one.
        last = _window_end.build(project, above, up_to).values("position")
        end = Coalesce(Subquery(last), Value(up_to))
    tasks = tasks.filter(position__gt=above, position__lte=end)
    return tasks.select_related("prompt").order_by("position")


@prepared_query
def _first_unlocked(**searched: Any) -> QuerySet[Task]:
    """The first of the candidates that nobody has locked."""
    return _candidates(**searched).select_for_update(skip_locked=True, of=("self",), no_key=True)[:1]


@prepared_query
def _first_unlocked_of_another_prompt(prompt: int, **searched: Any) -> QuerySet[Task]:
    others = _candidates(**searched).exclude(prompt=prompt)
    return others.select_for_update(skip_locked=True, of=("self",), no_key=True)[:1]


@prepared_query
def _first_in_window(**searched: Any) -> QuerySet[Task]:
    return _candidates(**searched)[:1]


@prepared_query
def _first_in(**searched: Any) -> QuerySet[Task]:
    return _candidates(**searched, is_window=False)[:1]


@prepared_query
def _first_of_another_prompt_in(prompt: int, **searched: Any) -> QuerySet[Task]:
    return _candidates(**searched, is_window=False).exclude(prompt=prompt)[:1]


@prepared_query
def _of_prompt_in(prompt: int, **searched: Any) -> QuerySet[Task]:
    return _candidates(**searched, is_window=False).filter(prompt=prompt)
