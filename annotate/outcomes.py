"""What a judgment brings besides itself: the best answer as the labeler would have it becomes a demonstration.

`store` follows each revision and `withdraw` an undo, inside their transaction; what an earlier revision brought is
taken back first, so that only the latest one counts. Nothing is deleted: a demonstration is marked as withdrawn.
"""

from django.utils import timezone

from annotate.models import Assignment, Author, Demonstration, Judgment, JudgmentRevision, Response


def store(*, judgment: Judgment, revision: JudgmentRevision) -> None:
    """Make what the revision asks for: of a comparison, a demonstration of the improved answer."""
    improved = revision.content.get("improved")
    standing = Demonstration.objects.filter(assignment_id=judgment.assignment_id, withdrawn_at=None)
    if improved is not None:
        demonstrate(assignment=judgment.assignment, text=improved["text"], edited_from_id=improved["response"])
    elif revision.number > 1:
        standing.update(withdrawn_at=timezone.now())


def withdraw(*, judgment: Judgment) -> None:
    """Take back what the judgment brought."""
    Demonstration.objects.filter(assignment_id=judgment.assignment_id, withdrawn_at=None).update(
        withdrawn_at=timezone.now()
    )


def demonstrate(*, assignment: Assignment, text: str, edited_from_id: int | None = None) -> Demonstration:
    """The labeler's ideal answer to the task's prompt. The same one again is the one that is there."""
    prompt = assignment.task.prompt
    assert prompt is not None  # a task of a kind that asks for an answer has one
    standing = Demonstration.objects.filter(assignment=assignment, withdrawn_at=None)
    same = standing.filter(response__text=text, response__edited_from_id=edited_from_id).first()
    if same is not None:
        return same
    standing.update(withdrawn_at=timezone.now())
    response = Response.objects.create(
        prompt=prompt,
        text=text,
        author=Author.of(assignment.labeler),
        finish_reason=Response.FinishReason.WRITTEN,
        edited_from_id=edited_from_id,
    )
    return Demonstration.objects.create(prompt=prompt, response=response, assignment=assignment)
