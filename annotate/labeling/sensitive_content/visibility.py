"""Which labelers get prompts that may upset, and how lists and guidelines speak of them."""

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from annotate.models import Project, Prompt, Task, User

Choice = User.SensitiveChoice
Rule = Project.SensitiveRule


def is_spared(labeler: User, project: Project) -> bool:
    """Whether this labeler gets no marked prompts in this project."""
    if project.sensitive_rule == Rule.NOBODY or labeler.sensitive_choice == Choice.NEVER:
        return True
    return project.sensitive_rule == Rule.VOLUNTEERS and labeler.sensitive_choice != Choice.WILLING


def allowed_tasks(tasks: QuerySet[Task], *, labeler: User, project: Project) -> QuerySet[Task]:
    """The project's tasks that this labeler may be given."""
    return unmarked(tasks) if is_spared(labeler, project) else tasks


def unmarked(tasks: QuerySet[Task]) -> QuerySet[Task]:
    # A task without a prompt asks the labeler to write one.
    return tasks.filter(Q(prompt__isnull=True) | Q(prompt__sensitive=False))


def covered_question(prompt: Prompt) -> str:
    """The prompt's last turn for a list; of a marked prompt a notice in its place."""
    return _("Covered: this prompt may upset.") if prompt.sensitive else prompt.question


def rule_statement(project: Project) -> str:
    """The project's rule as a sentence for its guidelines."""
    statements = {
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
    return statements[Rule(project.sensitive_rule)]
