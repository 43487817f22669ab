"""Rows that are written once: texts a judgment rests on, judgments themselves, and the audit log."""

from typing import Any, NoReturn

from django.db import models


class ImmutableRowError(RuntimeError):
    """Code tried to change or delete a row that others rely on staying as it was."""


class AppendOnlyQuerySet(models.QuerySet):
    def update(self, **values: Any) -> NoReturn:
        raise ImmutableRowError(f"{self.model.__name__} rows are append-only and can't be updated")

    def delete(self) -> NoReturn:
        raise ImmutableRowError(f"{self.model.__name__} rows are append-only and can't be deleted")


class AppendOnlyModel(models.Model):
    """A model whose rows can be inserted and read, nothing else."""

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise ImmutableRowError(f"{type(self).__name__} {self.pk} is append-only and can't be changed")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ImmutableRowError(f"{type(self).__name__} {self.pk} is append-only and can't be deleted")
