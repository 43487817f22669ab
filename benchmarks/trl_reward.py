"""TRL's side of `python -m benchmarks reward`; runs in an environment that has TRL and nothing of Hone.

trl_reward.py MODEL RANKINGS [--rankings N] [--k K] [--eval RANKINGS] [--lr R] [--max-length T]: every strictly ordered
pair of a ranking becomes a row, as a user of the trainer has to do it. Says the seconds of training on its last line.
"""

import argparse
import json
import tempfile
import time
from itertools import combinations

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl import RewardConfig, RewardTrainer

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("rankings")
parser.add_argument("--rankings", dest="count", type=int)
parser.add_argument("--k", type=int)
parser.add_argument("--eval")
parser.add_argument("--lr", type=float, default=9e-6)
parser.add_argument("--max-length", type=int, default=512)
options = parser.parse_args()


def pairs(path, count=None):
    """The ordered pairs of the file's first rankings."""
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file][:count]
    found = []
    for row in rows:
        ranked = [one for one in row["responses"] if one["rank"] is not None]
        for first, second in combinations(sorted(ranked, key=lambda one: one["rank"]), 2):
            if first["rank"] < second["rank"]:
                turns = [[{"role": "assistant", "content": one["text"]}] for one in (first, second)]
                found.append({"prompt": row["prompt"], "chosen": turns[0], "rejected": turns[1]})
    return Dataset.from_list(found)


tokenizer = AutoTokenizer.from_pretrained(options.model)
model = AutoModelForSequenceClassification.from_pretrained(options.model, num_labels=1, dtype=torch.float32)
model.config.pad_token_id = tokenizer.pad_token_id
with tempfile.TemporaryDirectory() as folder:
    trainer = RewardTrainer(
        model=model,
        args=RewardConfig(
            folder,
            num_train_epochs=1,
            learning_rate=options.lr,
            per_device_train_batch_size=8,
            max_length=options.max_length,
            bf16=True,
            use_cpu=True,
            gradient_checkpointing=False,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=pairs(options.rankings, options.count),
        eval_dataset=pairs(options.eval) if options.eval else None,
        processing_class=tokenizer,
    )
    start = time.perf_counter()
    trainer.train()
    said = {"seconds": time.perf_counter() - start}
    if options.eval:
        said["eval_accuracy"] = trainer.evaluate()["eval_accuracy"]
print(json.dumps(said))
