"""How the web process listens: `gunicorn --config python:config.web.gunicorn config.wsgi`."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from typing import Any

from django.conf import settings

from config.monitoring import request_metrics  # maps its memory here, before the processes are forked

bind = f"{settings.HONE_HOST}:{settings.HONE_PORT}"
workers = 2
worker_class = "config.web.web_worker.BufferingWorker"
threads = settings.HONE_WEB_THREADS
# Connections that wait for nothing cost no thread, and the oldest makes room: fewer than there are file descriptors.
worker_connections = 500
timeout = 60
graceful_timeout = 2
# A worker's heartbeat file on a slow disk would get the worker killed.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
control_socket_disable = True
# Only as many proxies as HONE_PROXIES says are believed, by config.security.accounts; gunicorn itself believes none.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
accesslog = None  # config.web.edge writes it, with the address of the browser
errorlog = "-"
loglevel = "warning"


def pre_fork(server: Any, worker: Any) -> None:
    worker.metrics_slot = request_metrics.free_slot([other.metrics_slot for other in server.WORKERS.values()])


def post_fork(server: Any, worker: Any) -> None:
    request_metrics.use_slot(worker.metrics_slot)
