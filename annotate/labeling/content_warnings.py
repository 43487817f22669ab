"""Who is given prompts that may upset, and what a project promises about them.

A marked prompt is covered by a warning until the reader opens it, and is never given to somebody who opted out or whom
the project spares. See annotate.labeling.sensitive_content for how prompts get marked.
"""

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from annotate.models import Project, Prompt, Task, User

Choice = User.SensitiveChoice
Rule = Project.SensitiveRule


def is_spared(labeler: User, project: Project) -> bool:
    """Whether this person gets no marked prompts in this project."""
    if project.sensitive_rule == Rule.NOBODY or labeler.sensitive_choice == Choice.NEVER:
        return True
    return project.sensitive_rule == Rule.VOLUNTEERS and labeler.sensitive_choice != Choice.WILLING


def allowed(tasks: QuerySet[Task], *, labeler: User, project: Project) -> QuerySet[Task]:
    """Of the project's tasks those that this person may be given."""
    if not is_spared(labeler, project):
        return tasks
    # A prompt that is still to be written is none that could upset.
    return tasks.filter(Q(prompt__isnull=True) | Q(prompt__sensitive=False))


def question(prompt: Prompt) -> str:
    """The prompt in a list, where nobody has chosen to read it: of a marked one only that it is one."""
    return _("Covered: this prompt may upset.") if prompt.sensitive else prompt.question


def promise(project: Project) -> str:
    """What the project does with such prompts, as a sentence for its guidelines."""
    promises = {
        Rule.WARN: _(
            "Prompts that may upset are covered by a warning until you open them. You can opt out of them on your "
            "account page, at any time and without a reason."
        ),
        Rule.VOLUNTEERS: _(
            "Prompts that may upset are only given to those who said on their account page that they are willing, and "
            "are covered by a warning until you open them."
        ),
        Rule.NOBODY: _("Prompts that may upset are given to nobody here."),
    }
    return promises[Rule(project.sensitive_rule)]
