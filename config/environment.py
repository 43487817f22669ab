"""Reads Hone's settings from environment variables: typed, strict, and with one clear line where one is wrong.

Every value may also come from a file: NAME_FILE names it (a container's secret, say). A HONE_ variable that nobody
reads is most likely misspelt, so it stops start-up too.
"""

import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

import environ
from environ.fileaware_mapping import FileAwareMapping

PREFIX = "HONE_"
WRONG_SETTING = 2
"""Exit status of a process that was started with a wrong setting."""
INTERNAL = frozenset({"HONE_PARENT_PID"})
"""Set by Hone itself for its child processes."""


class WrongSetting(Exception):
    """A sentence that names the variable, its value and what it may be."""


class Environment:
    """Environment variables as typed values. `refuse_unknown` comes last: it knows by then which names were read."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._env = environ.Env()
        self._env.ENVIRON = FileAwareMapping(env=dict(variables), cache=True)
        self._known: set[str] = set()

    def text(self, name: str, *, default: str, pattern: str = r".*", form: str = "text") -> str:
        """A line of text that matches the whole pattern; `form` says in words what is allowed."""
        value = self._read(name, default)
        if not re.fullmatch(pattern, value):
            raise WrongSetting(f"{name} is {value!r}; it must be {form}.")
        return value

    def choice(self, name: str, *, default: str, choices: Iterable[str]) -> str:
        value = self._read(name, default)
        if value not in (allowed := list(choices)):
            raise WrongSetting(f"{name} is {value!r}; it must be one of {', '.join(allowed)}.")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._read(name, "1" if default else "0").lower()
        if value in ("1", "true", "yes", "on"):
            return True
        if value in ("0", "false", "no", "off"):
            return False
        raise WrongSetting(f"{name} is {value!r}; it must be 1 or 0 (or true, false, yes, no, on, off).")

    def whole_number(self, name: str, *, default: int, minimum: int, maximum: int) -> int:
        value = self._read(name, str(default))
        if not re.fullmatch(r"[0-9]{1,9}", value) or not minimum <= int(value) <= maximum:
            raise WrongSetting(f"{name} is {value!r}; it must be a whole number from {minimum} to {maximum}.")
        return int(value)

    def names(self, name: str, *, default: str = "") -> list[str]:
        """Words between commas."""
        return [word.strip() for word in self._read(name, default).split(",") if word.strip()]

    def secret(self, name: str) -> str:
        """Empty where it isn't set; a key that can be guessed is refused. The value never shows in a message."""
        value = self._read(name, "")
        if value and len(value) < 32:
            raise WrongSetting(f"{name} has {len(value)} characters; it must have 32 or more.")
        return value

    def folder(self, name: str, *, default: Path) -> Path:
        """An absolute folder that exists afterwards and can be written to."""
        path = Path(self._read(name, str(default))).expanduser().absolute()
        try:
            path.mkdir(parents=True, exist_ok=True)
            probe = path / ".writable"
            probe.touch()
            probe.unlink(missing_ok=True)
        except OSError as error:
            raise WrongSetting(
                f"{name} is {str(path)!r}; it must be a folder that can be written to ({error.strerror})."
            ) from None
        return path

    def database(self, name: str, *, default: Path) -> dict[str, object]:
        """Django's description of a PostgreSQL server or a SQLite file."""
        url = self._read(name, f"sqlite:///{default}")
        allowed = "postgres://USER:PASSWORD@HOST/NAME or sqlite:////FOLDER/FILE"
        scheme = url.partition(":")[0]
        if scheme not in ("postgres", "postgresql", "sqlite"):
            raise WrongSetting(f"{name} starts with {scheme!r}; it must be {allowed}.")
        try:
            described: dict[str, object] = dict(environ.Env.db_url_config(url))
        except ValueError as error:
            raise WrongSetting(f"{name} can't be read ({error}); it must be {allowed}.") from None
        if described.get("NAME") in (None, "", ":memory:"):
            raise WrongSetting(f"{name} names no database; it must be {allowed}.")
        # A unix socket's folder stands in the host's place, percent-encoded, as PostgreSQL's own programs read it.
        described["HOST"] = unquote(str(described.get("HOST") or ""))
        return described

    def broker(self, name: str) -> str:
        """Address of a Redis or Valkey server, or nothing for the embedded one."""
        url = self._read(name, "")
        if not url:
            return ""
        scheme = url.partition(":")[0]
        if scheme not in ("redis", "rediss", "redis+socket"):
            raise WrongSetting(
                f"{name} starts with {scheme!r}; it must be redis://HOST:PORT/NUMBER, rediss:// or redis+socket:///PATH."
            )
        try:
            parts = urlsplit(url)
            reachable = bool(parts.path if scheme == "redis+socket" else parts.hostname) and (parts.port or True)
        except ValueError:
            reachable = False
        if not reachable:
            raise WrongSetting(f"{name} names no server that can be reached; it must be redis://HOST:PORT/NUMBER.")
        return url

    def refuse_unknown(self) -> None:
        """Raise for a HONE_ variable that no setting has read."""
        for name in sorted(self._variables):
            plain = name.removesuffix("_FILE")
            if not name.startswith(PREFIX) or name in INTERNAL or plain in self._known:
                continue
            meant = difflib.get_close_matches(name, self._known, n=1)
            hint = f"did you mean {meant[0]}?" if meant else f"there are {', '.join(sorted(self._known))}."
            raise WrongSetting(f"{name} is no setting of Hone; {hint}")

    def _read(self, name: str, default: str) -> str:
        if name.startswith(PREFIX):
            self._known.add(name)
        try:
            value = str(self._env.str(name, default=default)).strip()
        except OSError as error:
            raise WrongSetting(
                f"{name}_FILE names a file that can't be read: {error.filename} ({error.strerror})."
            ) from None
        if "\n" in value or "\0" in value:
            raise WrongSetting(f"{name} has more than one line.")
        # An empty variable is what compose files and shells make of one that isn't set.
        return value or default


def refuse(error: WrongSetting) -> NoReturn:
    """End the process with one line: a stack trace would hide it."""
    print(f"Hone can't start: {error}", file=sys.stderr)
    raise SystemExit(WRONG_SETTING)
