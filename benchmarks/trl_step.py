"""One step of a trainer of TRL on an export, or plain transformers on a model; runs in an environment that has TRL.

trl_step.py TRAINER MODEL FILE: a step of reward, dpo, sft or kto on the first rows of FILE, read by `datasets`. The
last line says the rows and the loss.
trl_step.py load MODEL KIND: MODEL by transformers' own classes, as a policy that generates or a reward model that
scores; the last line says the classes and whether all that came out is finite.
"""

import argparse
import json
import tempfile
from typing import Any

import torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, set_seed

ROWS, LENGTH = 8, 256


def main() -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    parser.add_argument("trainer", choices=["reward", "dpo", "sft", "kto", "load"])
    parser.add_argument("model")
    parser.add_argument("given", metavar="FILE")
    options = parser.parse_args()
    set_seed(0)
    if options.trainer == "load":
        return loaded(options.model, options.given)
    with tempfile.TemporaryDirectory() as folder:
        return step(options.trainer, options.model, options.given, folder)


def step(name: str, model: str, file: str, folder: str) -> dict[str, Any]:
    """A step on the rows of the file; the columns that the trainer doesn't know stay beside."""
    import trl

    form = "parquet" if file.endswith(".parquet") else "json"
    rows = load_dataset(form, data_files=file, split="train", cache_dir=folder)
    rows = rows.select(range(min(ROWS, len(rows))))
    known = ("prompt", "completion", "chosen", "rejected", "label")
    rows = rows.select_columns([column for column in rows.column_names if column in known])
    trainers = {
        "reward": (trl.RewardTrainer, trl.RewardConfig),
        "dpo": (trl.DPOTrainer, trl.DPOConfig),
        "sft": (trl.SFTTrainer, trl.SFTConfig),
        "kto": (_one_of(trl, "KTOTrainer"), _one_of(trl, "KTOConfig")),
    }
    trainer_class, config_class = trainers[name]
    tokenizer = AutoTokenizer.from_pretrained(model)
    if name == "reward":
        network = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1, dtype=torch.float32)
        network.config.pad_token_id = tokenizer.pad_token_id
    else:
        network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    more = {} if name == "reward" else {"max_length": LENGTH}
    settings = config_class(
        folder,
        max_steps=1,
        per_device_train_batch_size=4,
        logging_steps=1,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **more,
    )
    trainer = trainer_class(model=network, args=settings, train_dataset=rows, processing_class=tokenizer)
    kept = len(trainer.train_dataset)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {"rows": kept, "steps": trainer.state.global_step, "loss": losses[0]}


def _one_of(trl: Any, name: str) -> Any:
    """Newer versions keep some trainers in `trl.experimental`."""
    if hasattr(trl, name):
        return getattr(trl, name)
    from trl.experimental import kto

    return getattr(kto, name)


def loaded(model: str, kind: str) -> dict[str, Any]:
    tokenizer = AutoTokenizer.from_pretrained(model)
    chat = [{"role": "user", "content": "Name a fruit."}]
    network: Any
    ids: Any
    with torch.no_grad():
        if kind == "reward":
            network = AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.float32)
            ids = tokenizer.apply_chat_template(
                [*chat, {"role": "assistant", "content": "A pear."}], return_dict=False, return_tensors="pt"
            )
            out = network(ids).logits
        else:
            network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
            ids = tokenizer.apply_chat_template(
                chat, add_generation_prompt=True, return_dict=False, return_tensors="pt"
            )
            out = network(network.generate(ids, max_new_tokens=4, do_sample=False)).logits
    return {"class": type(network).__name__, "finite": bool(torch.isfinite(out).all())}


if __name__ == "__main__":
    print(json.dumps(main()))
