"""What was done, in the reader's language: a label for each verb of the audit log."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

_labels: "dict[str, StrOrPromise]" = {}


def register(labels: "Mapping[str, StrOrPromise]") -> None:
    """Add verbs and their labels. Other apps do so in `ready()`."""
    _labels.update(labels)


def label(verb: str) -> "StrOrPromise":
    """The verb itself, where an earlier version wrote one that has no label any more."""
    return _labels.get(verb, verb)


def choices() -> "list[tuple[str, StrOrPromise]]":
    """(verb, label), what belongs together side by side."""
    return sorted(_labels.items())


register(
    {
        "account.administrator_signed_in": gettext_lazy("Administrator signed in"),
        "account.created": gettext_lazy("Account created"),
        "adjudication.set_aside": gettext_lazy("Adjudication set aside"),
        "ai_labeler.below_bound": gettext_lazy("AI labeler below its bound"),
        "ai_labeler.counted": gettext_lazy("AI judgments count"),
        "ai_labeler.created": gettext_lazy("AI labeler created"),
        "ai_labeler.not_counted": gettext_lazy("AI judgments don’t count any more"),
        "audit.names_erased": gettext_lazy("Names erased from the audit log"),
        "calibration.added": gettext_lazy("Task added to calibration"),
        "calibration.removed": gettext_lazy("Task removed from calibration"),
        "data.imported": gettext_lazy("Data imported"),
        "exam.annulled": gettext_lazy("Exam annulled"),
        "exam.item_added": gettext_lazy("Task added to the exam"),
        "exam.item_removed": gettext_lazy("Task removed from the exam"),
        "exam.waived": gettext_lazy("Exam waived"),
        "gold.added": gettext_lazy("Gold task added"),
        "gold.removed": gettext_lazy("Gold task removed"),
        "invitation.accepted": gettext_lazy("Invitation accepted"),
        "invitation.created": gettext_lazy("Invitation created"),
        "invitation.withdrawn": gettext_lazy("Invitation withdrawn"),
        "judgment.accepted": gettext_lazy("Judgment accepted"),
        "judgment.returned": gettext_lazy("Judgment returned"),
        "judgments.counted_again": gettext_lazy("Judgments counted again"),
        "judgments.left_out": gettext_lazy("Judgments left out"),
        "labeler.paused": gettext_lazy("Labeler paused"),
        "labeler.resumed": gettext_lazy("Labeler resumed"),
        "labeler.work_rules": gettext_lazy("Labeler’s limits changed"),
        "membership.created": gettext_lazy("Member added"),
        "membership.removed": gettext_lazy("Member removed"),
        "password.reset": gettext_lazy("Password reset"),
        "person.deleted": gettext_lazy("Person’s data deleted"),
        "person.deletion_begun": gettext_lazy("Deletion of a person’s data begun"),
        "project.copied": gettext_lazy("Project copied"),
        "project.created": gettext_lazy("Project created"),
        "project.edited": gettext_lazy("Project settings changed"),
        "prompt.marked": gettext_lazy("Prompt marked for sensitive content"),
        "prompt.reported": gettext_lazy("Prompt reported for sensitive content"),
        "quality.paused": gettext_lazy("Labeler paused by a threshold"),
        "quality.requalification_asked": gettext_lazy("New exam asked for by a threshold"),
        "quality.undone": gettext_lazy("Action of a threshold undone"),
        "quality.warned": gettext_lazy("Labeler warned by a threshold"),
        "report.resolved": gettext_lazy("Report settled"),
        "second_factor.added": gettext_lazy("Two-step sign-in set up"),
        "second_factor.new_codes": gettext_lazy("New recovery codes made"),
        "second_factor.removed": gettext_lazy("Two-step sign-in turned off"),
        "second_factor.reset": gettext_lazy("Two-step sign-in reset"),
        "sessions.ended": gettext_lazy("Signed out elsewhere"),
        "single_sign_on.connected": gettext_lazy("Account connected to single sign-on"),
        "snapshot.links_revoked": gettext_lazy("Links to a snapshot revoked"),
        "snapshot.requested": gettext_lazy("Snapshot requested"),
        "snapshot.pushed": gettext_lazy("Snapshot pushed to a Hub"),
        "snapshot.shared": gettext_lazy("Link to a snapshot made"),
        "task.adjudicated": gettext_lazy("Task adjudicated"),
        "tasks.added": gettext_lazy("Tasks added"),
        "tasks.changed": gettext_lazy("Tasks changed"),
        "tasks.reopened": gettext_lazy("Tasks opened again"),
        "tasks.restored": gettext_lazy("Tasks restored"),
        "tasks.withdrawn": gettext_lazy("Tasks withdrawn"),
        "token.created": gettext_lazy("API token created"),
        "token.revoked": gettext_lazy("API token revoked"),
    }
)
