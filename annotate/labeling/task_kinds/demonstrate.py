"""Write the ideal response to a prompt.

JudgmentRevision.content: {"text": the response, "pairs"?: [[query, response], ...]}, the pairs of a few-shot prompt
where the labeler changed them. It becomes a demonstration, of the changed prompt where there is one.
"""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.data import text
from annotate.errors import Refused
from annotate.forms.written import Demonstrate
from annotate.labeling import demonstrations
from annotate.labeling.few_shot import FewShot, checked_pairs
from annotate.labeling.submissions import Submission
from annotate.labeling.task_kinds import MadeFrom, TaskKind, WrittenTurn, content_fields
from annotate.models import Assignment, Author, Judgment, JudgmentRevision, Prompt, Task
from annotate.models.data.prompt import content_hash


def content(submission: Submission, assignment: Assignment) -> dict[str, Any]:
    given = content_fields(submission.content, required={"text"}, optional={"pairs"})
    written = text.as_written(text.checked(given["text"], name=_("The response"), longest=text.LONGEST_RESPONSE))
    if not written:
        raise Refused(_("Write the response first, or skip the task."), status=400)
    pairs = _changed_pairs(given.get("pairs"), assignment)
    return {"text": written} | ({"pairs": pairs} if pairs else {})


def _changed_pairs(pairs: Any, assignment: Assignment) -> list[list[str]]:
    """The pairs of a few-shot prompt as the labeler would have them; none where they are unchanged."""
    prompt = assignment.task.prompt
    shown = FewShot.of(prompt.messages) if prompt is not None else None
    if pairs is None or shown is None:
        return []
    checked = checked_pairs(pairs)
    return [] if tuple(map(tuple, checked)) == shown.pairs else checked


def store(*, judgment: Judgment, revision: JudgmentRevision) -> None:
    assignment = judgment.assignment
    prompt = _demonstrated_prompt(assignment, revision.content.get("pairs"))
    demonstrations.demonstrate(assignment=assignment, text=revision.content["text"], prompt=prompt)


def _demonstrated_prompt(assignment: Assignment, pairs: list[list[str]] | None) -> Prompt | None:
    """The task's prompt, or the few-shot prompt that it became when the labeler changed its examples."""
    prompt = assignment.task.prompt
    shown = FewShot.of(prompt.messages) if prompt is not None and pairs else None
    if prompt is None or pairs is None or shown is None:
        return prompt
    changed = FewShot(instruction=shown.instruction, pairs=tuple((q, a) for q, a in pairs), query=shown.query)
    known = Prompt.known(project_id=prompt.project_id, digest=content_hash(changed.messages))
    return known or Prompt.objects.create(
        project=prompt.project,
        messages=changed.messages,
        kind=prompt.kind,
        use_case=prompt.use_case,
        language=prompt.language,
        source=prompt.source,
        sensitive=prompt.sensitive,
        author=Author.of(assignment.labeler),
        opening=prompt.opening or prompt,
    )


def texts(revision: JudgmentRevision) -> list[WrittenTurn]:
    pairs = [
        turn
        for query, response in revision.content.get("pairs", [])
        for turn in (("user", query), ("assistant", response))
    ]
    examples = [WrittenTurn(role, _("Example, corrected"), written) for role, written in pairs]
    return [*examples, WrittenTurn("assistant", _("Written"), revision.content.get("text", ""))]


KIND = TaskKind(
    name=Task.Kind.DEMONSTRATE,
    label=Task.Kind.DEMONSTRATE.label,
    count_label=lambda count: ngettext("ideal response to write", "ideal responses to write", count),
    form=Demonstrate,
    content=content,
    store=store,
    withdraw=demonstrations.withdraw,
    summary=lambda _judgment, revision: revision.content.get("text", ""),
    texts=texts,
    made_from=MadeFrom.PROMPTS,
    quotes_text=True,
)
