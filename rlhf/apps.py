from django.apps import AppConfig
from django.utils.translation import gettext_lazy

AUDIT_LABELS = {
    "ai_labeler.changed": gettext_lazy("AI labeler changed"),
    "ai_labeler.judged": gettext_lazy("AI labeler judged tasks"),
    "ai_labeler.prompt_changed": gettext_lazy("Prompt of an AI labeler changed"),
    "evaluation.ended": gettext_lazy("Human evaluation ended"),
    "evaluation.started": gettext_lazy("Human evaluation started"),
    "loop.cancelled": gettext_lazy("Round cancelled"),
    "loop.paused": gettext_lazy("Loop paused"),
    "loop.policy_changed": gettext_lazy("Rules of the loop changed"),
    "loop.resumed": gettext_lazy("Loop resumed"),
    "loop.started": gettext_lazy("Round started"),
    "loop.step_skipped": gettext_lazy("Step of a round skipped"),
    "model.deleted": gettext_lazy("Model deleted"),
    "model.files_removed": gettext_lazy("Files of a model removed"),
    "model.promoted": gettext_lazy("Model put into use"),
    "model.rolled_back": gettext_lazy("Model rolled back"),
    "model.tagged": gettext_lazy("Tags of a model changed"),
    "notification.added": gettext_lazy("Address for notifications added"),
    "notification.removed": gettext_lazy("Address for notifications removed"),
    "notification.replayed": gettext_lazy("Notification sent again"),
    "playground.judged": gettext_lazy("Preference given in the playground"),
    "queue.rearranged": gettext_lazy("Queue put in another order"),
    "rolling.files_removed": gettext_lazy("Files of an earlier reward model removed"),
    "rolling.started": gettext_lazy("Rolling update of the reward model started"),
    "run.cancelled": gettext_lazy("Run cancelled"),
    "run.checkpoints_removed": gettext_lazy("Checkpoints removed"),
    "run.interrupted": gettext_lazy("Run interrupted"),
    "run.lost": gettext_lazy("Run lost"),
    "run.moved": gettext_lazy("Run moved in the queue"),
    "run.prioritised": gettext_lazy("Priority of a run changed"),
    "run.queued": gettext_lazy("Run queued"),
    "run.resumed": gettext_lazy("Run resumed"),
    "worker.drained": gettext_lazy("Worker drained"),
    "worker.undrained": gettext_lazy("Worker takes runs again"),
}


class RlhfConfig(AppConfig):
    name = "rlhf"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from annotate import navigation, signals
        from annotate.data import stored_messages
        from annotate.labeling.chats import live_responses
        from annotate.navigation import Group, Tab
        from annotate.people import notices as annotate_notices
        from annotate.people.audit import event_labels
        from annotate.people.permissions import Capability
        from rlhf import signal_handlers
        from rlhf.runs import access, messages, notices
        from rlhf.runs.live_responses import live_status

        access.register()
        event_labels.register(AUDIT_LABELS)
        stored_messages.register(messages.MESSAGES)

        for label, url_name, also, position in (
            (
                gettext_lazy("Runs"),
                "rlhf:training",
                ("rlhf:run", "rlhf:new_run", "rlhf:report", "rlhf:compare", "rlhf:notifications"),
                10,
            ),
            (
                gettext_lazy("Registry"),
                "rlhf:models",
                ("rlhf:model", "rlhf:promote", "rlhf:roll_back", "rlhf:import_model", "rlhf:delete_model"),
                20,
            ),
            (gettext_lazy("Playground"), "rlhf:playground", ("rlhf:playground_chat",), 22),
            (
                gettext_lazy("Evaluation"),
                "rlhf:evaluations",
                ("rlhf:evaluation", "rlhf:new_evaluation", "rlhf:leaderboard", "rlhf:ai_labelers", "rlhf:ai_labeler"),
                25,
            ),
            (gettext_lazy("Loop"), "rlhf:loop", ("rlhf:active_learning",), 30),
        ):
            navigation.register(Tab(label, url_name, Capability.TRAIN, Group.MODELS, also=also, position=position))
        navigation.register_banner("rlhf:model_status")
        annotate_notices.register(notices.of_runs)
        annotate_notices.register(notices.of_gates)
        live_responses.set_status_source(live_status.of_live_responses)
        signals.snapshot_requested.connect(signal_handlers.build_snapshot)
        signals.upload_kept.connect(signal_handlers.import_upload)
        signals.overlap_changed.connect(signal_handlers.change_overlap)
        signals.tasks_changed.connect(signal_handlers.change_tasks)
        signals.batch_change_planned.connect(signal_handlers.apply_batch_change)
        signals.responses_requested.connect(signal_handlers.fulfil_requests)
