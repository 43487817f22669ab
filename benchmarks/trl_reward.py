"""TRL's RewardTrainer beside `models_core reward`; runs in an environment that has TRL and nothing of Hone.

trl_reward.py MODEL PAIRS [--eval PAIRS] [--groups GROUPS] [--rate R] [--seed N] [--max-length T] [--at-once N]: train
one epoch on {"prompt", "chosen", "rejected"} rows. The last line says the seconds of training; with --eval the accuracy
on other pairs, by the trainer itself; with --groups {"scores": [[one a response] a group], ...} of other responses.
Those are scored whole, one a forward pass: the trainer would leave the long ones out.
"""

import argparse
import json
import resource
import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed
from trl import RewardConfig, RewardTrainer

BATCH = 8
"""Pairs of a step, the trainer's own default."""

parser = argparse.ArgumentParser()
for name in ("model", "pairs"):
    parser.add_argument(name)
parser.add_argument("--eval")
parser.add_argument("--groups")
parser.add_argument("--rate", type=float, default=9e-6)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--max-length", type=int, default=512)
parser.add_argument(
    "--at-once", type=int, default=BATCH, help="pairs of a forward pass: the same gradient for less memory and padding"
)
options = parser.parse_args()


def assistant_turn(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def lines(path: str) -> list[dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def pairs(path: str) -> list[dict[str, Any]]:
    return [
        {"prompt": row["prompt"], "chosen": assistant_turn(row["chosen"]), "rejected": assistant_turn(row["rejected"])}
        for row in lines(path)
    ]


training = pairs(options.pairs)
groups = lines(options.groups) if options.groups else []
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
            per_device_train_batch_size=options.at_once,
            gradient_accumulation_steps=BATCH // options.at_once,
            max_length=options.max_length,
            bf16=True,
            use_cpu=True,
            gradient_checkpointing=False,
            logging_steps=5,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(training),
        eval_dataset=Dataset.from_list(pairs(options.eval)) if options.eval else None,
        processing_class=tokenizer,
    )
    kept = len(trainer.train_dataset)
    start = time.perf_counter()
    trainer.train()
    summary = {
        "seconds": time.perf_counter() - start,
        "trained_pairs": kept,
        "dropped_pairs": len(training) - kept,
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
    }
    if options.eval:
        summary["eval_accuracy"] = trainer.evaluate()["eval_accuracy"]


def score(prompt: list[dict[str, str]], response: str) -> float:
    ids = tokenizer.apply_chat_template([*prompt, *assistant_turn(response)], return_dict=False)
    logits: torch.Tensor = model(torch.tensor([ids])).logits
    return logits.item()


model.eval()
with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
    scores = [[score(group["prompt"], response) for response in group["responses"]] for group in groups]
if options.groups:
    summary |= {"scores": scores, "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}
print(json.dumps(summary))
