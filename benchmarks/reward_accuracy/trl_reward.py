"""TRL's side of `python -m benchmarks reward_accuracy`; runs in an environment that has TRL and nothing of Hone.

trl_reward.py MODEL PAIRS GROUPS [--rate R] [--seed N]: train on pairs, score every response of the held-out groups, and
say {"scores": [[one a response] a group], ...} on the last line. Held-out responses are scored whole, one a forward
pass: the trainer itself would leave the long ones out.
"""

import argparse
import json
import resource
import tempfile
import time

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed
from trl import RewardConfig, RewardTrainer

BATCH, COMPUTED = 8, 2
"""Pairs of a step, the trainer's own default, and how many are computed at once: the gradient is the same for less
memory and padding."""

parser = argparse.ArgumentParser()
for name in ("model", "pairs", "groups"):
    parser.add_argument(name)
parser.add_argument("--rate", type=float, default=9e-6)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--max-length", type=int, default=512)
options = parser.parse_args()


def answer(text):
    return [{"role": "assistant", "content": text}]


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


pairs = [
    {"prompt": row["prompt"], "chosen": answer(row["chosen"]), "rejected": answer(row["rejected"])}
    for row in lines(options.pairs)
]
groups = lines(options.groups)
tokenizer = AutoTokenizer.from_pretrained(options.model)
set_seed(options.seed)  # the fresh head is drawn here
model = AutoModelForSequenceClassification.from_pretrained(options.model, num_labels=1, dtype=torch.float32)
model.config.pad_token_id = tokenizer.pad_token_id
with tempfile.TemporaryDirectory() as folder:
    trainer = RewardTrainer(
        model=model,
        args=RewardConfig(
            folder,
            seed=options.seed,
            num_train_epochs=1,
            learning_rate=options.rate,
            per_device_train_batch_size=COMPUTED,
            gradient_accumulation_steps=BATCH // COMPUTED,
            max_length=options.max_length,
            bf16=True,
            use_cpu=True,
            gradient_checkpointing=False,
            logging_steps=5,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(pairs),
        processing_class=tokenizer,
    )
    kept = len(trainer.train_dataset)
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start


def score(prompt, response):
    ids = tokenizer.apply_chat_template([*prompt, *answer(response)], return_dict=False)
    return model(torch.tensor([ids])).logits.item()


model.eval()
with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
    scores = [[score(group["prompt"], response) for response in group["responses"]] for group in groups]
summary = {
    "scores": scores,
    "trained_pairs": kept,
    "dropped_pairs": len(pairs) - kept,
    "seconds": seconds,
    "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
}
print(json.dumps(summary))
