"""Files on their way into a project, and rows that stay unseen until the whole file is there.

An import writes its rows in many short transactions, each stamped with the import's number. The managers leave out the
rows of imports that haven't finished, so that one update of the import's own row makes all of them appear at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models.import_context import import_under_way, under_way
from annotate.models.leased_job import LeasedJob
from annotate.models.people.project import Project


@contextmanager
def writing(data_import: "DataImport") -> Iterator[None]:
    """Within this, new rows belong to the import, and its own rows are seen beside everybody's."""
    token = under_way.set(data_import.pk)
    try:
        yield
    finally:
        under_way.reset(token)


class DataImport(LeasedJob):
    """One file's way into a project.

    writing -> applying -> done        from `applying` on its rows are seen, and it is finished whatever happens
    writing -> removing -> failed      what was written is taken away again

    A process writes or removes by a lease (see leased_job), which each of its transactions renews.
    """

    class State(models.TextChoices):
        WRITING = "writing", _("Being imported")
        APPLYING = "applying", _("Being finished")
        REMOVING = "removing", _("Being taken back")
        DONE = "done", _("Imported")
        FAILED = "failed", _("Failed")

    UNFINISHED = (State.WRITING, State.REMOVING)
    """In which its rows aren't seen."""
    UNDER_WAY = (*UNFINISHED, State.APPLYING)

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="data_imports")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    file_name = models.CharField(max_length=200)
    upload = models.ForeignKey(
        "annotate.Upload", null=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )
    state = models.CharField(max_length=8, choices=State.choices, default=State.WRITING)
    rows_written = models.PositiveIntegerField(default=0, help_text="Rows of the file that are dealt with.")
    report = models.JSONField(default=dict, help_text="What became of the file: the fields of imports.ImportReport.")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            # Two files may bring the same prompt: the second waits until it is clear what the first leaves.
            models.UniqueConstraint(
                fields=["project"],
                condition=Q(state__in=["writing", "removing", "applying"]),
                name="data_import_one_at_a_time",
            ),
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="data_import_project"),
            models.Index(fields=["state"], condition=Q(state__in=["writing", "removing"]), name="data_import_open"),
        ]

    def __str__(self) -> str:
        return f"import {self.pk} of {self.file_name}"


class PromptChange(models.Model):
    """An import's changes to a prompt that was there before it: kept until the import is seen, then written."""

    data_import = models.ForeignKey(DataImport, on_delete=models.CASCADE, related_name="prompt_changes")
    prompt = models.ForeignKey("annotate.Prompt", on_delete=models.CASCADE, related_name="+")
    sensitive = models.BooleanField(default=False, help_text="Whether it is marked as one that may upset.")
    external_id = models.CharField(max_length=200, blank=True, help_text="The id that it gets, if any.")

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"change of prompt {self.prompt_id} by import {self.data_import_id}"


class ImportNumberField(models.PositiveBigIntegerField):
    """The import that brought a row. Not a foreign key: it is compared in every query, and never joined."""

    def deconstruct(self) -> Any:
        name, _path, arguments, values = super().deconstruct()
        return name, "django.db.models.PositiveBigIntegerField", arguments, values


@ImportNumberField.register_lookup
class IsFinished(models.Lookup):
    """Whether the import has finished, or is this one, or there was none. Written out, because every query has it."""

    lookup_name = "finished_or"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str | int, ...]]:
        column, values = self.process_lhs(compiler, connection)
        table = connection.ops.quote_name(DataImport._meta.db_table)
        states = ", ".join(f"'{state.value}'" for state in DataImport.UNFINISHED)
        unfinished = f"SELECT id FROM {table} WHERE state IN ({states})"
        own = f" OR {column} = {int(self.rhs)}" if self.rhs else ""
        return f"({column} IS NULL OR {column} NOT IN ({unfinished}){own})", (*values,) * (3 if own else 2)


class FinishedManager(models.Manager):
    """All but the rows of unfinished imports."""

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().filter(data_import__finished_or=import_under_way() or 0)


class ImportableModel(models.Model):
    """A model whose rows an import may bring. `with_unfinished` has the rows of unfinished imports as well."""

    data_import = ImportNumberField(null=True, editable=False, default=import_under_way)

    objects = FinishedManager()
    with_unfinished = models.Manager()  # noqa: DJ012

    class Meta:
        abstract = True
