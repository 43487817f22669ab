"""Which of InstructGPT's use cases a prompt is, guessed by what it asks for, where nobody says it.

Words at the beginning of a request, in English and Chinese; a prompt that names none of them is of another use case.
A guess costs no model and says the same on every machine. It reads the last turn, and of that its beginning and end.
"""

import re

from annotate.models import Prompt

SAMPLE = 400
"""Characters from each end of the turn: what is asked for stands before a long text or behind it."""
LONG = 600
"""A question about so long a text is one that the text answers."""
UseCase = Prompt.UseCase

WORDS: tuple[tuple[UseCase, tuple[str, ...]], ...] = (
    (UseCase.SUMMARISATION, (r"\b(?:summari[sz]e|summary of|tl;?dr|sum up|key points)\b", "总结|概括|摘要")),
    (
        UseCase.REWRITING,
        (
            r"\b(?:rewrite|rephrase|paraphrase|translate|proofread|reword)\b",
            r"\b(?:correct|fix) (?:the|this|my) (?:grammar|spelling|text|sentence)\b",
            "改写|翻译|润色",
        ),
    ),
    (
        UseCase.CLASSIFICATION,
        (r"\b(?:classify|categori[sz]e|sentiment of|which category|label (?:the|each|this))\b", "分类"),
    ),
    (UseCase.EXTRACTION, (r"\b(?:extract|pull out|find all|list (?:all )?the names)\b", "提取|抽取")),
    (
        UseCase.BRAINSTORMING,
        (
            r"\b(?:brainstorm|ideas? for|give me (?:some|\d+)|suggest|list \d+|come up with)\b",
            "头脑风暴|想几个|建议",
        ),
    ),
    (
        UseCase.GENERATION,
        (r"\b(?:write|compose|draft|generate|create|tell me a (?:story|joke))\b", "写一|写个|生成|创作"),
    ),
)
RULES = [(use_case, re.compile("|".join(words), re.IGNORECASE)) for use_case, words in WORDS]
QUESTION = re.compile(
    r"[?？]|^\s*(?:who|what|when|where|why|how|which|is|are|can|does|do|did|explain)\b|为什么|什么|怎么|如何|吗", re.I
)


def guess(messages: list[dict[str, str]]) -> str:
    """The use case of a chat that awaits a response."""
    if any(turn["role"] == "assistant" for turn in messages):
        return UseCase.CHAT
    text = messages[-1]["content"]
    sample = text if len(text) <= 2 * SAMPLE else f"{text[:SAMPLE]}\n{text[-SAMPLE:]}"
    for use_case, pattern in RULES:
        if pattern.search(sample):
            return use_case
    if QUESTION.search(sample):
        return UseCase.CLOSED_QA if len(text) > LONG else UseCase.OPEN_QA
    return UseCase.OTHER
