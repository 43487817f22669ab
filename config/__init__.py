"""The Django project: settings, URLs, the Celery application, and how Hone's processes are started."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
