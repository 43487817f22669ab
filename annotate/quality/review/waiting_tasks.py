"""The notice that tasks wait for a reviewer: at the bell, on Home, and on the dashboard."""

from collections.abc import Iterable

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.people.notices import Notice, Reader
from annotate.people.permissions import Capability
from annotate.quality.review import adjudication

MOST_COUNTED = 1_000
"""Of a project: the index of what waits is read no further by a page."""


def of_review(reader: Reader) -> Iterable[Notice]:
    """Tasks on which labelers disagree, a line for each project where this person may decide them."""
    for project in reader.projects_with(Capability.REVIEW).values():
        count = adjudication.waiting(project).order_by()[: MOST_COUNTED + 1].count()
        if not count:
            continue
        if count > MOST_COUNTED:
            text = _("More than %(n)s tasks wait for review") % {"n": MOST_COUNTED}
        else:
            text = ngettext("%(n)s task waits for review", "%(n)s tasks wait for review", count) % {"n": count}
        yield Notice(
            project=project,
            text=text,
            url=reverse("annotate:review_queue", args=[project.slug]),
            at=None,
            level="warn",
            waits=True,
            count=count,
        )
