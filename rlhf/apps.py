from django.apps import AppConfig
from django.utils.translation import gettext_lazy


class RlhfConfig(AppConfig):
    name = "rlhf"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from annotate import navigation, signals
        from annotate import notices as annotate_notices
        from annotate.chats import answers
        from annotate.navigation import Tab
        from annotate.permissions import Capability

        from . import access, notices, prospects, wakeups

        access.register()

        run_pages = ("rlhf:run", "rlhf:new_run")
        navigation.register(
            Tab(gettext_lazy("Training"), "rlhf:training", Capability.TRAIN, also=run_pages, position=50)
        )
        navigation.register(Tab(gettext_lazy("Models"), "rlhf:models", Capability.TRAIN, position=55))
        navigation.register(
            Tab(gettext_lazy("Loop"), "rlhf:loop", Capability.TRAIN, also=("rlhf:choices",), position=60)
        )
        navigation.register_banner("rlhf:model_status")
        annotate_notices.register(notices.of_runs)
        annotate_notices.register(notices.of_gates)
        answers.forecast_by(prospects.of_live_answers)
        signals.snapshot_requested.connect(wakeups.build_snapshot)
        signals.answers_requested.connect(wakeups.fulfil_requests)
