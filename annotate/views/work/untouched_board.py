"""A comparison that nobody has touched yet, put together from a page that was rendered once.

Two such boards of a project differ by their texts, their keys and a few numbers, and a template's nodes cost more
processor time than all queries of a submit. So the template is rendered with random stand-ins in these places, kept for
each language, rubric and setting that it shows, and cut at the stand-ins; every further board is joined from the
pieces. Texts are put in last and never searched, so that none can stand for another. What is uncommon (a draft, several
turns, a covered prompt, a response that names its model) is rendered as ever; a test compares the two ways.
"""

import re
import secrets
from collections.abc import Mapping
from threading import Lock
from typing import Any

from cachetools import LRUCache
from django.conf import settings
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from django.utils.html import escape
from django.utils.translation import get_language

from annotate.forms.board import Board
from annotate.forms.task_forms import TaskForm
from annotate.labeling.model_self_identification import names_itself
from annotate.models import Assignment, Prompt, Task
from annotate.people.permissions import ProjectRequest
from annotate.rendering import markdown, storable

MOST_KEPT = 256
Pieces = list[tuple[str, str]]
"""Each a text that is the same on every such board, and the name of what comes after it."""
_kept: LRUCache[tuple[Any, ...], Pieces] = LRUCache(maxsize=MOST_KEPT)
_lock = Lock()


def rendered(request: ProjectRequest, form: TaskForm | None, *, template: str, context: Mapping[str, Any]) -> str:
    """The task's fragment; empty where it has to be rendered by its template. `context` is all but the form."""
    if type(form) is not Board or form.data or form.assignment.draft_version or settings.DEBUG:
        return ""
    messages = form.prompt.messages
    common = len(messages) == 1 and messages[0]["role"] == "user" and not form.prompt.sensitive
    if not common or any(not text.strip() or names_itself(text) for text in form.written_texts):
        return ""
    values = {
        "number": str(form.assignment.pk),
        "client_id": str(form.client_id),
        "csrf": get_token(request),
        "prompt": markdown(messages[0]["content"]),
    }
    for place, (response_id, written) in enumerate(zip(form.assignment.presentation, form.written_texts, strict=True)):
        text, key = form.shown(written), form.response_keys.key(response_id)
        values |= {f"key{place}": key, f"prose{place}": markdown(text), f"text{place}": escape(text)}
    values[""] = ""
    return storable("".join(same + values[name] for same, name in _pieces(request, form, template, context)))


def _pieces(request: ProjectRequest, form: Board, template: str, context: Mapping[str, Any]) -> Pieces:
    project = form.assignment.project
    shown = (project.pk, project.slug, project.margin_input, project.mask_model_names)
    rubric = form.rubric and (form.rubric.pk, repr((form.rubric.criteria, form.rubric.flags)))
    key = (template, get_language(), *shown, rubric, form.count, context.get("may_manage"))
    with _lock:
        pieces = _kept.get(key)
    if pieces is None:
        pieces = _cut(request, form, template, context)
        with _lock:
            _kept[key] = pieces
    return pieces


def _cut(request: ProjectRequest, form: Board, template: str, context: Mapping[str, Any]) -> Pieces:
    *texts, prompt = [secrets.token_hex(16) for _ in range(form.count + 1)]
    task = Task(kind=form.assignment.task.kind, prompt=Prompt(messages=[{"role": "user", "content": prompt}]))
    assignment = Assignment(
        pk=2**60 + secrets.randbits(60),
        task=task,
        labeler=request.user,
        project=form.assignment.project,
        seed=0,
        presentation=list(range(1, form.count + 1)),
    )
    stand_in = Board(assignment)
    stand_in.rubric, stand_in.written_texts = form.rubric, texts
    names = {
        str(assignment.pk): "number",
        str(stand_in.client_id): "client_id",
        (token := secrets.token_hex(32)): "csrf",
        markdown(prompt): "prompt",
    }
    for place, card in enumerate(stand_in.responses):
        names |= {card.id: f"key{place}", markdown(card.text): f"prose{place}", card.text: f"text{place}"}
    html = render_to_string(template, {**context, "form": stand_in, "csrf_token": token}, request)
    # The longest first: a text stands within its own prose.
    found = re.split("({})".format("|".join(sorted(map(re.escape, names), key=len, reverse=True))), html)
    return [(same, names.get(name, "")) for same, name in zip(found[::2], [*found[1::2], ""], strict=True)]
