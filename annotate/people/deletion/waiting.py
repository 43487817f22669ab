"""What a deletion waits for."""


class NotYet(Exception):
    """Another process is at work on what is to be deleted next. The scheduler asks again within a minute."""
