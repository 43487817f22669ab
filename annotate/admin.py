"""Django admin of labeling, for superusers: to read and to search. What is append-only stays so here."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.hashers import make_password
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy

from annotate import models
from annotate.people import api_tokens


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that others rest on are looked at, and changed by the application alone."""

    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyInline(admin.options.InlineModelAdmin):
    """Such rows on the page of what they belong to."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


HONE_FIELDS = ("language", "theme", "must_change_password", "one_time_until", "created_by")


class AddUserForm(AdminUserCreationForm):
    """Takes the password as it was hashed before the form is saved."""

    encoded = ""

    def set_password_and_save(self, user: models.User, commit: bool = True, **kwargs: Any) -> models.User:
        if not (self.encoded and self.cleaned_data["set_usable_password"]):
            saved: models.User = super().set_password_and_save(user, commit=commit, **kwargs)
            return saved
        user.password = self.encoded
        if commit:
            user.save()
        return user


@admin.register(models.User)
class HoneUserAdmin(UserAdmin):
    add_form = AddUserForm
    list_display = ("username", "first_name", "last_name", "is_active", "is_superuser", "last_login")
    fieldsets = (*(UserAdmin.fieldsets or ()), ("Hone", {"fields": HONE_FIELDS}))

    readonly_fields = ("created_by",)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        # Django hashes within a transaction, and hashing takes longer than anybody may hold SQLite's write lock.
        password = request.POST.get("password1", "") if self.has_add_permission(request) else ""
        if password and self.get_form(request)(request.POST).is_valid():
            request.encoded_password = make_password(password)  # type: ignore[attr-defined]
        reply: HttpResponse = super().add_view(request, form_url, extra_context)
        return reply

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        if not change:
            form.encoded = getattr(request, "encoded_password", "")
        return super().save_form(request, form, change)

    # To change accounts is to be able to sign in as anybody: only superusers may, whatever permissions others have.
    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_module_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Judgments are signed: an account is closed by making it inactive."""
        return False


@admin.register(models.Project)
class ProjectAdmin(ReadOnlyAdmin):
    list_display = ("name", "slug", "language", "responses_per_task", "overlap", "archived_at", "created_at")
    search_fields = ("name", "slug", "description")
    list_filter = ("language", "archived_at")


@admin.register(models.Membership)
class MembershipAdmin(ReadOnlyAdmin):
    list_display = ("user", "project", "role", "created_at")
    search_fields = ("user__username", "project__name", "project__slug")
    list_filter = ("role",)
    list_select_related = ("user", "project")


@admin.register(models.Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "label", "created_by", "created_at", "expires_at", "accepted_by", "withdrawn_at")
    search_fields = ("label", "project__name", "created_by__username")
    list_select_related = ("project", "created_by", "accepted_by")
    exclude = ("token_hash",)


@admin.register(models.ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    list_display = ("id", "user", "name", "hint", "created_at", "expires_at", "last_used_at", "revoked_at")
    search_fields = ("name", "user__username")
    list_select_related = ("user",)
    exclude = ("token_hash",)
    actions = ("revoke",)

    @admin.action(description=gettext_lazy("Revoke the chosen tokens"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[models.ApiToken]) -> None:
        assert isinstance(request.user, models.User)
        for token in chosen:
            api_tokens.revoke(token=token, by=request.user)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)


@admin.register(models.OutboxEvent)
class OutboxEventAdmin(ReadOnlyAdmin):
    """What waits to be passed on to webhooks; a row that stays says that the job doesn't run."""

    list_display = ("event", "project", "created_at")
    list_filter = ("event",)
    list_select_related = ("project",)
    search_fields = ("event", "project__slug")


@admin.register(models.IdempotentRequest)
class IdempotentRequestAdmin(ReadOnlyAdmin):
    list_display = ("id", "user", "key", "status", "created_at")
    search_fields = ("key", "user__username")
    list_select_related = ("user",)
    exclude = ("reply",)


@admin.register(models.Guidelines)
class GuidelinesAdmin(ReadOnlyAdmin):
    list_display = ("project", "version", "created_by", "created_at")
    search_fields = ("project__name", "text")
    list_select_related = ("project", "created_by")


@admin.register(models.Rubric)
class RubricAdmin(ReadOnlyAdmin):
    list_display = ("project", "version", "created_by", "created_at")
    search_fields = ("project__name",)
    list_select_related = ("project", "created_by")


@admin.register(models.Prompt)
class PromptAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "project", "split", "use_case", "language", "source", "created_at")
    search_fields = ("messages", "external_id", "content_hash")
    list_filter = ("split", "use_case", "kind", "sensitive", "project")
    list_select_related = ("project",)


