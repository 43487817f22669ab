"""What Hone computes on a GPU: first whether it is right, then how fast; docs/benchmarks/gpu.md.

command.py         `python -m benchmarks gpu`: the parts, their shares of the time, the table
child_parts.py     a part in a process of its own, which is ended when its time is up
cards.py           what the makers of cards say of flops and bandwidth
inputs.py          models, a tokenizer and data, made on the spot
recipe_runs.py     a recipe for some steps: what it came to, how long its steps took
correctness.py     a device beside the CPU, greedy decoding, resuming, two processes
training_speed.py  SFT, reward training and PPO
decode_speed.py    decoding, beside transformers' `generate` and beside what the bandwidth allows
"""

import os

# Asking for cards by NVML does not touch them, and a process that has touched one must not be forked.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
