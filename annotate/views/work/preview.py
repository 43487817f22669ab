"""Markdown as it will be shown, while somebody writes it."""

from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from annotate.data.text import LONGEST_RESPONSE
from annotate.people.permissions import Capability, ProjectRequest, requires
from annotate.rendering import markdown


@require_POST
@requires(Capability.LABEL)
def preview(request: ProjectRequest) -> HttpResponse:
    """The `text` that was sent, made safe and formatted; nothing is stored."""
    written = request.POST.get("text", "").replace("\r\n", "\n")
    if len(written) > LONGEST_RESPONSE:
        return HttpResponse(_("This text is too long."), status=400, content_type="text/plain; charset=utf-8")
    return HttpResponse(markdown(written) if written.strip() else "")
