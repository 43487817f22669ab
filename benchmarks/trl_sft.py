"""TRL's side of `python -m benchmarks sft`; runs in an environment that has TRL and nothing of Hone.

trl_sft.py MODEL ROWS OUT [--rate R] [--epochs N]: trains, saves, and says the seconds of training on its last line.
"""

import argparse
import json
import time

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

parser = argparse.ArgumentParser()
for name in ("model", "rows", "out"):
    parser.add_argument(name)
parser.add_argument("--rate", type=float, default=1e-5)
parser.add_argument("--epochs", type=int, default=1)
options = parser.parse_args()

with open(options.rows, encoding="utf-8") as file:
    rows = [json.loads(line) for line in file]
dataset = Dataset.from_list(
    [{"prompt": row["prompt"], "completion": [{"role": "assistant", "content": row["response"]}]} for row in rows]
)
tokenizer = AutoTokenizer.from_pretrained(options.model)
trainer = SFTTrainer(
    model=AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32),
    args=SFTConfig(
        output_dir=f"{options.out}.trainer",
        num_train_epochs=options.epochs,
        learning_rate=options.rate,
        per_device_train_batch_size=4,
        packing=True,
        max_length=512,
        bf16=True,
        use_cpu=True,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    ),
    train_dataset=dataset,
    processing_class=tokenizer,
)
start = time.perf_counter()
trainer.train()
seconds = time.perf_counter() - start
trainer.save_model(options.out)
print(json.dumps({"seconds": seconds}))
