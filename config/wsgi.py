"""The web process's entry: `gunicorn config.wsgi`."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from config.monitoring import observers

SECONDS_FOR_LOCK = 5.0
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()
observers.start("hone-web")

# A page waits this long for SQLite's write lock and then says so: a thread that waits longer is missing to the others,
# and the health check would take the process for dead. Workers wait for as long as the settings say.
if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    settings.DATABASES["default"]["OPTIONS"]["timeout"] = SECONDS_FOR_LOCK
