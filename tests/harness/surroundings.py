"""What a test process stands in: a data folder of its own and, with `--database postgresql`, a PostgreSQL server.

A plugin named in pyproject.toml, since settings are read before any conftest is: the environment must be right by then.
"""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases.postgresql import PostgresServer

DATABASE_FIXTURES = {
    "db",
    "transactional_db",
    "django_db_reset_sequences",
    "django_db_serialized_rollback",
    "live_server",
}
SERVER = pytest.StashKey[PostgresServer]()
FOLDER = pytest.StashKey[Path]()
CALLERS_SETTINGS = ("DATABASE_URL", "DATABASE_URL_FILE", "REDIS_URL", "REDIS_URL_FILE")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=["sqlite", "postgresql"],
        default="sqlite",
        help="the database under test; with postgresql only tests that use a database run, on a server of their own",
    )
    parser.addoption("--screenshots", metavar="FOLDER", help="write pictures of every page into this folder")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """Before pytest-django reads the settings. A worker of pytest-xdist comes here too, and shares the server."""
    url_of_controller = os.environ.get("DATABASE_URL") if "PYTEST_XDIST_WORKER" in os.environ else None
    for name in [name for name in os.environ if name.startswith("HONE_")] + list(CALLERS_SETTINGS):
        os.environ.pop(name, None)
    folder = Path(tempfile.mkdtemp(prefix="hone-test-"))
    early_config.stash[FOLDER] = folder
    # Not the folder itself: `manage.py prepare` closes the data folder to others, and PostgreSQL runs as somebody else.
    data = folder / "data"
    data.mkdir()
    os.environ["HONE_DATA"] = str(data)
    os.environ["HONE_ALLOWED_HOSTS"] = "127.0.0.1,localhost,testserver"
    # Threads of OpenMP that wait for each other spin, and tests share their cores with servers, browsers and workers.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ["OMP_NUM_THREADS"] = "1"  # there are at least as many workers as processor cores
    if url_of_controller:
        os.environ["DATABASE_URL"] = url_of_controller
    elif early_config.known_args_namespace.database == "postgresql":
        server = PostgresServer.start(folder / "postgresql")
        early_config.stash[SERVER] = server
        os.environ["DATABASE_URL"] = server.url
    yield


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    from django.conf import settings

    from config import catalogues

    catalogues.compile_all(only_stale=True)
    # Pages name files by their plain names: nothing was collected into STATIC_ROOT.
    settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    # The default takes a tenth of a second for every user that a test makes.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """models_core knows nothing of databases, and takes the longest to import."""
    on_postgresql = config.getoption("database") == "postgresql"
    return True if on_postgresql and collection_path == Path(__file__).parents[1] / "models_core" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL run again what uses a database and whose outcome may depend on which one it is."""
    if config.getoption("database") != "postgresql":
        return
    kept, left_out = [], []
    for item in items:
        (kept if is_run_on_postgresql(item) else left_out).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish() -> None:
    """What was loaded by now stays to the end: the collector of garbage looked through a million such objects again and
    again, for a tenth of the processor time of all tests."""
    gc.collect()
    gc.freeze()


def is_run_on_postgresql(item: pytest.Item) -> bool:
    """Pages are asked for in every way by test_odd_values; what they say is the same on any database."""
    if not item.get_closest_marker("django_db") and not DATABASE_FIXTURES & set(getattr(item, "fixturenames", ())):
        return False
    alike = item.get_closest_marker("browser") or item.get_closest_marker("any_database") or "views" in item.path.parts
    return not alike or item.get_closest_marker("both_databases") is not None


def pytest_unconfigure(config: pytest.Config) -> None:
    if server := config.stash.get(SERVER, None):
        server.stop()
    if folder := config.stash.get(FOLDER, None):
        shutil.rmtree(folder, ignore_errors=True)
