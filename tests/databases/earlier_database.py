"""The test database as an earlier migration left it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.apps.registry import Apps
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader


class LoaderOfReplaced(MigrationLoader):
    """Leaves out the squashed migrations: the way back goes through those that they replace."""

    def load_disk(self) -> None:
        super().load_disk()
        self.disk_migrations = {key: found for key, found in self.disk_migrations.items() if not found.replaces}


@contextmanager
def earlier_database(targets: Sequence[tuple[str, str]]) -> Iterator[Apps]:
    """Within this the test database is as these migrations left it; afterwards it has the newest again."""
    executor = MigrationExecutor(connection)
    executor.loader = LoaderOfReplaced(connection)
    try:
        executor.migrate(targets)
        yield executor.loader.project_state(targets).apps
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
