"""The whole loop without a browser: `manage.py demo` (also `make demo`).

selection.py   which prompts of a file take part, and which are held out of everything
services.py    the workers and the broker of a data folder, while the demo runs
closed_loop.py the rounds: simulated labelers judge, the loop trains and samples, held-out prompts measure
"""
