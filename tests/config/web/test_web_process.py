"""The web process, the real one: it serves pages without ever loading PyTorch."""

import subprocess
import sys

from tests.conftest import ROOT

PROGRAM = """
import io, json, sys
from config.wsgi import application

def get(path):
    reply = {}
    def start_response(status, headers, exc_info=None):
        reply["status"], reply["headers"] = status, dict(headers)
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": "", "SERVER_NAME": "localhost", "SERVER_PORT": "80",
        "HTTP_HOST": "localhost", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1", "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr, "wsgi.multithread": True,
        "wsgi.multiprocess": True, "wsgi.run_once": False,
    }
    body = b"".join(application(environ, start_response))
    return reply["status"], body

statuses = [get(path)[0] for path in ("/healthz", "/accounts/login/", "/admin/login/", "/no/such/page")]
import rlhf.tasks, rlhf.urls, annotate.urls  # whatever a page or the worker of the queue "default" may import
import importlib, pkgutil, models_core.contract
for module in pkgutil.walk_packages(models_core.contract.__path__, "models_core.contract."):
    importlib.import_module(module.name)
packages = ("torch", "transformers", "peft", "safetensors", "gguf", "tokenizers", "huggingface_hub", "pyarrow")
packages += ("sentry_sdk", "opentelemetry", "fido2")  # for what isn't configured here
heavy = [name for name in packages if name in sys.modules]
heavy += sorted(
    name for name in sys.modules
    if name.startswith("models_core.") and not f"{name}.".startswith("models_core.contract.")
)
print(json.dumps([statuses, heavy]))
"""


def test_pages_and_the_default_worker_never_load_torch(process_environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, "manage.py", "prepare"], cwd=ROOT, env=process_environment, check=True)
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=process_environment, capture_output=True, text=True, check=True
    )
    assert result.stdout == '[["200 OK", "200 OK", "302 Found", "404 Not Found"], []]\n', result.stderr
