"""How like a reference an answer is: exact match, BLEU and ROUGE.

BLEU (Papineni et al. 2002) is sacrebleu's, of the whole set. ROUGE (Lin 2004) is ours: the mean over answers of the F1
of their words, pairs of words, and longest common subsequence, without stemming. Chinese is compared character by
character in both.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sacrebleu.metrics import BLEU

from models_core.evaluate.labels import folded, normalised

HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
WORD = re.compile(rf"[{HAN}]|[^\W_{HAN}]+")
BLEU_TOKENS = {"zh": "zh"} | dict.fromkeys(("yue", "ja", "th", "lo", "km", "my"), "char")
"""sacrebleu's tokenizer of a language; `13a`, that of the WMT campaigns, for all others.

Languages that put no spaces between words are compared character by character.
"""


def language(text: str) -> str:
    """ "zh" where at least a third of the words and characters are Chinese ones, else "en"."""
    found = WORD.findall(text)
    chinese = sum(1 for word in found if re.match(f"[{HAN}]", word))
    return "zh" if chinese * 3 >= len(found) > 0 else "en"


def figures(answers: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> dict[str, Any]:
    """All measures of each language apart: BLEU counts words, and its words depend on the language."""
    report: dict[str, Any] = {"rows": len(answers), "exact_match": exact_match(answers, references)}
    for name in sorted(set(languages)):
        places = [place for place, own in enumerate(languages) if own == name]
        ours, theirs = [answers[place] for place in places], [references[place] for place in places]
        report[name] = {
            "rows": len(places),
            "exact_match": exact_match(ours, theirs),
            "bleu": bleu(ours, theirs, tokens=BLEU_TOKENS.get(code(name), "13a")),
            **rouge(ours, theirs),
        }
    return report


def exact_match(answers: Sequence[str], references: Sequence[str]) -> float:
    """Part of the answers that are their reference but for case, punctuation and spacing.

    Texts of nothing but signs (emoji, "+") are compared as they are.
    """
    pairs = zip(answers, references, strict=True)
    return sum(_plain(answer) == _plain(reference) for answer, reference in pairs) / len(answers)


def _plain(text: str) -> str:
    return normalised(text) or folded(text)


def code(name: str) -> str:
    """The language of a tag such as zh-CN or ja_JP."""
    return re.split("[-_]", name.lower())[0]


def bleu(answers: Sequence[str], references: Sequence[str], *, tokens: str) -> float:
    """Corpus BLEU, 0 to 100; of n-grams up to the longest answer's length where none has four words."""
    return float(BLEU(tokenize=tokens, effective_order=True).corpus_score(list(answers), [list(references)]).score)


def rouge(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L, 0 to 1."""
    pairs = [(words(answer), words(reference)) for answer, reference in zip(answers, references, strict=True)]
    return {
        "rouge1": sum(overlap(*pair, size=1) for pair in pairs) / len(pairs),
        "rouge2": sum(overlap(*pair, size=2) for pair in pairs) / len(pairs),
        "rougeL": sum(subsequence(*pair) for pair in pairs) / len(pairs),
    }


def words(text: str) -> list[str]:
    """Words in lower case, Chinese characters each on its own, no punctuation."""
    return WORD.findall(text.lower())


def overlap(answer: Sequence[str], reference: Sequence[str], *, size: int) -> float:
    """F1 of the n-grams of that size, each counted as often as both have it."""
    ours, theirs = (
        Counter(zip(*(text[shift:] for shift in range(size)), strict=False)) for text in (answer, reference)
    )
    return _f1((ours & theirs).total(), ours.total(), theirs.total())


def subsequence(answer: Sequence[str], reference: Sequence[str]) -> float:
    """F1 of the longest common subsequence of words."""
    longest = [0] * (len(reference) + 1)
    for word in answer:
        before = longest[:]
        for place, other in enumerate(reference, start=1):
            longest[place] = before[place - 1] + 1 if word == other else max(before[place], longest[place - 1])
    return _f1(longest[-1], len(answer), len(reference))


def _f1(shared: int, ours: int, theirs: int) -> float:
    """Harmonic mean of shared/ours and shared/theirs; 0 where there is nothing to share."""
    return 2 * shared / (ours + theirs) if shared else 0.0
