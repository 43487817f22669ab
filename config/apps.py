from typing import Any

from django.apps import AppConfig

from annotate import signals
from config.monitoring import request_metrics


class HoneConfig(AppConfig):
    name = "config"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from config.security import personal_data, sign_in
        from config.security.open_sessions import tracking
        from config.security.second_factor import rules

        sign_in.connect_signals()
        tracking.connect_signals()
        rules.connect_signals()
        personal_data.register()
        signals.tasks_claimed.connect(_count_claims)
        signals.judgments_submitted.connect(_count_submits)
        signals.leases_expired.connect(_count_expiries)
        signals.gateway_event.connect(_count_of_gateway)


def _count_claims(sender: Any, number: int, **kwargs: Any) -> None:
    request_metrics.count("claims", number)


def _count_submits(sender: Any, number: int, **kwargs: Any) -> None:
    request_metrics.count("submits", number)


def _count_of_gateway(sender: Any, name: str, **kwargs: Any) -> None:
    request_metrics.count(f"gateway_{name}")


def _count_expiries(sender: Any, number: int, **kwargs: Any) -> None:
    from config.monitoring import product_metrics

    product_metrics.count_expired_leases(number)
