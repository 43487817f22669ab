"""Prepared queries give what their querysets give, and each has its SQL once."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F, QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate.labeling import queue
from annotate.models import Assignment, Author, DataImport, Judgment, Prompt, Response, Task
from annotate.models.data.data_import import writing
from annotate.models.prepared_queries import Update, insert, prepared_query, prepared_update
from tests.factories.cast import Cast, make_comparison

pytestmark = pytest.mark.django_db


@prepared_query
def held(labeler: int, until: Any) -> QuerySet[Assignment]:
    found = Assignment.objects.filter(labeler_id=labeler, lease_until__gt=until, ended_at=None)
    return found.select_related("task__prompt", "judgment").annotate(slug=F("project__slug")).order_by("-pk")


@prepared_query
def questions(numbers: tuple[int, ...], language: str) -> QuerySet[Prompt]:
    return Prompt.objects.filter(pk__in=numbers, language=language).order_by("pk").only("messages")


@prepared_query
def tasks(project: int) -> QuerySet[Task]:
    return Task.objects.filter(project_id=project).order_by("pk")


@prepared_update
def set_priority(task: int, priority: int | None, project: int) -> Update:
    return Task.objects.filter(pk=task, project_id=project), {"priority": priority, "slots_free": F("slots_free") - 1}


def values(row: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(row).items() if name != "_state"}


def test_rows_are_the_objects_of_the_queryset(cast: Cast) -> None:
    for number in range(3):
        make_comparison(cast.project, f"Question {number}?")
    for labeler in (cast.labeler, cast.second_labeler):
        queue.claim_next(labeler=labeler, project=cast.project)
    past = timezone.now() - timedelta(days=1)
    for labeler in (cast.labeler, cast.second_labeler, cast.labeler, cast.outsider):
        given = {"labeler": labeler.pk, "until": past}
        found, wanted = held.all(**given), list(held.build(**given))
        assert [row.pk for row in found] == [row.pk for row in wanted]
        for row, other in zip(found, wanted, strict=True):
            assert row.__dict__.keys() == other.__dict__.keys()
            for one, same in ((row, other), (row.task, other.task), (row.task.prompt, other.task.prompt)):
                assert {**values(one), "slug": ""} == {**values(same), "slug": ""}
                assert (one._state.adding, one._state.db) == (False, "default")
            assert row.slug == "kindness"
            assert not hasattr(row, "judgment")
        assert held.count(**given) == len(wanted)
    assert held.all(labeler=cast.labeler.pk, until=timezone.now() + timedelta(days=9)) == []
    assert held.first(labeler=cast.outsider.pk, until=past) is None


def test_a_list_has_any_length_and_columns_may_be_left_out(cast: Cast) -> None:
    prompts = [make_comparison(cast.project, f"Question {number}?").prompt for number in range(3)]
    numbers = [prompt.pk for prompt in prompts if prompt is not None]
    for length in (1, 3, 2, 3):
        found = questions.all(numbers=tuple(numbers[:length]), language="en")
        assert [row.question for row in found] == [f"Question {number}?" for number in range(length)]
        assert found[0].get_deferred_fields() >= {"content_hash", "source"}
        assert found[0].source == prompts[0].source  # read when it is asked for
    assert questions.all(numbers=tuple(numbers), language="zh") == questions.all(numbers=(), language="en") == []
    assert [questions.count(numbers=tuple(numbers[:length]), language="en") for length in (3, 0)] == [3, 0]


def test_each_run_is_one_statement_and_nothing_is_compiled_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    make_comparison(cast.project)
    tasks.all(project=cast.project.pk)
    monkeypatch.setattr(tasks, "build", None)
    with CaptureQueriesContext(connection) as queries:
        assert len(tasks.all(project=cast.project.pk)) == 1
        assert tasks.all(project=cast.other_project.pk) == []
    assert len(queries) == 2
    assert f'"project_id" = {cast.other_project.pk}' in queries[1]["sql"]


def test_an_import_sees_its_own_unfinished_rows_and_nobody_else_does(cast: Cast) -> None:
    make_comparison(cast.project)
    under_way = DataImport.objects.create(project=cast.project, file_name="x", created_by=cast.manager)
    with writing(under_way):
        make_comparison(cast.project, "Unfinished?")
        assert len(tasks.all(project=cast.project.pk)) == tasks.count(project=cast.project.pk) == 2
    assert len(tasks.all(project=cast.project.pk)) == tasks.count(project=cast.project.pk) == 1


def test_an_update_says_how_many_rows_it_changed(cast: Cast) -> None:
    task = make_comparison(cast.project)
    assert set_priority(task=task.pk, priority=7, project=cast.project.pk) == 1
    assert set_priority(task=task.pk, priority=8, project=cast.other_project.pk) == 0
    task.refresh_from_db()
    assert (task.priority, task.slots_free) == (7, 0)
    with pytest.raises(IntegrityError), transaction.atomic():
        set_priority(task=task.pk, priority=None, project=cast.project.pk)


def test_a_row_is_inserted_as_save_inserts_it(cast: Cast) -> None:
    task = make_comparison(cast.project)
    for _ in range(2):
        author = insert(Author(kind=Author.Kind.MODEL, name=f"model {_}"))
        row = insert(Task(project=cast.project, prompt=task.prompt, priority=3, gold_tiers=[[1], [2]]))
        assert (row._state.adding, row.position) == (False, row.random_key - 3 * 2**48)
        stored = Task.objects.get(pk=row.pk)
        assert values(stored) == {name: value for name, value in values(row).items() if name in values(stored)}
        assert Author.objects.get(pk=author.pk).name == f"model {_}"
    row.priority = 4
    row.save()
    assert Task.objects.get(pk=row.pk).priority == 4
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(Judgment(task=task, labeler=cast.labeler, project=cast.project))


def test_what_decides_how_a_query_is_built_is_no_value_of_it(cast: Cast) -> None:
    task = make_comparison(cast.project)

    @prepared_query
    def of_kinds(project: int, kinds: frozenset[str], is_open: bool, skill: Any) -> QuerySet[Task]:
        found = Task.objects.filter(project_id=project, kind__in=sorted(kinds), skill=skill)
        return found.filter(state=Task.State.OPEN) if is_open else found.exclude(state=Task.State.OPEN)

    for kinds, is_open, count in ((["compare", "rate"], True, 1), (["compare"], False, 0), (["rate"], True, 0)) * 2:
        found = of_kinds.all(project=task.project_id, kinds=frozenset(kinds), is_open=is_open, skill=None)
        assert len(found) == count
    assert len(of_kinds._compiled) == 3


def test_a_value_that_does_not_stand_in_the_sql_is_refused(cast: Cast) -> None:
    unused = prepared_query(lambda project, text: Response.objects.filter(prompt__project=project))
    with pytest.raises(LookupError, match="not every value"):
        unused.all(project=1, text="x")
    with pytest.raises(TypeError, match="a whole number, a text or a moment"):
        tasks.all(project=1.5)


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite's driver keeps its statements")
def test_postgresql_keeps_the_statements_with_their_constants(cast: Cast) -> None:
    constant = "it's 100%s sure"

    @prepared_query
    def named(project: int, above: int) -> QuerySet[Task]:
        return Task.objects.filter(project_id=project, pk__gt=above).exclude(kind=constant).order_by("pk")

    pks = [make_comparison(cast.project, f"Question {number}?").pk for number in range(2)]
    for above, found in ((0, pks), (pks[0], pks[1:]), (2**40, [])):
        assert [task.pk for task in named.all(project=cast.project.pk, above=above)] == found
    with connection.cursor() as cursor:
        # Numbers of any length are of one type.
        cursor.execute("SELECT parameter_types::text FROM pg_prepared_statements WHERE statement LIKE %s", ["%100%s%"])
        assert cursor.fetchall() == [("{bigint,bigint}",)]
