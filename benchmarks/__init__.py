"""Measurements of this machine: `make bench`.

engine.py         tokens, rankings and episodes a second of the recipes, on the base model
rollouts.py       sampling beside transformers' generate: tokens a second, memory
pretraining.py    a pretrained model beside a unigram and a Kneser-Ney model (ngrams.py)
labeling_queue.py milliseconds that a labeler waits for the next task
children.py       the processes that commands are measured in
"""
