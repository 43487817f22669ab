"""The sentences of a report: verdicts and findings, in English with named places for their values.

Standard library only: the web process has them translated, and fills in the same values.
"""

from collections.abc import Callable, Mapping
from typing import Any

VERSION = 1
"""Of the shape of report.json: a program reads those of its own version."""

SENTENCES = {
    # Verdicts.
    "no_held_out": "Nothing can be said: no held-out judgment puts two responses in an order. Collect more judgments.",
    "too_few": (
        "Too early to say: held-out prompts are so few (%(prompts)s) that its accuracy of %(accuracy)s could be "
        "anything from %(low)s to %(high)s. Collect about %(more)s more judgments."
    ),
    "reversed": (
        "Not good enough for PPO: it orders responses against people (%(accuracy)s right). Check whether the ranks of "
        "the data are the wrong way round."
    ),
    "chance": (
        "Not good enough for PPO: with %(accuracy)s right (%(low)s to %(high)s) it may be guessing. Collect more "
        "judgments, at least as many again."
    ),
    "disagree": (
        "Not good enough for PPO: labelers agree with each other on only %(agreement)s of pairs, so no model can "
        "learn what they want. Make the guidelines clearer and let more labelers judge each task."
    ),
    "only_longer": (
        "Not good enough for PPO: it only prefers long responses. Where people chose the shorter one it is right in "
        "%(against)s of pairs. Collect comparisons of responses of about equal length."
    ),
    "only_shorter": (
        "Not good enough for PPO: it only prefers short responses. Where people chose the longer one it is right in "
        "%(against)s of pairs. Collect comparisons of responses of about equal length."
    ),
    "good": "Good enough for PPO: it orders %(accuracy)s of held-out pairs as people do (%(low)s to %(high)s).",
    "good_except": (
        "Good enough for PPO, but not in %(group)s: there it orders %(group_accuracy)s of held-out pairs as people "
        "do, and %(accuracy)s over all. Collect more judgments in %(group)s."
    ),
    "unsure": (
        "Probably good enough for PPO, but measured on too little to be sure: %(accuracy)s of held-out pairs are "
        "ordered as people do, and it could be %(low)s to %(high)s. Collect about %(more)s more judgments."
    ),
    "almost": (
        "Perhaps not good enough for PPO yet: %(accuracy)s of held-out pairs are ordered as people do (%(low)s to "
        "%(high)s), and %(bar)s would do. Collect more judgments."
    ),
    "weak_in": (
        "Not good enough for PPO yet: %(accuracy)s of held-out pairs are ordered as people do (%(low)s to "
        "%(high)s), and %(bar)s would do. It is weakest in %(group)s (%(group_accuracy)s): collect more judgments "
        "there first."
    ),
    "weak": (
        "Not good enough for PPO yet: %(accuracy)s of held-out pairs are ordered as people do (%(low)s to "
        "%(high)s), and %(bar)s would do. Collect more judgments, about as many again."
    ),
    # Findings.
    "at_ceiling": (
        "It agrees with people about as much as they agree with each other (%(agreement)s). More judgments of the "
        "same kind will help little; clearer guidelines may."
    ),
    "one_labeler": (
        "All held-out judgments come from one labeler, so it learns that person’s taste and nobody can say how far "
        "others share it. Let a second labeler judge some of the tasks."
    ),
    "no_overlap": (
        "No two labelers judged the same responses, so nobody can say how far people agree, which is the most that a "
        "model can reach. Let several labelers judge some of the tasks."
    ),
    "only_machines": (
        "All held-out judgments are a machine’s: these figures say how well it follows that machine, not people."
    ),
    "leans_longer": (
        "It picks the longer response in %(model)s of pairs, people in %(people)s: watch the length of responses "
        "during PPO, and collect comparisons of responses of about equal length."
    ),
    "leans_shorter": (
        "It picks the shorter response in %(model)s of pairs, people in %(people)s: watch the length of responses "
        "during PPO, and collect comparisons of responses of about equal length."
    ),
    "overconfident": (
        "It is surer than it should be: dividing its differences by %(temperature)s would make its probabilities "
        "true. Take a larger kl_coef in PPO, or a smaller learning rate here."
    ),
    "thin": (
        "Only %(prompts)s held-out prompts are in %(group)s, too few to say how well it judges there. Collect more "
        "of them."
    ),
    "weak_group": (
        "It is weaker in %(group)s: %(group_accuracy)s (%(group_low)s to %(group_high)s) against %(accuracy)s over all."
    ),
    "aged": (
        "The reward model before this one fell from %(before)s to %(newest)s on judgments made since: reward models "
        "age. Train a new one in every round, on responses of the newest policy."
    ),
    "holds": (
        "The reward model before this one was right in %(newest)s of pairs (%(low)s to %(high)s) on judgments made "
        "since, none of which it had seen."
    ),
}


def sentence(code: str, values: Mapping[str, Any], *, translate: Callable[[str], str] = str) -> str:
    """The sentence, in the language of `translate`; empty for a code of another version of this program."""
    if code not in SENTENCES:
        return ""
    return translate(SENTENCES[code]) % {name: _shown(name, value) for name, value in values.items()}


def _shown(name: str, value: Any) -> str:
    if name == "temperature":
        return f"{value:.1f}"
    if isinstance(value, float):
        return f"{100 * value:.0f}%"
    return f"{value:,}" if isinstance(value, int) else str(value)
