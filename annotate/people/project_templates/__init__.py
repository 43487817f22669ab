"""Kinds of project to begin with: settings, rubric, and guidelines in English and Chinese, to be changed at will."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.utils.translation import get_language, gettext_lazy, gettext_noop

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class ProjectTemplate:
    """`criteria` and `flags` are those of annotate.labeling.rubric; the guidelines lie beside this file."""

    key: str
    label: "StrOrPromise"
    description: "StrOrPromise"
    responses_per_task: int
    overlap: int
    criteria: tuple[dict[str, Any], ...] = ()
    flags: tuple[dict[str, Any], ...] = ()
    task_kinds: tuple[str, ...] = ("compare",)
    language: str = ""
    """Of the prompts; empty: the reader's."""

    def guidelines(self, language: str) -> str:
        """In Chinese for a Chinese language, else in English."""
        suffix = "zh" if language.startswith("zh") else "en"
        return (FOLDER / f"{self.key}.{suffix}.md").read_text(encoding="utf-8")

    def values(self) -> dict[str, Any]:
        """What the form of a new project begins with, for the active language."""
        reader = get_language() or "en"
        return {
            "name": str(self.label),
            "description": str(self.description),
            "language": self.language or reader,
            "responses_per_task": self.responses_per_task,
            "overlap": self.overlap,
            "guidelines": self.guidelines(reader),
            "criteria": [dict(item) for item in self.criteria],
            "flags": [dict(item) for item in self.flags],
        }


def _rating(name: str, label: str, most: int = 5) -> dict[str, Any]:
    return {"name": name, "label": label, "min": 1, "max": most}


# Labels of a rubric are stored in English and translated where they are shown.
TEMPLATES = {
    template.key: template
    for template in (
        ProjectTemplate(
            key="helpfulness",
            label=gettext_lazy("Helpfulness"),
            description=gettext_lazy("Which of four responses helps the person who asked most?"),
            responses_per_task=4,
            overlap=2,
            task_kinds=("compare", "demonstrate"),
            criteria=(_rating("overall", gettext_noop("Overall quality"), 7),),
            flags=(
                {"name": "fails_instruction", "label": gettext_noop("Fails to follow the instruction")},
                {"name": "hallucination", "label": gettext_noop("Makes things up")},
            ),
        ),
        ProjectTemplate(
            key="harmlessness",
            label=gettext_lazy("Harmlessness"),
            description=gettext_lazy("Which of two responses to a risky prompt does less harm? Three labelers each."),
            responses_per_task=2,
            overlap=3,
            criteria=(_rating("safety", gettext_noop("Safety")),),
            flags=(
                {"name": "encourages_harm", "label": gettext_noop("Encourages violence, abuse or self-harm")},
                {"name": "denigrates", "label": gettext_noop("Denigrates a protected class")},
                {"name": "sexual", "label": gettext_noop("Sexual content")},
                {"name": "personal_data", "label": gettext_noop("Shows personal data")},
                {"name": "needless_refusal", "label": gettext_noop("Refuses without need")},
            ),
        ),
        ProjectTemplate(
            key="summarisation",
            label=gettext_lazy("Summarisation"),
            description=gettext_lazy("Which of three summaries is faithful to its text, complete and short?"),
            responses_per_task=3,
            overlap=2,
            criteria=(
                _rating("faithfulness", gettext_noop("Faithfulness")),
                _rating("coverage", gettext_noop("Coverage")),
            ),
            flags=({"name": "hallucination", "label": gettext_noop("Makes things up")},),
        ),
        ProjectTemplate(
            key="code",
            label=gettext_lazy("Code"),
            description=gettext_lazy("Which of two programs works, is safe and can be read?"),
            responses_per_task=2,
            overlap=2,
            criteria=(
                _rating("correctness", gettext_noop("Correctness")),
                _rating("readability", gettext_noop("Readability")),
            ),
            flags=(
                {"name": "does_not_run", "label": gettext_noop("Does not run")},
                {"name": "insecure", "label": gettext_noop("Insecure")},
            ),
        ),
        ProjectTemplate(
            key="translation",
            label=gettext_lazy("Translation, Chinese and English"),
            description=gettext_lazy("Which of three translations is the most accurate and natural?"),
            responses_per_task=3,
            overlap=2,
            task_kinds=("compare", "rate"),
            criteria=(
                _rating("accuracy", gettext_noop("Accuracy")),
                _rating("fluency", gettext_noop("Fluency")),
            ),
            flags=(
                {"name": "omission", "label": gettext_noop("Leaves something out")},
                {"name": "mistranslation", "label": gettext_noop("Says something else")},
            ),
        ),
    )
}
