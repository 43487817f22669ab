"""Demonstrations that come of judgments. They are withdrawn, never deleted: a snapshot may hold them."""

from django.utils import timezone

from annotate.models import Assignment, Author, Demonstration, Judgment, Prompt, Response


def demonstrate(
    *, assignment: Assignment, text: str, prompt: Prompt | None = None, edited_from_id: int | None = None
) -> Demonstration:
    """The labeler's ideal response to `prompt`, or else to the task's prompt. The same text again changes nothing."""
    prompt = prompt or assignment.task.prompt
    assert prompt is not None  # a task of a kind that asks for a response has one
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


def withdraw(*, judgment: Judgment) -> None:
    """Withdraw the demonstrations of the judgment's assignment."""
    active = Demonstration.objects.filter(assignment_id=judgment.assignment_id, withdrawn_at=None)
    active.update(withdrawn_at=timezone.now())
