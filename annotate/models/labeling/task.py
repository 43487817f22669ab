import secrets
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from annotate.models.data.data_import import ImportableModel
from annotate.models.data.prompt import Prompt
from annotate.models.data.response import Response
from annotate.models.leased_job import LeasedJob
from annotate.models.people.project import Project, Skill

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

RANDOM_KEY_BITS = 48


task_kind_labels: "dict[str, StrOrPromise]" = {}
"""{name: label} of every registered kind, kept by annotate.labeling.task_kinds: models come below it."""


def task_kind_choices() -> "list[tuple[str, StrOrPromise]]":
    """(name, label) of every registered kind, as fields take them."""
    return list(task_kind_labels.items())


def new_random_key() -> int:
    return secrets.randbits(RANDOM_KEY_BITS)


def new_draw_seed() -> int:
    return secrets.randbits(63)


class Task(ImportableModel):
    """A piece of work that wants one or more judgments.

    `slots_free` counts judgments that nobody has given or holds a lease on. It is only ever changed together with an
    assignment, by a conditional update, so a task is never given to more labelers than it wants.
    """

    class Kind(models.TextChoices):
        """The kinds that Hone comes with, in the order of pages: each is a module of annotate.labeling.task_kinds."""

        COMPARE = "compare", _("Compare responses")
        DEMONSTRATE = "demonstrate", _("Write the ideal response")
        WRITE_PROMPT = "write_prompt", _("Write a prompt")
        RATE = "rate", _("Rate one response")
        CHAT = "chat", _("Continue a chat")

    class State(models.TextChoices):
        OPEN = "open", _("Open")
        COMPLETE = "complete", _("Complete")
        WITHDRAWN = "withdrawn", _("Withdrawn")
        EXAM = "exam", _("Part of the qualification exam")
        GOLD = "gold", _("Gold task")
        CALIBRATION = "calibrate", _("Part of the calibration set")
        REPEAT = "repeat", _("Repeat of a labeler's own task")
        EVALUATION = "evaluate", _("Part of a head-to-head evaluation")
        EVALUATED = "evaluated", _("Part of an evaluation that has ended")

    CHECKS = (State.GOLD, State.CALIBRATION, State.REPEAT, State.EVALUATION)
    """Given among ordinary tasks by annotate.labeling.checks, to each labeler once. No slots are counted of them, but
    for those of an evaluation."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="tasks")
    kind = models.CharField(max_length=12, choices=task_kind_choices, default=Kind.COMPARE)
    prompt = models.ForeignKey(Prompt, null=True, blank=True, on_delete=models.PROTECT, related_name="tasks")
    responses = models.ManyToManyField(Response, through="TaskResponse", related_name="tasks")
    judgments_wanted = models.PositiveSmallIntegerField(default=1)
    judgments_given = models.PositiveSmallIntegerField(default=0, editable=False)
    slots_free = models.PositiveSmallIntegerField(default=1, editable=False)
    priority = models.SmallIntegerField(default=0, help_text="Higher comes first.")
    random_key = models.BigIntegerField(default=new_random_key, editable=False)
    # One ascending number to seek on: higher priority first, then the random key.
    position = models.GeneratedField(
        expression=F("random_key") - F("priority") * 2**RANDOM_KEY_BITS,
        output_field=models.BigIntegerField(),
        db_persist=True,
    )
    gold_tiers = models.JSONField(null=True, blank=True, help_text="Known ordering as tiers of response ids, or empty.")
    task_instructions = models.JSONField(
        default=dict,
        blank=True,
        help_text='Instructions: {"instructions", "kind", "use_case"}, each optional.',
    )
    state = models.CharField(max_length=9, choices=State.choices, default=State.OPEN)
    # Few tasks are reserved or need a skill: partial indexes below, and none over all tasks.
    reserved_for = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
        help_text="The labeler who judges or skips the task before others get it; empty: anybody.",
    )
    skill = models.ForeignKey(
        Skill,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="tasks",
        db_index=False,
        help_text="What a labeler must be able to do to be given the task; empty: nothing in particular.",
    )
    has_edits = models.BooleanField(
        default=False,
        editable=False,
        help_text="Whether a response of it is an edit: then those who judged the original don't get it.",
    )
    consensus_stale_at = models.DateTimeField(
        null=True, editable=False, help_text="When a judgment changed that the stored consensus does not know."
    )
    repeat_of = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        editable=False,
        on_delete=models.PROTECT,
        related_name="repeats",
        help_text="The task that a labeler judged before and is shown once more.",
    )
    checks_stale_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="When a judgment changed that its quality check, or the adaptive overlap, does not know.",
    )
    reopened = models.PositiveBigIntegerField(
        null=True,
        editable=False,
        help_text="The project's reopened_count when a place came free again for the last time.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(condition=Q(judgments_wanted__gte=1), name="task_wants_a_judgment"),
            models.CheckConstraint(condition=Q(slots_free__lte=F("judgments_wanted")), name="task_slots_within_wanted"),
            models.CheckConstraint(
                condition=Q(kind="write_prompt") | Q(prompt__isnull=False), name="task_has_a_prompt"
            ),
        ]
        indexes = [
            models.Index(fields=["data_import"], condition=Q(data_import__isnull=False), name="task_data_import"),
            models.Index(
                fields=["project", "position"], condition=Q(state="open", slots_free__gt=0), name="task_queue"
            ),
            models.Index(
                fields=["project", "reopened"],
                condition=Q(state="open", slots_free__gt=0, reopened__isnull=False),
                name="task_reopened",
            ),
            models.Index(fields=["project", "state"], name="task_project_state"),
            models.Index(fields=["project", "-id"], name="task_project_newest"),
            models.Index(fields=["project", "kind", "state"], name="task_project_kind"),
            models.Index(fields=["reserved_for"], condition=Q(reserved_for__isnull=False), name="task_reserved_for"),
            models.Index(fields=["skill"], condition=Q(skill__isnull=False), name="task_skill"),
            models.Index(
                fields=["project", "consensus_stale_at"],
                condition=Q(consensus_stale_at__isnull=False),
                name="task_consensus_stale",
            ),
            models.Index(
                fields=["checks_stale_at"], condition=Q(checks_stale_at__isnull=False), name="task_checks_stale"
            ),
            models.Index(fields=["project", "id"], condition=Q(gold_tiers__isnull=False), name="task_known_order"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"


class TaskResponse(models.Model):
    """One of the responses of a task, in the order they were made (labelers see an order of their own)."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="task_responses")
    response = models.ForeignKey(Response, on_delete=models.PROTECT, related_name="task_responses")
    number = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["task", "number"]
        constraints = [
            models.UniqueConstraint(fields=["task", "response"], name="task_response_once"),
            models.UniqueConstraint(fields=["task", "number"], name="task_response_number_once"),
        ]

    def __str__(self) -> str:
        return f"response {self.response_id} of task {self.task_id}"


