"""A saved reward model in plain transformers, with its template as it is: the scores that `score` gives."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from models_core.modeling import loading
from models_core.modeling.reward_chat_template import unwrapped, wrapped
from models_core.rl.rewards.reward_models import RewardModels
from tests.models_core import recipe_runs
from tests.models_core.tiny import TEMPLATE, make_tiny_model, make_tiny_tokenizer

CHATS = [
    [{"role": "user", "content": "hi"}],
    [{"role": "system", "content": "be brief"}, {"role": "user", "content": "and who are you?"}],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
]
TEXTS = ["yes", "a longer response, in two\n\nparagraphs", ""]
TEMPLATES = {
    "chatml": TEMPLATE,
    "leading lines": "\n\n  {# a comment #}\n" + TEMPLATE + "\n",
    "other turns": (
        "{% for m in messages %}{% if m['role'] == 'assistant' %} {{ m['content'] }} <|im_end|>\n\n{% else %}"
        "[{{ m['role'] }}] {{ m['content'] }} [/]{% endif %}{% endfor %}"
    ),
    "no end": (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    ),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_plain_transformers_scores_as_score_does(tmp_path, name):
    base = make_tiny_model(tmp_path / "base")
    tokenizer = loading.load_tokenizer(base)
    tokenizer.chat_template = TEMPLATES[name]
    model = loading.new_reward_model(base, device=recipe_runs.CPU, dtype=torch.float32, seed=0)
    folder = tmp_path / "reward"
    loading.save_reward_model(folder, model, tokenizer, reward_shift=0.5, reward_scale=2.0)
    assert tokenizer.chat_template == TEMPLATES[name]

    reward_models = RewardModels.load(
        str(folder), device=recipe_runs.CPU, dtype=torch.float32, max_length=512, budget=8192
    )
    wanted = [
        row[0] for row in reward_models.mean_scores([(turns, [text]) for turns, text in zip(CHATS, TEXTS, strict=True)])
    ]

    plain, reads = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    chats = [[*turns, {"role": "assistant", "content": text}] for turns, text in zip(CHATS, TEXTS, strict=True)]
    batch = reads.apply_chat_template(chats, padding=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        logits = plain(**batch).logits.flatten()
    found = (logits - plain.config.reward_shift) / plain.config.reward_scale
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TEMPLATES)
def test_any_other_chat_is_written_as_the_template_writes_it(name):
    tokenizer = make_tiny_tokenizer()
    tokenizer.chat_template = TEMPLATES[name]
    saved = wrapped(tokenizer)
    for turns in CHATS:
        for ahead in (True, False):
            before = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=ahead)
            after = tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=ahead, chat_template=saved
            )
            assert after == before
    assert unwrapped(saved) == TEMPLATES[name]
    tokenizer.chat_template = saved
    assert wrapped(tokenizer) == saved
