"""What people are called in a project's exports, and the accounts that stand for those of other people's files."""

import re

from annotate.models import Author, Project, User

PSEUDONYM = re.compile(r"labeler-[0-9a-f]{10}")
"""What a labeler is called in Hone's exports."""


def imported_labeler(project: Project, name: str) -> str:
    """The name of the account that stands for somebody outside who judged."""
    return f"imported:{project.slug}:{name}"


def labeler_name(labeler: User, project: Project) -> str:
    """A pseudonym; one that came with an import of another Hone's export stays what it is."""
    imported = labeler.username.removeprefix(imported_labeler(project, ""))
    return imported if PSEUDONYM.fullmatch(imported) else project.pseudonym(labeler.pk)


def author_name(author: Author, project: Project) -> str:
    """The author of a text in exports: a person with an account here by a pseudonym."""
    return author.name if author.user_id is None else project.pseudonym(author.user_id)
