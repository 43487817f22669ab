from django.apps import AppConfig
from django.utils.translation import gettext_lazy


class RlhfConfig(AppConfig):
    name = "rlhf"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from annotate import navigation, signals
        from annotate.data import stored_messages
        from annotate.labeling.chats import live_responses
        from annotate.navigation import Group, Link, Tab
        from annotate.people import notices as annotate_notices
        from annotate.people.audit import event_labels
        from annotate.people.permissions import Capability
        from rlhf import signal_handlers
        from rlhf.gateway import waiting_requests
        from rlhf.playground import deletion
        from rlhf.reports import audit_labels
        from rlhf.runs import access, messages, notices
        from rlhf.runs.live_responses import live_status

        access.register()
        deletion.register()
        waiting_requests.register()
        event_labels.register(audit_labels.AUDIT_LABELS)
        stored_messages.register(messages.MESSAGES)

        for label, url_name, also, position in (
            (
                gettext_lazy("Runs"),
                "rlhf:training",
                ("rlhf:run", "rlhf:new_run", "rlhf:report", "rlhf:compare", "rlhf:checkpoints", "rlhf:notifications"),
                10,
            ),
            (
                gettext_lazy("Registry"),
                "rlhf:models",
                (
                    *("rlhf:model", "rlhf:promote", "rlhf:roll_back", "rlhf:import_model", "rlhf:delete_model"),
                    *("rlhf:gateway", "rlhf:delete_gateway_user"),
                ),
                20,
            ),
            (gettext_lazy("Playground"), "rlhf:playground", ("rlhf:playground_chat",), 22),
            (
                gettext_lazy("Evaluation"),
                "rlhf:evaluations",
                (
                    *("rlhf:evaluation", "rlhf:new_evaluation", "rlhf:leaderboard", "rlhf:reward_against_people"),
                    *("rlhf:ai_labelers", "rlhf:ai_labeler"),
                ),
                25,
            ),
            (gettext_lazy("Loop"), "rlhf:loop", ("rlhf:active_learning",), 30),
        ):
            navigation.register(Tab(label, url_name, Capability.TRAIN, Group.MODELS, also=also, position=position))
        for label, url_name in (
            (gettext_lazy("Reward model against people"), "rlhf:reward_against_people"),
            (gettext_lazy("Leaderboard"), "rlhf:leaderboard"),
        ):
            navigation.register_link(Link(label, url_name, Capability.TRAIN), within="annotate:analysis")
        navigation.register_banner("rlhf:model_status")
        annotate_notices.register(notices.of_runs)
        annotate_notices.register(notices.of_gates)
        live_responses.set_status_source(live_status.of_live_responses)
        signals.snapshot_requested.connect(signal_handlers.build_snapshot)
        signals.upload_kept.connect(signal_handlers.import_upload)
        signals.push_requested.connect(signal_handlers.push_snapshot)
        signals.overlap_changed.connect(signal_handlers.change_overlap)
        signals.tasks_changed.connect(signal_handlers.change_tasks)
        signals.batch_change_planned.connect(signal_handlers.apply_batch_change)
        signals.person_deletion_planned.connect(signal_handlers.delete_person)
        signals.responses_requested.connect(signal_handlers.fulfil_requests)
