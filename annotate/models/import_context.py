"""Which import, if any, the running code writes rows of (see data_import)."""

from contextvars import ContextVar

under_way: ContextVar[int | None] = ContextVar("import_under_way", default=None)


def import_under_way() -> int | None:
    """The number of the import that this code writes rows of; None outside of one."""
    return under_way.get()
