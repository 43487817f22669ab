"""What becomes shorter on its way into the log. Django isn't set up yet when logging is, so this imports no models."""

import logging
import re

SECRET = re.compile(r"(/invitation/|/shared/)[\w:=-]+")
TOKEN = re.compile(r"(hone_[\w-]{4})[\w-]{20,}")
SHORTENED = ("OperationalError", "InterfaceError", "HashingBusy", "PermissionDenied")


class ExpectedErrorFilter(logging.Filter):
    """One line in place of a stack trace for each request that met a missing database, or asked for what it may not."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "django.request" and record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            if type(error).__name__ in SHORTENED:
                reason = " ".join(str(error).split()) or type(error).__name__
                record.msg, record.args = "%s (%s)", (record.getMessage(), reason)
                record.exc_info = record.exc_text = None
                if type(error).__name__ == "HashingBusy":
                    # Planned: the person is asked to try again, and nobody has anything to repair.
                    record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


class InvitationFilter(logging.Filter):
    """The log holds no link of an invitation, nor one to a snapshot: whoever has it can use it."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "/invitation/" in message or "/shared/" in message:
            record.msg, record.args = SECRET.sub(r"\1***", message), ()
        return True


class TokenFilter(logging.Filter):
    """Nor a token of the API, should somebody write one into an address."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if TOKEN.search(message):
            record.msg, record.args = TOKEN.sub(r"\1***", message), ()
        return True
