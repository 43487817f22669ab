"""Django's SQLite backend, with a fair way to the write lock."""
