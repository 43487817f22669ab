"""What Django's administration shows of django-allauth's records: nothing of second factors and provider accounts.

Whoever deleted one there would open an account to its password alone, or tie it to somebody else's account at the
provider, without an event in the audit log. People and `manage.py reset_second_factor` leave one.
"""

from django.apps import apps
from django.contrib import admin

HIDDEN = ("mfa", "socialaccount")


def hide() -> None:
    """After every application has registered its records."""
    for label in HIDDEN:
        if not apps.is_installed(f"allauth.{label}"):
            continue
        for model in apps.get_app_config(label).get_models():
            if admin.site.is_registered(model):
                admin.site.unregister(model)
