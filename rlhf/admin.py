"""Training records in the admin, read-only: runs are changed by rlhf.runs.runs alone, so nothing here edits them."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from annotate.admin import ReadOnlyAdmin, ReadOnlyInline
from rlhf.models import (
    AIJudge,
    Delivery,
    EvaluatedVersion,
    HumanEvaluation,
    Iteration,
    JudgePrompt,
    LoopSettings,
    ModelVersion,
    NotificationTarget,
    Promotion,
    RollingUpdate,
    RunInput,
    RunMetric,
    TrainingRun,
    WorkerHeartbeat,
)


class RunInputInline(ReadOnlyInline, admin.TabularInline):
    model = RunInput


@admin.register(TrainingRun)
class TrainingRunAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "project",
        "stage",
        "status",
        "priority",
        "attempt",
        "progress",
        "worker",
        "created_by",
        "created_at",
        "finished_at",
    )
    list_filter = ("status", "stage", "queue")
    search_fields = ("=id", "project__slug", "project__name", "error", "worker")
    list_select_related = ("project", "created_by")
    date_hierarchy = "created_at"
    inlines = (RunInputInline,)


@admin.register(Promotion)
class PromotionAdmin(ReadOnlyAdmin):
    list_display = ("id", "version", "verb", "replaced", "by", "created_at")
    list_filter = ("verb",)
    list_select_related = ("version", "replaced", "by")


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "project",
        "kind",
        "number",
        "active",
        "base_model",
        "folder",
        "promoted_by",
        "created_at",
        "deleted_at",
    )
    list_filter = ("kind", "active")
    search_fields = ("project__slug", "project__name", "folder", "sha256", "base_model")
    list_select_related = ("project", "promoted_by")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelVersion]:
        return ModelVersion.ever.order_by("-pk")


@admin.register(RunMetric)
class RunMetricAdmin(ReadOnlyAdmin):
    list_display = ("run", "step", "name", "value")
    search_fields = ("=run__id", "name")
    list_select_related = ("run",)
    show_full_result_count = False


@admin.register(Iteration)
class IterationAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "number", "step", "state", "reason", "started_by", "started_at", "finished_at")
    list_filter = ("state", "step")
    search_fields = ("project__slug", "project__name", "reason")
    list_select_related = ("project", "started_by")


@admin.register(LoopSettings)
class LoopSettingsAdmin(ReadOnlyAdmin):
    list_display = ("project", "enabled", "judgments_per_round", "prompts_per_round")
    list_filter = ("enabled",)
    search_fields = ("project__slug", "project__name")
    list_select_related = ("project",)


@admin.register(RollingUpdate)
class RollingUpdateAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "run", "source", "new_judgments", "state", "created_at", "finished_at")
    list_filter = ("state",)
    search_fields = ("project__slug", "project__name")
    list_select_related = ("project", "run", "source")


@admin.register(NotificationTarget)
class NotificationTargetAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "kind", "address", "created_by", "created_at")
    search_fields = ("project__slug", "address")
    list_select_related = ("project", "created_by")
    exclude = ("salt",)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = ("id", "target", "event", "state", "attempts", "created_at", "delivered_at")
    list_filter = ("state", "event")
    search_fields = ("target__project__slug", "key")
    list_select_related = ("target__project",)


@admin.register(WorkerHeartbeat)
class WorkerHeartbeatAdmin(ReadOnlyAdmin):
    list_display = ("name", "host", "queues", "process_id", "draining", "seen_at")
    search_fields = ("name", "host")


class EvaluatedVersionInline(ReadOnlyInline, admin.TabularInline):
    model = EvaluatedVersion


@admin.register(HumanEvaluation)
class HumanEvaluationAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "number", "state", "share", "created_by", "created_at", "finished_at")
    list_filter = ("state",)
    search_fields = ("=id", "project__slug", "project__name")
    list_select_related = ("project", "created_by")
    inlines = (EvaluatedVersionInline,)


class JudgePromptInline(ReadOnlyInline, admin.TabularInline):
    model = JudgePrompt


@admin.register(AIJudge)
class AIJudgeAdmin(ReadOnlyAdmin):
    list_display = ("id", "labeler", "kind", "endpoint", "reward_model")
    list_filter = ("kind",)
    list_select_related = ("labeler", "reward_model")
    inlines = (JudgePromptInline,)
