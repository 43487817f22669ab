"""The processes of `manage.py serve`: their supervisor, the broker, and how each is started, watched and ended."""
