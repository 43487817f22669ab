"""The key that signs sessions: made once, kept in the data folder, readable by its owner alone."""

import os
import secrets
from pathlib import Path

from config.environment import WrongSetting

FILE_NAME = "secret_key"
SHORTEST_KEY = 32


def stored_secret_key(folder: Path) -> str:
    """The folder's key, made now if it has none. Processes that start at the same time agree on one.

    Raises WrongSetting where the file can't be made or read, or holds no key.
    """
    path = folder / FILE_NAME
    try:
        key = _key_in(path)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds no text"
        raise WrongSetting(f"the secret key {str(path)!r} can't be read ({reason}).") from None
    if len(key) < SHORTEST_KEY:
        raise WrongSetting(f"the secret key {str(path)!r} has {len(key)} characters; remove the file for a new one.")
    return key


def _key_in(path: Path) -> str:
    if not path.exists():
        draft = path.parent / f".{FILE_NAME}.{os.getpid()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(64))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # fails where another process was quicker, and then its key is the one
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii").strip()
