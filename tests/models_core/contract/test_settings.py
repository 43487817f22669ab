"""Settings from texts: names, types and ranges, with an error that says which and what."""

import dataclasses
import re
import subprocess
import sys
import time

import pytest

from models_core.contract.errors import BadInput
from models_core.contract.settings import STAGES, PPOConfig, RewardConfig, SampleConfig, SFTConfig, parse, renamed
from models_core.contract.settings.training import LEARNING_RATE_FACTORS


def test_texts_become_numbers_and_truths():
    settings = parse(RewardConfig, {"epochs": " 3 ", "learning_rate": "1e-4", "deduplicate": "No", "ties": "soft"})
    assert (settings.epochs, settings.learning_rate, settings.deduplicate, settings.ties) == (3, 1e-4, False, "soft")


def test_what_is_not_given_has_its_default():
    assert parse(SFTConfig, {}) == SFTConfig()
    assert (SFTConfig().method, RewardConfig().method, PPOConfig().method) == ("full", "full", "lora")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"epoch": "1"}, "There is no setting 'epoch' here; the settings are "),
        ({"epochs": "two"}, "The setting epochs must be a whole number from 1 to 1000, not 'two'."),
        ({"epochs": "0"}, "The setting epochs must be a whole number from 1 to 1000, not '0'."),
        ({"epochs": "1.5"}, "The setting epochs must be a whole number"),
        ({"epochs": True}, "The setting epochs must be a whole number"),
        ({"learning_rate": "nan"}, "The setting learning_rate must be a number from 0 to 1, not 'nan'."),
        ({"learning_rate": "inf"}, "The setting learning_rate must be a number"),
        ({"method": "magic"}, "The setting method must be one of full, last_n, lora, qlora, adapter, prefix, prompt,"),
        ({"precision": "fp8"}, "The setting precision must be one of auto, bf16, fp32, not 'fp8'."),
        ({"max_tokens_per_forward": "1"}, "must be a whole number from 16 to 1048576, not '1'."),
        ({"max_tokens_per_forward": "1000000000"}, "must be a whole number from 16 to"),
        ({"data_weights": "1,much"}, "The setting data_weights must be numbers parted by commas, not '1,much'."),
        ({"seed": "-1"}, "The setting seed must be a whole number"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(values, sentence):
    with pytest.raises(BadInput) as caught:
        parse(SFTConfig, values)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("(", "The setting required_pattern is no regular expression: "),
        ("a" * 1001, "The setting required_pattern is longer than 1,000 characters."),
        ("((a{1,1000}){1,1000}){1,1000}", "The setting required_pattern repeats more than 100,000 times"),
        ("(((((a{99}){99}){99}){99}){99}){99}", "The setting required_pattern repeats more than 100,000 times"),
        ("((a{1000,}){1000,}){1000,}", "The setting required_pattern repeats more than 100,000 times"),
        ("a{99999999999}", "The setting required_pattern repeats more than 100,000 times"),
    ],
)
def test_a_pattern_of_any_cost_is_refused_before_it_is_compiled(pattern, sentence):
    start = time.process_time()
    with pytest.raises(BadInput) as caught:
        parse(PPOConfig, {"required_pattern": pattern})
    assert str(caught.value).startswith(sentence)
    assert time.process_time() - start < 0.5


def test_a_pattern_with_counts_is_taken():
    for pattern in (r"^\d{4}-\d{2}-\d{2}$", r"\w{3,}", r"x{,5}", "(?i)yes|no", "a{b}"):
        assert parse(PPOConfig, {"required_pattern": pattern}).required_pattern == pattern


def test_a_wrong_truth_is_refused():
    with pytest.raises(BadInput, match="deduplicate must be true or false, not 'maybe'"):
        parse(RewardConfig, {"deduplicate": "maybe"})


@pytest.mark.parametrize("stage", STAGES)
def test_every_default_is_accepted(stage):
    defaults = dataclasses.asdict(STAGES[stage]())
    assert parse(STAGES[stage], {name: str(value) for name, value in defaults.items()}) == STAGES[stage]()


FORBIDDEN = re.compile(
    r"\b(those of|whoever|price of|by itself|the deed|people's side|machines' side|worth|told|settled|hear[ds]?|"
    r"begun|what an? |furthest|learns? from|opinions?|voices?)\b|^What\b.*\bsays?\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("stage", STAGES)
def test_every_help_text_is_a_sentence_in_standard_terms(stage):
    for field in dataclasses.fields(STAGES[stage]):
        text = field.metadata["help"]
        assert text[0].isupper(), field.name
        assert text.endswith("."), field.name
        assert not FORBIDDEN.search(text), field.name


@pytest.mark.parametrize(
    ("earlier", "now"),
    [
        ({"warmup": 0.1, "keep_best": True}, {"warmup_ratio": 0.1, "load_best_at_end": True}),
        ({"ties": "half", "memory_plan": "separate"}, {"ties": "soft", "share_base_weights": "never"}),
        ({"ties": "skip", "memory_plan": "auto", "seed": 1}, {"ties": "skip", "share_base_weights": "auto", "seed": 1}),
    ],
)
def test_settings_of_an_earlier_version_have_names_today(earlier, now):
    assert renamed.current(earlier) == now


def test_every_renamed_setting_exists():
    names = {field.name for stage in STAGES.values() for field in dataclasses.fields(stage)}
    assert set(renamed.NAMES.values()) <= names
    assert not set(renamed.NAMES) & names


def test_a_setting_belongs_to_its_stage():
    with pytest.raises(BadInput, match="no setting 'epochs'"):
        parse(SampleConfig, {"epochs": "1"})


def test_reading_settings_and_rows_loads_no_torch():
    program = (
        "import sys, models_core.contract.settings, models_core.contract.rows.records;"
        "import models_core.contract.catalogue, models_core.contract.runs.stopping;"
        "found = any(name in sys.modules for name in ('torch', 'transformers', 'numpy'));sys.exit(found)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("stage", [RewardConfig, SFTConfig, PPOConfig])
def test_a_methods_learning_rate_is_the_number_that_people_would_write(stage):
    rates = [str(parse(stage, {"method": method}).learning_rate) for method in LEARNING_RATE_FACTORS]
    assert max(map(len, rates)) <= 8, rates