@admin.register(models.Author)
class AuthorAdmin(ReadOnlyAdmin):
    list_display = ("name", "kind", "user", "created_at")
    search_fields = ("name", "user__username")
    list_filter = ("kind",)
    list_select_related = ("user",)


@admin.register(models.Response)
class ResponseAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "prompt", "author", "finish_reason", "created_at")
    search_fields = ("text", "author__name")
    list_filter = ("finish_reason",)
    list_select_related = ("prompt", "author")


@admin.register(models.ResponseRequest)
class ResponseRequestAdmin(ReadOnlyAdmin):
    list_display = ("prompt", "project", "responses_wanted", "purpose", "state", "created_at", "fulfilled_at")
    search_fields = ("project__name", "error")
    list_filter = ("state", "purpose")
    list_select_related = ("prompt", "project")


class TaskResponseInline(admin.TabularInline):
    model = models.TaskResponse
    extra = 0
    can_delete = False
    fields = readonly_fields = ("number", "response")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(models.Task)
class TaskAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "kind", "state", "judgments_given", "judgments_wanted", "slots_free", "priority")
    search_fields = ("id", "prompt__messages")
    list_filter = ("state", "kind", "project")
    list_select_related = ("project",)
    inlines = (TaskResponseInline,)


@admin.register(models.Assignment)
class AssignmentAdmin(ReadOnlyAdmin):
    list_display = ("id", "task", "labeler", "project", "state", "lease_until", "ended_at")
    search_fields = ("labeler__username", "project__name", "skip_reason")
    list_filter = ("state", "project")
    list_select_related = ("task", "labeler", "project")


class RevisionInline(ReadOnlyInline, admin.StackedInline):
    model = models.JudgmentRevision


@admin.register(models.Judgment)
class JudgmentAdmin(ReadOnlyAdmin):
    list_display = ("id", "task", "labeler", "project", "surplus", "created_at")
    search_fields = ("labeler__username", "project__name")
    list_filter = ("surplus", "project")
    list_select_related = ("task", "labeler", "project")
    inlines = (RevisionInline,)


@admin.register(models.TaskConsensus)
class TaskConsensusAdmin(ReadOnlyAdmin):
    list_display = ("task", "project", "method", "confidence", "judgments", "computed_at")
    search_fields = ("task__id",)
    list_filter = ("method", "project")
    list_select_related = ("task", "project")


@admin.register(models.LabelerReliability)
class LabelerReliabilityAdmin(ReadOnlyAdmin):
    list_display = ("labeler", "project", "reliability", "comparisons", "computed_at")
    search_fields = ("labeler__username",)
    list_filter = ("project",)
    list_select_related = ("labeler", "project")


@admin.register(models.AggregationEstimate)
class AggregationEstimateAdmin(ReadOnlyAdmin):
    list_display = ("project", "tie", "spread", "judgments", "computed_at")
    search_fields = ("project__slug",)
    list_select_related = ("project",)


@admin.register(models.MeasureSums)
class MeasureSumsAdmin(ReadOnlyAdmin):
    list_display = ("project", "cut", "grain", "start", "labeler", "kind", "use_case", "language", "judgments")
    search_fields = ("project__slug", "labeler__username")
    list_filter = ("cut", "grain", "project")
    list_select_related = ("project", "labeler")