class QueueCursor(models.Model):
    """A labeler's position in a project's queue: the next claim starts there and not at the first task."""

    labeler = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    position = models.BigIntegerField()
    kind = models.CharField(
        max_length=12,
        choices=task_kind_choices,
        blank=True,
        help_text="The one kind of task wanted for now; empty for any.",
    )
    epoch = models.PositiveBigIntegerField(help_text="The project's queue_epoch that the position belongs to.")
    reopened_seen = models.PositiveBigIntegerField(
        default=0, help_text="The project's reopened_count up to which tasks before the position were looked at again."
    )

    draw_seed = models.BigIntegerField(default=new_draw_seed, editable=False)
    draws = models.PositiveBigIntegerField(
        default=0, editable=False, help_text="Tasks given so far: the number of the next draw of a hidden check."
    )
    calibrated = models.PositiveBigIntegerField(
        default=0, editable=False, help_text="The project's calibration_version of which nothing is left to judge."
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["labeler", "project"], name="queue_cursor_once")]

    def __str__(self) -> str:
        return f"cursor of {self.labeler_id} in {self.project_id}"


class TaskChange(LeasedJob):
    """A new priority, reservation, skill or number of judgments of many open tasks, on its way into them.

    waiting -> working -> done          a job that died leaves it to another one, which goes on after `last_task`

    A project's changes are carried out one after the other, in their order. A job is at work by a lease (see
    leased_job).
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        WORKING = "working", _("Being applied")
        DONE = "done", _("Applied")

    UNFINISHED = (State.WAITING, State.WORKING)

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="task_changes")
    selection = models.JSONField(default=dict, help_text="Lookups of the open tasks: {'kind': 'compare'}.")
    values = models.JSONField(help_text="What they get: {'priority': 5}, {'reserved_for': 3}, {'skill': null}.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    last_task = models.PositiveBigIntegerField(default=0, help_text="Tasks up to this number are dealt with.")
    until_task = models.PositiveBigIntegerField(help_text="The last task there was; later ones stay as they are.")
    tasks_changed = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["project", "-id"], name="task_change_project"),
            models.Index(fields=["id"], condition=Q(state__in=["waiting", "working"]), name="task_change_unfinished"),
        ]

    def __str__(self) -> str:
        return f"change of tasks of {self.project_id} to {self.values}"


class OverlapChange(LeasedJob):
    """A new number of judgments that the project's comparisons want, on its way into the tasks that there are.

    waiting -> working -> done          a job that died leaves it to another one, which changes the rest
    waiting | working -> replaced       by a newer change

    A job is at work on it by a lease (see leased_job).
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        WORKING = "working", _("Being applied")
        DONE = "done", _("Applied")
        REPLACED = "replaced", _("Replaced by a newer change")

    UNFINISHED = (State.WAITING, State.WORKING)

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="overlap_changes")
    overlap = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    tasks_changed = models.PositiveIntegerField(default=0)
    tasks_in_all = models.PositiveIntegerField(null=True, help_text="To be changed; empty until they were counted.")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["project"], condition=Q(state__in=["waiting", "working"]), name="overlap_change_one_at_a_time"
            )
        ]
        indexes = [models.Index(fields=["project", "-id"], name="overlap_change_project")]

    def __str__(self) -> str:
        return f"overlap {self.overlap} of {self.project_id}"
