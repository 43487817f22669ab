"""TRL's side of `python -m benchmarks ppo_vs_peer`; runs in an environment that has TRL 1.12 and nothing of Hone.

trl_ppo.py MODEL REWARD PROMPTS OUT --episodes N ...: the last PPOTrainer there was, with four networks in bf16: policy,
reference, reward model and the value model that starts from it. Saves the policy in OUT and says the seconds of
training, and what the trainer logged last, on its last line.
"""

import argparse
import json
import os
import tempfile
import time
from typing import Any

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl.experimental.ppo import PPOConfig, PPOTrainer

parser = argparse.ArgumentParser()
for name in ("model", "reward", "prompts", "out"):
    parser.add_argument(name)
parser.add_argument("--episodes", type=int, required=True)
parser.add_argument("--batch", type=int, required=True)
parser.add_argument("--new-tokens", type=int, required=True)
parser.add_argument("--kl-coef", type=float, required=True)
parser.add_argument("--at-once", type=int, default=8, help="episodes of one forward and backward pass")
parser.add_argument("--temperature", type=float, default=1.0)
parser.add_argument("--rate", type=float, default=3e-6)
parser.add_argument("--checkpointing", action="store_true", help="less memory, as the trainer does unless told not to")
options = parser.parse_args()

tokenizer = AutoTokenizer.from_pretrained(options.model, padding_side="left")
with open(options.prompts, encoding="utf-8") as file:
    chats = [json.loads(line)["prompt"] for line in file]
texts = [tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in chats]
rows = Dataset.from_list([{"input_ids": tokenizer(text, add_special_tokens=False).input_ids} for text in texts])


def language_model() -> Any:
    return AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.bfloat16)


def reward_model() -> Any:
    model = AutoModelForSequenceClassification.from_pretrained(options.reward, num_labels=1, dtype=torch.bfloat16)
    model.config.pad_token_id = tokenizer.pad_token_id
    return model


with tempfile.TemporaryDirectory() as folder:
    trainer = PPOTrainer(
        args=PPOConfig(
            folder,
            total_episodes=options.episodes,
            per_device_train_batch_size=min(options.at_once, options.batch),
            gradient_accumulation_steps=max(options.batch // options.at_once, 1),
            num_ppo_epochs=1,
            num_mini_batches=1,
            response_length=options.new_tokens,
            temperature=options.temperature,
            stop_token="eos",
            missing_eos_penalty=1.0,
            kl_coef=options.kl_coef,
            learning_rate=options.rate,
            local_rollout_forward_batch_size=options.batch,
            num_sample_generations=0,
            gradient_checkpointing=options.checkpointing,
            bf16=True,
            use_cpu=not torch.cuda.is_available(),
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
        processing_class=tokenizer,
        model=language_model(),
        ref_model=language_model(),
        reward_model=reward_model(),
        value_model=reward_model(),
        train_dataset=rows,
        eval_dataset=rows.select(range(min(2, len(rows)))),
    )
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
trainer.model.policy.save_pretrained(options.out)
tokenizer.save_pretrained(options.out)
last = trainer.state.log_history[-1]
figures = {name: last.get(f"objective/{name}") for name in ("kl", "scores", "rlhf_reward")}
print(json.dumps({"seconds": seconds, **figures}))
