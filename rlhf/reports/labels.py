"""Labels of settings and metrics: words of the reader's language beside the name that commands and files use."""

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop


def in_words(name: str) -> str:
    """`eval_loss` as "eval loss", or as the catalogue has it."""
    return _(name.replace("_", " "))


def of_name(name: str) -> SafeString:
    """The words, and the name itself where these differ from it by more than a space."""
    words = in_words(name)
    if words == name.replace("_", " "):
        return format_html('<span lang="en">{}</span>', words)
    return format_html('{} <code lang="en">{}</code>', words, name)


METRICS = (
    gettext_noop("accuracy high"),
    gettext_noop("accuracy low"),
    gettext_noop("accuracy"),
    gettext_noop("approx kl"),
    gettext_noop("baseline score"),
    gettext_noop("best step"),
    gettext_noop("bits per byte"),
    gettext_noop("clip fraction"),
    gettext_noop("clipped scores"),
    gettext_noop("conservative score"),
    gettext_noop("demonstration rankings"),
    gettext_noop("demonstrations"),
    gettext_noop("disagreement auc"),
    gettext_noop("divergence loss"),
    gettext_noop("documents"),
    gettext_noop("ece"),
    gettext_noop("ended"),
    gettext_noop("ensemble disagreement"),
    gettext_noop("ensemble std"),
    gettext_noop("entropy"),
    gettext_noop("eos rate"),
    gettext_noop("episodes per s"),
    gettext_noop("eval accuracy"),
    gettext_noop("eval eos rate"),
    gettext_noop("eval kl"),
    gettext_noop("eval length"),
    gettext_noop("eval loss"),
    gettext_noop("eval pairs"),
    gettext_noop("eval rankings"),
    gettext_noop("eval reward start"),
    gettext_noop("eval reward"),
    gettext_noop("eval score start"),
    gettext_noop("eval score"),
    gettext_noop("ewc penalty"),
    gettext_noop("fewer examples"),
    gettext_noop("first ratio error"),
    gettext_noop("gradient norm"),
    gettext_noop("held out documents"),
    gettext_noop("held out prompts also learned"),
    gettext_noop("kl"),
    gettext_noop("labeler agreement"),
    gettext_noop("length"),
    gettext_noop("lm loss"),
    gettext_noop("longer wins accuracy"),
    gettext_noop("loss"),
    gettext_noop("merged turns"),
    gettext_noop("missing scores"),
    gettext_noop("newest accuracy"),
    gettext_noop("no template fits"),
    gettext_noop("old loss before"),
    gettext_noop("old loss"),
    gettext_noop("parameters"),
    gettext_noop("perplexity"),
    gettext_noop("planned steps"),
    gettext_noop("policy loss"),
    gettext_noop("prompts"),
    gettext_noop("ptx loss"),
    gettext_noop("rankings per s"),
    gettext_noop("rankings"),
    gettext_noop("replay loss"),
    gettext_noop("responses"),
    gettext_noop("reward margin"),
    gettext_noop("reward scale"),
    gettext_noop("reward shift"),
    gettext_noop("reward"),
    gettext_noop("reward/format"),
    gettext_noop("reward/length"),
    gettext_noop("reward/missing eos"),
    gettext_noop("reward/score"),
    gettext_noop("sampler bias error"),
    gettext_noop("sampler bias"),
    gettext_noop("sampler error"),
    gettext_noop("sampler log probs"),
    gettext_noop("sampler value error"),
    gettext_noop("score std"),
    gettext_noop("score"),
    gettext_noop("seconds"),
    gettext_noop("steps"),
    gettext_noop("tasks"),
    gettext_noop("tau b"),
    gettext_noop("tokens per s"),
    gettext_noop("tokens"),
    gettext_noop("too long responses"),
    gettext_noop("top1"),
    gettext_noop("trained parameters"),
    gettext_noop("truncated prompts"),
    gettext_noop("truncated"),
    gettext_noop("value clip fraction"),
    gettext_noop("value explained variance"),
    gettext_noop("value loss"),
    gettext_noop("win rate"),
)
"""Metrics of steps and results, for the catalogue. Settings are named by models_core (config.catalogues)."""
