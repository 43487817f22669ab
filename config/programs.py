"""The programs that `manage.py serve` runs, as the settings want them."""

import http.client
import os
import sys
from pathlib import Path

from django.conf import settings

from config import broker, sign_of_life
from config.processes import Program
from models_core.contract import catalogue

DEFAULT_WORKER_PROCESSES = 2
JOBS_LEAVE_SECONDS = 10.0
"""A job whose worker was killed saves a checkpoint and is put back in 2.4 s of these."""


def all_programs() -> list[Program]:
    """In the order they start. They are told to stop in the same order, but the broker last."""
    programs = [_embedded_broker()] if not settings.REDIS_URL else []
    programs += [
        _web(),
        _scheduler(),
        _worker("default", processes=DEFAULT_WORKER_PROCESSES),
        _worker("cpu", processes=1),
        _worker("live", processes=1),
    ]
    for number in range(settings.HONE_GPUS):
        device = {"CUDA_VISIBLE_DEVICES": str(number)}
        programs.append(_worker("gpu", processes=1, name=f"gpu{number}", environment=device))
    if (name := settings.HONE_BASE_MODEL) in catalogue.MODELS and catalogue.status(name, _models()).state != "ready":
        programs.append(_download(name))
    return programs


def listening_address() -> tuple[str, int]:
    """Where a program of this machine reaches the web process."""
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1", "::": "::1"}.get(settings.HONE_HOST, settings.HONE_HOST)
    return host.strip("[]"), settings.HONE_PORT


def is_web_answering() -> bool:
    connection = http.client.HTTPConnection(*listening_address(), timeout=5)
    try:
        connection.request("GET", "/healthz", headers={"Connection": "close"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _embedded_broker() -> Program:
    data = settings.HONE_DATA
    return Program(
        name="broker",
        command=broker.prepare(data),
        log=_log("broker"),
        before_start=lambda: broker.prepare(data),
        is_ready=lambda: broker.is_answering(data),
        is_answering=lambda: broker.is_answering(data),
        is_broker=True,
    )


def _web() -> Program:
    command = [sys.executable, "-m", "gunicorn", "--config", "python:config.gunicorn", "config.wsgi"]
    return Program(
        name="web",
        command=command,
        log=_log("web"),
        is_ready=is_web_answering,
        is_answering=is_web_answering,
        environment=_environment(),
    )


def _scheduler() -> Program:
    command = [sys.executable, "-m", "celery", "-A", "config", "beat", "--loglevel", "WARNING", "--pidfile", ""]
    sign = _sign_of("scheduler")
    return Program(
        name="scheduler",
        command=command,
        log=_log("scheduler"),
        before_start=sign.prepare,
        is_answering=sign.is_answering,
        environment=_environment() | sign.environment,
    )


def _worker(queue: str, *, processes: int, name: str = "", environment: dict[str, str] | None = None) -> Program:
    """One worker a queue: labelers' small jobs and the answers they wait for are never behind a training."""
    name = name or queue
    command = [sys.executable, "-m", "celery", "-A", "config", "worker", "--queues", queue, "--hostname", f"{name}@%h"]
    command += ["--concurrency", str(processes), "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
    sign = _sign_of(f"worker-{name}")
    return Program(
        name=f"worker {name}",
        command=command,
        log=_log(f"worker-{name}"),
        before_start=sign.prepare,
        is_answering=sign.is_answering,
        children_leave_seconds=JOBS_LEAVE_SECONDS,
        environment=_environment() | sign.environment | (environment or {}),
    )


def _download(name: str) -> Program:
    """Its progress bar and its result go to the log; the pages read the same progress from the store."""
    command = [sys.executable, "-m", "models_core", "catalogue", "fetch", name]
    return Program(
        name="download of the base model",
        command=command,
        log=_log("download"),
        ends=True,
        said_at_start=f"Fetching the base model {name} in the background; pages show how far it is.",
        done=f"The base model {name} is here.",
        environment=_environment(),
    )


def _models() -> Path:
    return Path(settings.HONE_DATA) / "models"


def _sign_of(name: str) -> sign_of_life.Watched:
    path = Path(settings.HONE_DATA) / "logs" / f"{name}.alive"
    return sign_of_life.Watched(path, is_broker_answering=lambda: broker.is_reachable(settings.CELERY_BROKER_URL))


def _log(name: str) -> Path:
    return Path(settings.HONE_DATA) / "logs" / f"{name}.log"


def _environment() -> dict[str, str]:
    """The same data folder and modules wherever the command was given."""
    path = os.pathsep.join([str(settings.BASE_DIR), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        "HONE_DATA": str(settings.HONE_DATA),
        "PYTHONPATH": path,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PYTHONUNBUFFERED": "1",
    }
