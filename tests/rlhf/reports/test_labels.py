"""The metrics of the contract are those that recipes report and pages label; elsewhere, that none is missing."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import translation

from models_core.contract.reports import metric_names
from models_core.rl.update import UpdateStats
from rlhf.reports import labels


def sources() -> str:
    folders = [
        Path(settings.BASE_DIR) / name
        for name in ("models_core", "rlhf/loop", "rlhf/runs/planning", "rlhf/ai_feedback")
    ]
    paths = [path for folder in folders for path in folder.rglob("*.py") if path.name != "metric_names.py"]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def test_every_metric_has_a_label() -> None:
    assert labels.METRICS.keys() == metric_names.METRICS


def test_every_metric_is_reported_by_something() -> None:
    source = sources()
    unreported = []
    for metric in metric_names.METRICS:
        name = metric.removesuffix("_start")
        known = rf'"{re.escape(name.removeprefix("reward/"))}"|\b{re.escape(name)}\b\s*[:=]'
        if not re.search(known, source):
            unreported.append(metric)
    assert unreported == []


def test_the_metrics_of_a_policy_update_are_named() -> None:
    """Whichever algorithm reports them."""
    assert {field.name for field in fields(UpdateStats)} <= set(metric_names.UPDATES)


@pytest.mark.parametrize(
    ("name", "english", "chinese"),
    [
        ("kl_coef", 'KL coefficient <code lang="en">kl_coef</code>', 'KL 系数 <code lang="en">kl_coef</code>'),
        ("batch_size", '<span lang="en">Batch size</span>', '批大小 <code lang="en">batch_size</code>'),
        ("ptx_coef", 'PPO-ptx coefficient <code lang="en">ptx_coef</code>', None),
        ("ptx", 'Pretraining text of PPO-ptx <code lang="en">ptx</code>', None),
    ],
)
def test_a_setting_is_labelled_in_the_words_of_its_reader(name: str, english: str, chinese: str | None) -> None:
    with translation.override("en"):
        assert labels.of_name(name) == english
    if chinese is not None:
        with translation.override("zh-hans"):
            assert labels.of_name(name) == chinese


def test_a_metric_within_a_sentence_keeps_its_small_letters() -> None:
    with translation.override("en"):
        assert labels.in_words("eval_kl") == "eval KL"
        assert labels.in_words("reward/missing_eos") == "reward/missing EOS"
