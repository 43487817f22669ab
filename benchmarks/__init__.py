"""Measurements of this machine: `make bench`.

engine.py         tokens, rankings and episodes a second of the recipes, on the base model
kernels.py        what each compiled kernel buys, in pairs
rollouts.py       sampling beside transformers' generate: tokens a second, memory
pretraining.py    a pretrained model beside a unigram and a Kneser-Ney model (ngrams.py)
labeling_queue.py what a submit with the next task costs over HTTP, at many labelers
win_rate.py       what people would gain by a run of PPO, and overoptimization/ what too much of it loses: gold_reward/
ppo_vs_peer.py    PPO beside TRL's, episodes a second and memory
results.py        a file of results that grows by a line for each
children.py       the processes that commands are measured in
"""
