"""An exam item on the ranking board: order only, no rubric."""

from functools import cached_property

from django.urls import reverse
from django.utils import timezone

from annotate.forms.board import Board
from annotate.forms.response_keys import ResponseKeys
from annotate.forms.task_forms import FormData, Urls
from annotate.labeling.model_self_identification import mask_names
from annotate.labeling.ordering import Ordering
from annotate.models import Assignment, ExamAnswer, ExamAttempt, Response


class ExamBoard(Board):
    """An answer of an exam attempt, shown as the assignment that it isn't: nobody gets its task twice."""

    rubric = None
    margins = None
    preferences = None
    is_exam = True

    def __init__(self, item: ExamAnswer, *, data: FormData | None = None) -> None:
        self.item = item
        attempt = item.attempt
        assignment = Assignment(
            task=item.task,
            labeler=attempt.labeler,
            project=attempt.project,
            presentation=item.presentation,
            draft=item.draft,
            draft_version=item.draft_version,
            seed=0,
            lease_until=timezone.now(),
        )
        super().__init__(assignment, data=data)

    @classmethod
    def results(cls, attempt: ExamAttempt) -> list["ExamBoard"]:
        """The items of an attempt as they were answered."""
        answers = attempt.answers.select_related("attempt__project", "attempt__labeler", "task__prompt")
        return [cls(answer) for answer in answers.order_by("number")]

    @cached_property
    def urls(self) -> Urls:
        where = [self.item.attempt.project.slug, self.item.pk]
        return Urls(
            submit=reverse("annotate:exam_answer", args=where), draft=reverse("annotate:exam_draft", args=where)
        )

    @cached_property
    def response_keys(self) -> ResponseKeys:
        return ResponseKeys(f"exam-{self.item.pk}", self.item.presentation)

    @property
    def count_of_items(self) -> int:
        return self.item.attempt.answers.count()

    @property
    def given_order(self) -> str:
        """What was answered, in letters, such as B > A = C."""
        return Ordering.stored(self.item.tiers).in_letters(self.item.presentation)

    @property
    def known_order(self) -> str:
        return Ordering.stored(self.item.gold_tiers).in_letters(self.item.presentation)

    @cached_property
    def texts(self) -> list[tuple[str, str]]:
        """(letter, response) as the board showed them."""
        responses, masked = Response.objects.in_bulk(self.item.presentation), self.assignment.project.mask_model_names
        return [
            (letter, mask_names(responses[key].text) if masked else responses[key].text)
            for key, letter in self._letters
        ]
