"""Gao, Schulman and Hilton 2022 (2210.10760) in small: how far one can optimise against a reward model.

command.py  the experiment: golds, proxies of several sizes, PPO at several KL coefficients
curves.py   what a run's responses came to on the way, and the law that the paper fits to it
plots.py    pictures of gold and proxy against the square root of the divergence
"""
