from django.apps import AppConfig


class HoneConfig(AppConfig):
    name = "config"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from config.security import sign_in

        sign_in.connect_signals()