@admin.register(models.TaskMeasures)
class TaskMeasuresAdmin(ReadOnlyAdmin):
    list_display = ("task", "project", "generation", "stale_at")
    search_fields = ("task__id",)
    list_filter = ("project",)
    list_select_related = ("task", "project")


@admin.register(models.MeasureChange)
class MeasureChangeAdmin(ReadOnlyAdmin):
    list_display = ("id", "task", "project")
    search_fields = ("task__id",)
    list_select_related = ("task", "project")


@admin.register(models.MeasuresState)
class MeasuresStateAdmin(ReadOnlyAdmin):
    list_display = ("project", "generation", "recompute_after", "folded_at", "lease_until")
    search_fields = ("project__slug",)
    list_select_related = ("project",)


@admin.register(models.ResponseScore)
class ResponseScoreAdmin(ReadOnlyAdmin):
    list_display = ("response", "score", "scorer", "created_at")
    search_fields = ("scorer", "response__text")
    list_select_related = ("response",)


@admin.register(models.Demonstration)
class DemonstrationAdmin(ReadOnlyAdmin):
    list_display = ("id", "prompt", "response", "withdrawn_at", "created_at")
    search_fields = ("response__text",)
    list_select_related = ("prompt", "response")


@admin.register(models.ChatTurn)
class ChatTurnAdmin(ReadOnlyAdmin):
    list_display = ("id", "assignment", "number", "role", "created_at")
    search_fields = ("text",)
    list_filter = ("role",)
    list_select_related = ("assignment__labeler",)


class ExamAnswerInline(admin.TabularInline):
    model = models.ExamAnswer
    extra = 0
    can_delete = False
    fields = ("number", "task", "hits", "total", "answered_at")
    readonly_fields = fields


@admin.register(models.ExamAttempt)
class ExamAttemptAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "labeler", "number", "hits", "total", "passed", "annulled", "finished_at")
    search_fields = ("labeler__username", "project__name")
    list_filter = ("passed", "annulled", "project")
    list_select_related = ("project", "labeler")
    inlines = (ExamAnswerInline,)


@admin.register(models.ExamAnswer)
class ExamAnswerAdmin(ReadOnlyAdmin):
    list_display = ("id", "attempt", "number", "task", "hits", "total", "answered_at")
    search_fields = ("attempt__labeler__username",)
    list_select_related = ("attempt__labeler", "attempt__project", "task")


@admin.register(models.JudgmentReturn)
class JudgmentReturnAdmin(ReadOnlyAdmin):
    list_display = ("id", "judgment", "reviewer", "created_at")
    search_fields = ("comment", "reviewer__username")
    list_select_related = ("judgment__labeler", "reviewer")


@admin.register(models.Report)
class ReportAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "assignment", "reason", "created_at", "resolved_at")
    search_fields = ("note", "project__name")
    list_filter = ("reason", "project")
    list_select_related = ("project", "assignment__labeler")


@admin.register(models.Snapshot)
class SnapshotAdmin(ReadOnlyAdmin):
    exclude = ("link_key",)
    list_display = ("id", "project", "kind", "format", "state", "rows", "sha256", "created_at")
    search_fields = ("project__name", "sha256", "error")
    list_filter = ("state", "kind", "format")
    list_select_related = ("project",)


@admin.register(models.DataImport)
class DataImportAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "file_name", "state", "rows_written", "created_by", "created_at", "finished_at")
    search_fields = ("project__name", "file_name")
    list_filter = ("state",)
    list_select_related = ("project", "created_by")


@admin.register(models.OverlapChange)
class OverlapChangeAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "overlap", "state", "tasks_changed", "tasks_in_all", "created_at", "finished_at")
    search_fields = ("project__name",)
    list_filter = ("state",)
    list_select_related = ("project",)


@admin.register(models.TaskChange)
class TaskChangeAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "state", "tasks_changed", "created_by", "created_at", "finished_at")
    search_fields = ("project__name", "created_by__username")
    list_filter = ("state",)
    list_select_related = ("project", "created_by")


