"""Exceptions that cross module boundaries. Messages are sentences for the user, unless a docstring says otherwise."""


class BadInput(Exception):
    """User input that cannot be used: a flag, a setting, a file or a row."""


class BadLine(Exception):
    """A line that holds no JSON object. The message is a phrase without a full stop; readers add file and line."""


class RowError(BadLine):
    """A JSON object that is no valid row of its kind; also a phrase."""


class Stopped(Exception):
    """A requested stop. A recipe raises it once its checkpoint is on disk."""


class Halted(Exception):
    """A step that cannot be computed for now, raised before any weight has changed.

    The recipe saves its state before it ends: the obstacle can be removed, and the run continues with --resume.
    """


class Diverged(BadInput):
    """Training that cannot continue because a loss or gradient is not finite: the settings are to blame."""


class ServerFailed(Exception):
    """A model server that sent no usable reply after all retries."""
