"""Django's PostgreSQL, with a second kind of cursor: its statements are prepared on the server.

Django puts the values into each statement and sends it as a text, which PostgreSQL parses and plans anew. The
statements of every submit (annotate.models.prepared_queries) are the same but for their values: with these sent apart,
a connection parses each once, and plans it again only where a plan for any values would cost more.
"""

from typing import Any

from django.db.backends.postgresql import base, operations
from django.db.backends.utils import CursorWrapper


class DatabaseOperations(operations.DatabaseOperations):
    def last_executed_query(self, cursor: Any, sql: str, params: Any) -> str:
        # A cursor of prepared statements has no text with its values.
        return super().last_executed_query(cursor, sql, params) or str(self.compose_sql(sql, params))


class DatabaseWrapper(base.DatabaseWrapper):
    ops_class = DatabaseOperations

    def get_connection_params(self) -> dict[str, Any]:
        # At the first time already; Django's other cursors send whole statements, of which none is prepared.
        return {**super().get_connection_params(), "prepare_threshold": 0}

    def prepared_cursor(self) -> CursorWrapper:
        """As `cursor()`, for statements that come again and again."""
        self.ensure_connection()
        connection = self.connection
        usual, connection.cursor_factory = connection.cursor_factory, base.ServerBindingCursor
        try:
            return self.cursor()
        finally:
            connection.cursor_factory = usual