@admin.register(models.TaskReopening)
class TaskReopeningAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "judgments", "created_by")
    search_fields = ("project__name", "created_by__username")
    list_select_related = ("project", "created_by")


@admin.register(models.JudgmentExclusion)
class JudgmentExclusionAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "labeler", "since", "reason", "created_by", "undone_at", "undone_by")
    search_fields = ("project__name", "labeler__username", "reason")
    list_select_related = ("project", "labeler", "created_by", "undone_by")


@admin.register(models.QualityCheck)
class QualityCheckAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "labeler", "kind", "score", "created_at")
    search_fields = ("project__name", "labeler__username")
    list_filter = ("kind",)
    list_select_related = ("project", "labeler")


@admin.register(models.QualityAlert)
class QualityAlertAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "labeler", "kind", "action", "rate", "threshold", "created_at", "undone_at")
    search_fields = ("project__name", "labeler__username")
    list_filter = ("kind", "action")
    list_select_related = ("project", "labeler")


@admin.register(models.Skill)
class SkillAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "name")
    search_fields = ("project__name", "name")
    list_select_related = ("project",)


@admin.register(models.ProjectFigures)
class ProjectFiguresAdmin(ReadOnlyAdmin):
    list_display = ("project", "computed_at", "count_seconds")
    search_fields = ("project__name",)
    list_select_related = ("project",)


@admin.register(models.Upload)
class UploadAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "project",
        "file_name",
        "state",
        "bytes",
        "attempts",
        "created_by",
        "created_at",
        "finished_at",
    )
    search_fields = ("project__name", "file_name", "error")
    list_filter = ("state",)
    list_select_related = ("project", "created_by")


@admin.register(models.DatasetPush)
class DatasetPushAdmin(ReadOnlyAdmin):
    list_display = ("id", "snapshot", "repository", "private", "state", "attempts", "created_by", "created_at")
    search_fields = ("repository", "error", "snapshot__project__name")
    list_filter = ("state",)
    list_select_related = ("snapshot", "created_by")


@admin.register(models.AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "actor", "verb", "subject_type", "subject_id", "project")
    search_fields = ("verb", "subject_id", "actor__username", "project__name")
    list_filter = ("verb", "project")
    list_select_related = ("actor", "project")
    date_hierarchy = "created_at"


@admin.register(models.PersonDeletion)
class PersonDeletionAdmin(ReadOnlyAdmin):
    list_display = ("id", "person", "judgments", "state", "requested_by", "created_at", "finished_at")
    search_fields = ("person__username",)
    list_filter = ("state", "judgments")
    list_select_related = ("person", "requested_by")


@admin.register(models.AuditChainLink)
class AuditChainLinkAdmin(ReadOnlyAdmin):
    list_display = ("position", "event", "digest", "created_at")
    search_fields = ("digest",)
    list_select_related = ("event",)


@admin.register(models.JudgmentAcceptance)
class JudgmentAcceptanceAdmin(ReadOnlyAdmin):
    list_display = ("id", "judgment", "reviewer", "created_at")
    search_fields = ("reviewer__username",)
    list_select_related = ("judgment__labeler", "reviewer")


@admin.register(models.AILabeler)
class AILabelerAdmin(ReadOnlyAdmin):
    list_display = ("id", "name", "project", "version", "is_counted", "weight", "measured_at")
    list_filter = ("is_counted",)
    list_select_related = ("project",)


@admin.register(models.GatewaySettings)
class GatewaySettingsAdmin(ReadOnlyAdmin):
    list_display = ("project", "enabled", "endpoint", "served_model", "stores", "prompts_per_user", "counts_feedback")
    search_fields = ("project__name",)
    list_select_related = ("project",)


@admin.register(models.GatewayCompletion)
class GatewayCompletionAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "key", "model", "prompt", "created_at")
    search_fields = ("key",)
    list_select_related = ("project", "prompt")
    exclude = ("end_user",)
