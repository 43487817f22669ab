"""Open a project and change it. Guidelines and rubric are kept in versions; every change is in the audit log."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.data import text
from annotate.errors import NotYours, Refused
from annotate.labeling import queue, task_kinds
from annotate.labeling.rubric import checked_criteria, checked_flags
from annotate.labeling.sensitive_content import marking
from annotate.models import Guidelines, Membership, Project, Rubric, Task, User
from annotate.people import audit
from annotate.people.permissions import (
    Capability,
    can_create_projects,
    count_people_who_judge,
    ensure,
    too_many_judgments,
)
from annotate.quality import consensus

FIELDS = (
    "name",
    "description",
    "language",
    "responses_per_task",
    "overlap",
    "daily_limit",
    "adaptive_overlap",
    "overlap_least",
    "overlap_most",
    "overlap_agreement",
    "task_kinds",
    "lease_minutes",
    "margin_input",
    "consensus_method",
    "review_below",
    "adjudication_view",
    "mask_model_names",
    "sensitive_rule",
    "exam_threshold",
    "exam_attempts",
    "weekly_judgments",
    "gold_rate",
    "repeat_rate",
    "check_window",
    "check_minimum",
    "gold_threshold",
    "gold_action",
    "repeat_threshold",
    "repeat_action",
)
# Besides the fields: "guidelines" (Markdown), "criteria" and "flags" (of the rubric), "archived" (true or false).
LONGEST_GUIDELINES = 200_000


def create_project(*, by: User, name: str, slug: str = "", **values: Any) -> Project:
    """Open a project that `by` manages. `values`: any of FIELDS, "guidelines", "criteria", "flags".

    Without a slug one is made of the name. Raises NotYours, and Refused with a sentence for each wrong value.
    """
    if not can_create_projects(by):
        raise NotYours(_("Only managers and administrators open projects."))
    guidelines, criteria, flags = (values.pop(key, default) for key, default in _VERSIONED.items())
    _refuse_unknown(values)
    project = Project(name=name.strip(), slug=slug or _free_slug(name), **values)
    _check(project)
    try:
        with transaction.atomic():
            project.save()
            _new_guidelines(project=project, written=guidelines, by=by)
            _new_rubric(project=project, criteria=criteria, flags=flags, by=by)
            Membership.objects.create(user=by, project=project, role=Membership.Role.MANAGER)
            audit.record(verb="project.created", actor=by, subject=project, project=project, name=project.name)
    except IntegrityError:
        raise Refused(
            _("There is a project with the address %(slug)s already.") % {"slug": project.slug}, status=400
        ) from None
    return project


def edit_project(*, project: Project, by: User, **changes: Any) -> Project:
    """Apply changes: any of FIELDS, "guidelines", "criteria", "flags", "archived". What stays the same is no change.

    A new overlap applies to the comparisons that there are (see queue.plan_overlap_change), and is refused where fewer
    people may judge; guidelines and rubric get a new version. Returns the project as it is.
    """
    ensure(by, Capability.MANAGE, project)
    versioned = {key: changes.pop(key) for key in _VERSIONED if key in changes}
    archived = changes.pop("archived", None)
    _refuse_unknown(changes)
    before = Project.objects.get(pk=project.pk)
    proposed = Project.objects.get(pk=project.pk)
    for key, value in changes.items():
        setattr(proposed, key, value)
    _check(proposed)
    if proposed.overlap > max(before.overlap, people := count_people_who_judge(project)):
        raise Refused(too_many_judgments(proposed.overlap, people), status=400)
    with transaction.atomic():
        now = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        changed: dict[str, Any] = {
            key: [getattr(before, key), getattr(proposed, key)]
            for key in changes
            if getattr(before, key) != getattr(proposed, key)
        }
        for key in changed:
            setattr(now, key, getattr(proposed, key))
        if archived is not None and archived != (now.archived_at is not None):
            now.archived_at = timezone.now() if archived else None
            changed["archived"] = archived
        now.save(update_fields=[*(key for key in changed if key in FIELDS), "archived_at"])
        if "task_kinds" in changed:
            Project.objects.filter(pk=now.pk).update(queue_epoch=F("queue_epoch") + 1)
        wanted = queue.first_overlap(now)
        is_other = "overlap" in changed or wanted != queue.first_overlap(before)
        planned = queue.plan_overlap_change(project=now, overlap=wanted) if is_other else None
        changed |= _new_versions(project=now, by=by, **versioned)
        if changed:
            audit.record(verb="project.edited", actor=by, subject=now, project=now, changes=changed)
    # After the change, in transactions of their own.
    if planned is not None:
        queue.begin_overlap_change(planned)
    if "consensus_method" in changed:
        consensus.mark_stale(Task.objects.filter(project=now, judgments_given__gt=0))
    if "sensitive_rule" in changed:
        marking.apply_rule(now)
    return Project.objects.get(pk=project.pk)


def overlap_warning(project: Project) -> str:
    """A sentence where a task wants more judgments than there are people to give them; else nothing."""
    people = count_people_who_judge(project)
    if people >= project.overlap:
        return ""
    return ngettext(
        "Each comparison wants %(overlap)d judgments, and %(people)d person can give one: none will be complete until "
        "more are invited.",
        "Each comparison wants %(overlap)d judgments, and %(people)d people can give one each: none will be complete "
        "until more are invited.",
        people,
    ) % {"overlap": project.overlap, "people": people}


_VERSIONED: dict[str, Any] = {"guidelines": "", "criteria": (), "flags": ()}


def _new_versions(*, project: Project, by: User, **versioned: Any) -> dict[str, int]:
    """Store a new version of the guidelines and of the rubric where they differ; which versions were made."""
    made = {}
    guidelines, rubric = project.guidelines, project.rubric
    if "guidelines" in versioned:
        written = versioned["guidelines"].replace("\r\n", "\n")
        if guidelines is None or guidelines.text != written:
            made["guidelines"] = _new_guidelines(project=project, written=written, by=by).version
    if "criteria" in versioned or "flags" in versioned:
        criteria = versioned.get("criteria", rubric.criteria if rubric else [])
        flags = versioned.get("flags", rubric.flags if rubric else [])
        if rubric is None or (rubric.criteria, rubric.flags) != (list(criteria), list(flags)):
            made["rubric"] = _new_rubric(project=project, criteria=criteria, flags=flags, by=by).version
    return made


def _new_guidelines(*, project: Project, written: str, by: User) -> Guidelines:
    written = text.checked(written.replace("\r\n", "\n"), name="The guidelines", longest=LONGEST_GUIDELINES)
    latest = project.guidelines
    version = 1 if latest is None else latest.version + 1
    return Guidelines.objects.create(project=project, version=version, text=written, created_by=by)


def _new_rubric(*, project: Project, criteria: Any, flags: Any, by: User) -> Rubric:
    latest = project.rubric
    return Rubric.objects.create(
        project=project,
        version=1 if latest is None else latest.version + 1,
        criteria=checked_criteria(list(criteria)),
        flags=checked_flags(list(flags)),
        created_by=by,
    )


def _refuse_unknown(values: dict[str, Any]) -> None:
    if unknown := set(values) - set(FIELDS):
        raise Refused(_("A project has no setting %(name)r.") % {"name": min(unknown)}, status=400)


def _check(project: Project) -> None:
    kinds = project.task_kinds
    if not isinstance(kinds, list) or not kinds or not all(kind in task_kinds.names() for kind in kinds):
        raise Refused(
            _("The kinds of task are one or more of %(kinds)s.") % {"kinds": ", ".join(task_kinds.names())}, status=400
        )
    _check_quality(project)
    try:
        project.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        sentences = [f"{_label(name)}: {' '.join(messages)}" for name, messages in error.message_dict.items()]
        raise Refused(" ".join(sentences), status=400) from None
    text.checked(project.name + project.description, name="The name", longest=1000)


def _check_quality(project: Project) -> None:
    """Settings of hidden checks and of the adaptive overlap that need each other. Raises Refused (400)."""
    shares = [project.gold_rate, project.repeat_rate, project.overlap_agreement]
    shares += [share for share in (project.gold_threshold, project.repeat_threshold) if share is not None]
    if not all(isinstance(share, int | float) and 0 <= share <= 1 for share in shares):
        raise Refused(_("Rates and thresholds of quality checks are shares from 0 to 1."), status=400)
    if project.gold_rate + project.repeat_rate > 1:
        raise Refused(_("Gold tasks and repeats together can't be more than all tasks."), status=400)
    if project.gold_rate + project.repeat_rate + project.evaluation_share > 1:
        raise Refused(
            _(
                "Gold tasks, repeats and the evaluation under way, which takes %(share)s of the tasks, together can't "
                "be more than all tasks."
            )
            % {"share": f"{100 * project.evaluation_share:.0f}%"},
            status=400,
        )
    if not 1 <= project.check_minimum <= project.check_window:
        raise Refused(
            _("The window of checks needs at least 1 check, and the least number of checks fits into it."), status=400
        )
    if project.adaptive_overlap and not 2 <= project.overlap_least <= project.overlap <= project.overlap_most:
        raise Refused(
            _(
                "An adaptive overlap begins with at least 2 judgments, not more than the usual number (overlap), and "
                "its cap isn't below that."
            ),
            status=400,
        )
    asks_exam = (project.gold_threshold is not None and project.gold_action == Project.CheckAction.REQUALIFY) or (
        project.repeat_threshold is not None and project.repeat_action == Project.CheckAction.REQUALIFY
    )
    if asks_exam and project.exam_threshold is None:
        raise Refused(_("A threshold asks for the qualification exam again, so the project needs an exam."), status=400)


def _label(name: str) -> str:
    field = Project._meta.get_field(name)
    return str(getattr(field, "verbose_name", name)).capitalize()


def _free_slug(name: str) -> str:
    """A slug made of the name, with a number behind it where it's taken; "project" for a name without Latin letters."""
    stem = slugify(name)[:50] or "project"
    # "new" is the address of the page that opens a project.
    taken = {"new", *Project.objects.filter(slug__startswith=stem).values_list("slug", flat=True)}
    return next(slug for slug in (stem, *(f"{stem}-{n}" for n in range(2, len(taken) + 3))) if slug not in taken)
