"""`manage.py`: Django's commands and Hone's. A database that isn't as it should be is a sentence, not a traceback.

Exit status 2 stands for all of these: nothing was begun, and running the same again changes nothing.
"""

import sys
from typing import NoReturn

from django.core.management import ManagementUtility, get_commands

OWN_APPS = ("config", "annotate", "rlhf")
CREATING_COMMANDS = ("serve", "prepare", "demo", "restore")
NOT_READY = 2


class NotReady(Exception):
    """A sentence that says what is missing and what to do."""


def main(argv: list[str]) -> None:
    """Run one command. What it prints may hold a path of any bytes, which no terminal's encoding must stop."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    from django.db import DatabaseError, InterfaceError

    try:
        utility = ManagementUtility(argv)
        if len(argv) > 1 and not {"--help", "-h"} & set(argv):
            _check_database(argv[1])
        utility.execute()
    except NotReady as error:
        _refuse(str(error))
    except (DatabaseError, InterfaceError) as error:
        _refuse(_description(error))


def _check_database(command: str) -> None:
    """Before one of Hone's own commands begins: is the database there, prepared, and no newer than this version?"""
    import django

    django.setup()
    if get_commands().get(command) not in OWN_APPS:
        return
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    loader = executor.loader
    newer = [
        f"{app}.{name}"
        for app, name in sorted(loader.applied_migrations)
        if app in OWN_APPS and (app, name) not in loader.disk_migrations and not _is_replaced(loader, app, name)
    ]
    if newer:
        raise NotReady(
            f"The database was made by a newer version of Hone (it has {newer[-1]}). "
            "Nothing was changed; start that version, or another data folder."
        )
    if command not in CREATING_COMMANDS and executor.migration_plan(loader.graph.leaf_nodes()):
        raise NotReady("The database isn't prepared for this version. Run `manage.py prepare` first, then this again.")


def _is_replaced(loader: object, app: str, name: str) -> bool:
    replacements = getattr(loader, "replacements", {})
    return any((app, name) in migration.replaces for migration in replacements.values())


def _description(error: Exception) -> str:
    from django.conf import settings

    reason = " ".join(str(error).split()) or type(error).__name__
    if "no such table" in reason or "does not exist" in reason:
        return f"The database isn't prepared ({reason}). Run `manage.py prepare` first, then this again."
    if "locked" in reason:
        return f"Another process holds the database ({reason}). Nothing was changed; run this again in a moment."
    place = settings.DATABASES["default"]
    where = place["NAME"] if str(place["ENGINE"]).endswith("sqlite3") else f"{place['HOST']}:{place['PORT'] or 5432}"
    return f"The database {where} doesn't respond as expected: {reason}."


def _refuse(sentence: str) -> NoReturn:
    print(f"Hone: {sentence}", file=sys.stderr)
    raise SystemExit(NOT_READY)
