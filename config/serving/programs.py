"""The programs that `manage.py serve` runs, as the settings want them."""

import http.client
import os
import sys
from pathlib import Path

from django.conf import settings

from config.serving import broker, liveness
from config.serving.supervisor import Program
from models_core.contract import catalogue

DEFAULT_WORKER_PROCESSES = 2
JOBS_STOP_SECONDS = 10.0
"""A job whose worker was killed saves a checkpoint and is put back in 2.4 s of these."""


def all_programs() -> list[Program]:
    """In the order in which they start. They are stopped in the same order, but the broker last."""
    programs = [_embedded_broker()] if not settings.REDIS_URL else []
    # Where GPUs have workers of their own, a run of the queue cpu takes none of theirs.
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if settings.HONE_GPUS else None
    programs += [
        _web(),
        _scheduler(),
        _worker("default", processes=DEFAULT_WORKER_PROCESSES),
        _worker("cpu", processes=1, environment=hidden),
        _worker("live", processes=1),
    ]
    for first in range(0, settings.HONE_GPUS, settings.HONE_GPUS_PER_WORKER):
        numbers = ",".join(map(str, range(first, first + settings.HONE_GPUS_PER_WORKER)))
        # CUDA's own order is by speed, and that of NVML and nvidia-smi by the bus.
        devices = {"CUDA_VISIBLE_DEVICES": numbers, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        programs.append(_worker("gpu", processes=1, name=f"gpu{first}", environment=devices))
    if (name := settings.HONE_BASE_MODEL) in catalogue.MODELS and catalogue.status(name, _models()).state != "ready":
        programs.append(_download(name))
    return programs


def listening_address() -> tuple[str, int]:
    """Where a program of this machine reaches the web process."""
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1", "::": "::1"}.get(settings.HONE_HOST, settings.HONE_HOST)
    return host.strip("[]"), settings.HONE_PORT


def is_web_responding() -> bool:
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
        is_ready=lambda: broker.is_responding(data),
        is_responding=lambda: broker.is_responding(data),
        is_broker=True,
    )


def _web() -> Program:
    command = [sys.executable, "-m", "gunicorn", "--config", "python:config.web.gunicorn", "config.wsgi"]
    return Program(
        name="web",
        command=command,
        log=_log("web"),
        is_ready=is_web_responding,
        is_responding=is_web_responding,
        environment=_environment(),
    )


def _scheduler() -> Program:
    command = [sys.executable, "-m", "celery", "-A", "config", "beat", "--loglevel", "WARNING", "--pidfile", ""]
    liveness_file = _liveness_file("scheduler")
    return Program(
        name="scheduler",
        command=command,
        log=_log("scheduler"),
        before_start=liveness_file.prepare,
        is_responding=liveness_file.is_responding,
        environment=_environment() | liveness_file.environment,
    )


def _worker(queue: str, *, processes: int, name: str = "", environment: dict[str, str] | None = None) -> Program:
    """One worker per queue: short jobs and live responses never queue behind training."""
    name = name or queue
    command = [sys.executable, "-m", "celery", "-A", "config", "worker", "--queues", queue, "--hostname", f"{name}@%h"]
    command += ["--concurrency", str(processes), "--loglevel", "INFO"]
    # Nothing reads the events of workers: each worker keeps a row of its own in the database.
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    liveness_file = _liveness_file(f"worker-{name}")
    return Program(
        name=f"worker {name}",
        command=command,
        log=_log(f"worker-{name}"),
        before_start=liveness_file.prepare,
        is_responding=liveness_file.is_responding,
        children_stop_seconds=JOBS_STOP_SECONDS,
        environment=_environment() | liveness_file.environment | (environment or {}),
    )


def _download(name: str) -> Program:
    """Its progress bar and its result go to the log; the pages read the same progress from the store."""
    command = [sys.executable, "-m", "models_core", "catalogue", "fetch", name]
    return Program(
        name="download of the base model",
        command=command,
        log=_log("download"),
        is_one_shot=True,
        start_message=f"Downloading the base model {name} in the background; pages show its progress.",
        end_message=f"The base model {name} is ready.",
        environment=_environment(),
    )


def _models() -> Path:
    return Path(settings.HONE_DATA) / "models"


def _liveness_file(name: str) -> liveness.LivenessFile:
    path = Path(settings.HONE_DATA) / "logs" / f"{name}.alive"
    return liveness.LivenessFile(path, is_broker_responding=lambda: broker.is_reachable(settings.CELERY_BROKER_URL))


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
