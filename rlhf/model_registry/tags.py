"""Words that people give a version, by which the registry is filtered."""

import re

from django.db import transaction
from django.utils.translation import gettext as _

from annotate.errors import Refused
from annotate.models import Project, User
from annotate.people import audit
from rlhf.models import ModelVersion

MOST_TAGS = 12
LONGEST = 40
TAG = re.compile(r"[^\s,\x00-\x1f\x7f]+(?: [^\s,\x00-\x1f\x7f]+)*")


def parsed(text: str) -> list[str]:
    """Tags between commas, each once. Raises Refused (400)."""
    found = list(dict.fromkeys(" ".join(part.split()) for part in text.split(",") if part.strip()))
    if len(found) > MOST_TAGS:
        raise Refused(_("A version has at most %(most)s tags.") % {"most": MOST_TAGS}, status=400)
    for tag in found:
        if len(tag) > LONGEST or not TAG.fullmatch(tag):
            raise Refused(_("A tag has 1 to %(longest)s visible characters.") % {"longest": LONGEST}, status=400)
    return found


def change(version: ModelVersion, text: str, *, by: User | None) -> list[str]:
    """Replace a version's tags. Raises Refused (400)."""
    tags = parsed(text)
    with transaction.atomic():
        before = ModelVersion.objects.select_for_update().get(pk=version.pk).tags
        if before != tags:
            ModelVersion.objects.filter(pk=version.pk).update(tags=tags)
            audit.record(
                verb="model.tagged", actor=by, subject=version, project=version.project, tags=tags, before=before
            )
    return tags


def of_project(project: Project) -> list[str]:
    """Every tag in use, in alphabetical order."""
    return sorted({tag for tags in project.model_versions.values_list("tags", flat=True) for tag in tags})
