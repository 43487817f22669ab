"""Reads Hone's settings from environment variables: typed, strict, and with one clear line where one is wrong.

A value is what it is, character by character: `$` and `\\` mean nothing. It may also come from a file: NAME_FILE names
it (a container's secret, say). A HONE_ variable that nobody reads is most likely misspelt, so it stops start-up too.
"""

import difflib
import ipaddress
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

PREFIX = "HONE_"
WRONG_SETTING = 2
"""Exit status of a process that was started with a wrong setting."""
SQLITE = "config.sqlite3"
POSTGRESQL = "config.postgresql"
INTERNAL = frozenset({"HONE_PARENT_PID"})
"""Set by Hone itself for its child processes."""
SILENT_SERVER = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
"""libpq's own defaults wait a quarter of an hour, or two hours, for a server behind a network that was cut."""


class WrongSetting(Exception):
    """A sentence that names the variable, its value and what it may be."""


class Environment:
    """Environment variables as typed values. `refuse_unknown` comes last: it knows by then which names were read."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
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

    def choices(self, name: str, *, choices: Sequence[str]) -> list[str]:
        """Words between commas, each one of `choices`."""
        found = self.names(name)
        for word in found:
            if word not in choices:
                raise WrongSetting(f"{name} holds {word!r}; each must be one of {', '.join(choices)}.")
        return found

    def folders(self, name: str) -> list[str]:
        """Absolute folders between commas; they need not exist yet."""
        found = self.names(name)
        for folder in found:
            if not Path(folder).is_absolute():
                raise WrongSetting(f"{name} holds {folder!r}; each must be an absolute folder such as /srv/models.")
        return found

    def addresses(self, name: str, *, default: str = "") -> list[str]:
        """Networks or addresses between commas."""
        found = self.names(name, default=default)
        for network in found:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                raise WrongSetting(
                    f"{name} holds {network!r}; each must be an address or a network such as 10.0.0.0/8."
                ) from None
        return found

    def origins(self, name: str) -> list[str]:
        """Origins between commas: scheme, host and port, without a path."""
        found = self.names(name)
        for origin in found:
            if not re.fullmatch(r"https?://[^/?#\s]+", origin):
                raise WrongSetting(f"{name} holds {origin!r}; each must be an origin such as https://hone.example.")
        return found

    def address_of_server(self, name: str, *, example: str, shown: bool = True) -> str:
        """An HTTP address, without a slash at its end; empty where it isn't set. shown: it holds no key."""
        url = self._read(name, "").rstrip("/")
        if url and not re.fullmatch(r"https?://[^\s?#]+", url):
            raise WrongSetting(f"{name} {f'is {url!r}' if shown else 'can’t be read'}; it must be like {example}.")
        return url

    def bucket(self, name: str) -> str:
        """s3://BUCKET or s3://BUCKET/PREFIX, without a slash at its end; empty where it isn't set."""
        place = self._read(name, "").rstrip("/")
        if place and not re.fullmatch(
            r"s3://[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9](/(?!\.{1,2}(/|$))[A-Za-z0-9._\-]+)*", place
        ):
            raise WrongSetting(f"{name} is {place!r}; it must be a bucket, or a folder in one, such as s3://hone/team.")
        return place

    def needs_package(self, name: str, *, package: str, extra: str) -> None:
        """Refuse a variable that is set where what it needs isn't installed. It imports nothing."""
        if self._read(name, "") not in ("", "0") and find_spec(package) is None:
            raise WrongSetting(
                f"{name} needs packages that aren't installed: pip install --constraint constraints.txt --editable "
                f"'.[{extra}]'."
            )

    def issuer(self, name: str) -> str:
        """The address of an OpenID Connect provider, over HTTPS unless it is this machine; empty where it isn't set."""
        url = self._read(name, "").rstrip("/")
        if url and not re.fullmatch(
            r"https://[^\s?#@]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/[^\s?#@]*)?", url
        ):
            raise WrongSetting(f"{name} is {url!r}; it must be an issuer such as https://login.example/realms/team.")
        return url

    def endpoints(self, name: str) -> dict[str, tuple[str, str]]:
        """{name: (address, variable of its key)} of entries between commas: NAME=ADDRESS or NAME=ADDRESS VARIABLE."""
        found = {}
        for entry in self.names(name):
            match = re.fullmatch(r"(?P<name>[\w.\-]{1,60})=(?P<address>https?://[^\s?#@]+)(?:\s+(?P<key>\w+))?", entry)
            if match is None or match["name"] in found:
                raise WrongSetting(
                    f"{name} holds {entry!r}; each entry must be a name of its own, =, the address of a server, and "
                    "after a space the variable that holds its key, if it has one: local=http://127.0.0.1:8080/v1 KEY."
                )
            found[match["name"]] = (match["address"], match["key"] or "")
        return found

    def secret(self, name: str) -> str:
        """Empty where it isn't set; a key that can be guessed is refused. The value never shows in a message."""
        value = self._read(name, "")
        if value and len(value) < 32:
            raise WrongSetting(f"{name} has {len(value)} characters; it must have 32 or more.")
        return value

    def folder(self, name: str, *, default: Path) -> Path:
        """An absolute folder that exists afterwards and can be written to."""
        text = self._literal(name).removesuffix("\n")
        if "\0" in text:
            raise WrongSetting(f"{name} holds a NUL character, which no folder's name can.")
        # Not stripped: a folder's name may begin or end in any character.
        path = Path(text if text.strip() else default).expanduser().absolute()
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

    @staticmethod
    def subfolder(path: Path) -> Path:
        """A folder of the data folder, made where it is missing."""
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise WrongSetting(f"{str(path)!r} must be a folder ({error.strerror}).") from None
        return path

    def database(self, name: str, *, default: Path) -> dict[str, object]:
        """Django's description of a PostgreSQL server or a SQLite file."""
        url = self._read(name, "")
        if not url:
            return {"ENGINE": SQLITE, "NAME": str(default)}
        allowed = "postgres://USER:PASSWORD@HOST/NAME or sqlite:////FOLDER/FILE"
        scheme, _, rest = url.partition("://")
        if scheme == "sqlite":
            if "?" in rest:
                raise WrongSetting(f"{name} has a question mark; a SQLite file's name has %3F in its place.")
            # Three slashes before a relative path, four before an absolute one.
            described: dict[str, object] = {"ENGINE": SQLITE, "NAME": unquote(rest.removeprefix("/"))}
        elif scheme in ("postgres", "postgresql"):
            described = _postgresql(name, url, allowed=allowed)
        else:
            raise WrongSetting(f"{name} starts with {scheme.partition(':')[0]!r}; it must be {allowed}.")
        if described["NAME"] in ("", ":memory:"):
            raise WrongSetting(f"{name} names no database; it must be {allowed}.")
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

    def email(self, name: str) -> dict[str, Any]:
        """The parts of smtp://, smtp+starttls:// or smtps://USER:PASSWORD@HOST:PORT; an empty host where it isn't set.

        The value never shows in a message: it may hold a password.
        """
        url = self._read(name, "")
        ports = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
        try:
            parts = urlsplit(url)
            port = parts.port or ports.get(parts.scheme, 0)
        except ValueError:
            parts, port = urlsplit(""), 0
        if url and (parts.scheme not in ports or not parts.hostname or parts.path.strip("/") or parts.query):
            raise WrongSetting(f"{name} must be smtp://, smtp+starttls:// or smtps://USER:PASSWORD@HOST:PORT.")
        return {
            "host": parts.hostname or "",
            "port": port,
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "starttls": parts.scheme == "smtp+starttls",
            "tls": parts.scheme == "smtps",
        }

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
        value = self._literal(name).strip()
        if "\n" in value or "\0" in value:
            raise WrongSetting(f"{name} has more than one line.")
        if not _is_text(value):
            raise WrongSetting(f"{name} holds bytes that are no UTF-8 text.")
        # An empty variable is what compose files and shells make of one that isn't set.
        return value or default

    def _literal(self, name: str) -> str:
        """The variable as it stands, or what the file holds that NAME_FILE names; empty where there is neither."""
        if name.startswith(PREFIX):
            self._known.add(name)
        named = self._variables.get(f"{name}_FILE", "")
        if not named:
            return self._variables.get(name, "")
        try:
            return Path(named).read_text(encoding="utf-8", errors="surrogateescape")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise WrongSetting(f"{name}_FILE names a file that can't be read: {named} ({reason}).") from None


def _postgresql(name: str, url: str, *, allowed: str) -> dict[str, object]:
    """Django's description of a server, read as PostgreSQL's own programs read the address."""
    from psycopg import ProgrammingError, conninfo

    try:
        parts = {key: str(value) for key, value in conninfo.conninfo_to_dict(url).items()}
    except (ProgrammingError, UnicodeError) as error:
        # libpq quotes the whole address, password and all, in some of its messages.
        reason = str(error).strip().partition(":")[0]
        raise WrongSetting(f"{name} can't be read ({reason}); it must be {allowed}.") from None
    port = parts.pop("port", "")
    if not re.fullmatch(r"([0-9]{1,5}(,|$))*", port):
        raise WrongSetting(f"{name} names the port {port!r}, which is no number; it must be {allowed}.")
    return {
        "ENGINE": POSTGRESQL,
        "NAME": parts.pop("dbname", ""),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": int(port) if port.isdigit() else port,
        "OPTIONS": SILENT_SERVER | parts,
    }


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse(error: WrongSetting) -> NoReturn:
    """End the process with one line: a stack trace would hide it."""
    print(f"Hone can't start: {error}", file=sys.stderr)
    raise SystemExit(WRONG_SETTING)
