"""What benchmarks of PPO share: a gold reward that stands for people, and reward models that learn it from labels.

golds.py    what is liked: positivity, or a hidden reward model trained on people's preferences
prompts.py  three lots of prompts that share none: the reward model's, the policy's, those that are measured on
proxies.py  responses, their labels by the gold reward, and what a reward model learns of them
stages.py   the commands of models_core that all this is made with, none of them run twice
"""
