"""Similarity of a response to a reference: exact match, BLEU, chrF and ROUGE.

BLEU (Papineni et al. 2002) and chrF (Popović 2015) are sacrebleu's, of the whole set. ROUGE (Lin 2004) is that of the
rouge-score package, the mean over responses of F1 without stemming, on words of our own: its own tokenizer keeps
nothing but ASCII letters and digits.
"""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import regex
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer
from sacrebleu.metrics import BLEU, CHRF

from models_core.commands.evaluate.label_accuracy import folded

HAN = r"\p{Script=Han}"
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}ーｰ々〆\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Characters of scripts that put no spaces between words: each counts as a word, with the marks on it."""
WORD = regex.compile(
    rf"[{UNSPACED}]\p{{M}}*"
    rf"|(?:(?![{UNSPACED}])[\p{{L}}\p{{N}}])(?:(?![{UNSPACED}])[\p{{L}}\p{{M}}\p{{N}}])*"
    r"|(?=\p{Extended_Pictographic}|\p{Regional_Indicator})\X"
)
MEANT = r"(?![`|~])\p{S}|(?<=[\w#])#|(?<=\d)%|(?<!\w)-(?=\.?\d)|(?<=\b[a-z])-(?![\w-])"
"""Signs that make another response: symbols (+, =, $, emoji), C#, 50%, -5 and the grade A-. Of those that Markdown uses
none is."""
PUNCTUATION = regex.compile(rf"(?!{MEANT})(?:[^\w\s]|_)")
AROUND_SIGNS = regex.compile(r" ?([^\w\s]) ?")
ROUGE = ("rouge1", "rouge2", "rougeL")
BLEU_TOKENS = {"zh": "zh"} | dict.fromkeys(("yue", "ja", "th", "lo", "km", "my"), "char")
"""sacrebleu's tokenizer of a language; `13a`, that of the WMT campaigns, for all others.

Languages that put no spaces between words are compared character by character.
"""


def language(text: str) -> str:
    """ "zh" where at least a third of the words and characters are Chinese ones, else "en"."""
    found = WORD.findall(text)
    chinese = sum(1 for word in found if regex.match(HAN, word))
    return "zh" if chinese * 3 >= len(found) > 0 else "en"


def figures(responses: Sequence[str], references: Sequence[str], languages: Sequence[str]) -> dict[str, Any]:
    """All measures of each language apart: BLEU counts words, and its words depend on the language."""
    report: dict[str, Any] = {"rows": len(responses), "exact_match": exact_match(responses, references)}
    for name in sorted(set(languages)):
        places = [place for place, own in enumerate(languages) if own == name]
        ours, theirs = [responses[place] for place in places], [references[place] for place in places]
        report[name] = {
            "rows": len(places),
            "exact_match": exact_match(ours, theirs),
            **bleu(ours, theirs, tokens=BLEU_TOKENS.get(code(name), "13a")),
            **chrf(ours, theirs),
            **rouge(ours, theirs),
        }
    return report


def exact_match(responses: Sequence[str], references: Sequence[str]) -> float:
    """Part of the responses that are their reference but for case, punctuation and spacing.

    Signs that mean something count: 5 is not -5, nor C++ C#. Texts of nothing but signs are compared as they are.
    """
    pairs = zip(responses, references, strict=True)
    return sum(_plain(response) == _plain(reference) for response, reference in pairs) / len(responses)


def _plain(text: str) -> str:
    written = folded(text).replace("\u2212", "-")
    words = " ".join(PUNCTUATION.sub(" ", written).split())
    return AROUND_SIGNS.sub(r"\1", words) or written


def code(name: str) -> str:
    """The language of a tag such as zh-CN or ja_JP."""
    return regex.split("[-_]", name.lower())[0]


def bleu(responses: Sequence[str], references: Sequence[str], *, tokens: str) -> dict[str, Any]:
    """Corpus BLEU, 0 to 100; of n-grams up to the longest response's length where none has four words."""
    return _of_corpus("bleu", BLEU(tokenize=tokens, effective_order=True), responses, references)


def chrf(responses: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """Corpus chrF2, 0 to 100: n-grams of up to six characters, white space left out."""
    return _of_corpus("chrf", CHRF(), responses, references)


def _of_corpus(name: str, metric: Any, responses: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """sacrebleu's score of a whole set, and its signature: with it another program computes the same."""
    score = metric.corpus_score(list(responses), [list(references)]).score
    return {name: float(score), f"{name}_signature": str(metric.get_signature())}


class Words(Tokenizer):
    """How a text is taken apart for ROUGE."""

    def tokenize(self, text: str) -> list[str]:
        """Words in lower case, characters where a script has no spaces, emoji; no punctuation."""
        return WORD.findall(text.lower())


def rouge(responses: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """Mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L, 0 to 1, and with which options. A pair without words counts as 0."""
    scorer = RougeScorer(ROUGE, use_stemmer=False, tokenizer=Words())
    scores = [scorer.score(reference, response) for response, reference in zip(responses, references, strict=True)]
    means = {name: sum(float(score[name].fmeasure) for score in scores) / len(scores) for name in ROUGE}
    tokens = "words-lower-han.kana.thai.lao.khmer.myanmar.by.character-emoji"
    options = f"fmeasure:mean|stemmer:no|tok:{tokens}|zero_division:0|version:{version('rouge-score')}"
    return means | {"rouge_signature": options}
