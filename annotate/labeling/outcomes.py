"""What a judgment brings besides itself: demonstrations, prompts, and the comparisons within a chat.

`store` follows each revision and `withdraw` an undo, inside their transaction; what an earlier revision brought is
taken back first, so that only the latest one counts. Nothing that others may rest on is deleted: a demonstration is
marked as withdrawn, and a prompt stays as soon as anything refers to it.
"""

from functools import partial

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from annotate.labeling.chats import results as chat_results
from annotate.labeling.few_shot import FewShot
from annotate.models import Assignment, Author, Demonstration, Judgment, JudgmentRevision, Prompt, Response, Task
from annotate.models.prompt import content_hash

Kind = Task.Kind


def store(*, judgment: Judgment, revision: JudgmentRevision) -> None:
    """Make what the revision asks for."""
    kind, content = judgment.assignment.task.kind, revision.content
    if kind == Kind.CHAT:
        chat_results.store(judgment=judgment, revision=revision)
    elif kind == Kind.WRITE_PROMPT:
        _store_prompt(judgment, revision)
    elif kind == Kind.DEMONSTRATE:
        prompt = _demonstrated_prompt(judgment.assignment, content.get("pairs"))
        demonstrate(assignment=judgment.assignment, text=content["text"], prompt=prompt)
    elif kind == Kind.COMPARE and (improved := content.get("improved")) is not None:
        demonstrate(assignment=judgment.assignment, text=improved["text"], edited_from_id=improved["response"])
    elif revision.number > 1:
        _withdraw_demonstrations(judgment)


def withdraw(*, judgment: Judgment) -> None:
    """Take back what the judgment brought."""
    kind = judgment.assignment.task.kind
    if kind == Kind.CHAT:
        chat_results.withdraw(judgment=judgment)
    elif kind == Kind.WRITE_PROMPT:
        _discard_prompts(judgment, keep=None)
    else:
        _withdraw_demonstrations(judgment)


def demonstrate(
    *, assignment: Assignment, text: str, prompt: Prompt | None = None, edited_from_id: int | None = None
) -> Demonstration:
    """The labeler's ideal answer to the task's prompt, or to `prompt`. The same one again is the one that is there."""
    prompt = prompt or assignment.task.prompt
    assert prompt is not None  # a task of a kind that asks for an answer has one
    active = Demonstration.objects.filter(assignment=assignment, withdrawn_at=None)
    same = active.filter(prompt=prompt, response__text=text, response__edited_from_id=edited_from_id).first()
    if same is not None:
        return same
    active.update(withdrawn_at=timezone.now())
    response = Response.objects.create(
        prompt=prompt,
        text=text,
        author=Author.of(assignment.labeler),
        finish_reason=Response.FinishReason.WRITTEN,
        edited_from_id=edited_from_id,
    )
    return Demonstration.objects.create(prompt=prompt, response=response, assignment=assignment)


def _withdraw_demonstrations(judgment: Judgment) -> None:
    active = Demonstration.objects.filter(assignment_id=judgment.assignment_id, withdrawn_at=None)
    active.update(withdrawn_at=timezone.now())


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


def _store_prompt(judgment: Judgment, revision: JudgmentRevision) -> None:
    """The prompt that was written, once; one that an earlier revision wrote makes way if nothing refers to it."""
    content, project = revision.content, judgment.project
    digest = content_hash(content["messages"])
    values = {name: content[name] for name in ("kind", "use_case", "language", "sensitive")}
    _discard_prompts(judgment, keep=digest)
    new = {"messages": content["messages"], "source": "labelers", "author": Author.of(judgment.labeler)}
    store = partial(
        Prompt.objects.update_or_create,
        project=project,
        content_hash=digest,
        defaults=values,
        create_defaults=values | new,
    )
    Prompt.known(project_id=project.pk, digest=digest)
    try:
        with transaction.atomic():
            store()
    except IntegrityError:
        # An import that isn't seen yet brought it a moment ago.
        Prompt.known(project_id=project.pk, digest=digest)
        store()


def _discard_prompts(judgment: Judgment, *, keep: str | None) -> None:
    """Delete the prompts that this judgment brought and nothing rests on, but for the one to keep."""
    written = judgment.revisions.exclude(content={}).values_list("content", flat=True)
    digests = {content_hash(content["messages"]) for content in written} - {keep}
    author = Author.of(judgment.labeler)
    for prompt in Prompt.objects.filter(project_id=judgment.project_id, content_hash__in=digests, author=author):
        try:
            with transaction.atomic():
                prompt.delete()
        except ProtectedError:
            continue  # somebody has answered it or is judging it: it stays
