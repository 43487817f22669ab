"""Django's PostgreSQL backend, with cursors of prepared statements."""
