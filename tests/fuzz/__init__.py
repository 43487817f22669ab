"""Hostile texts, files and requests without end, thrown at everything that promises to be bounded and to lose nothing.

`python -m tests.fuzz --minutes 10`, or `make fuzz MINUTES=10`. Each case is made from a number, so that what it finds
comes again with `--part NAME --seed NUMBER --cases 1`. A part is a module with cases of one subject: texts, files, rows
through a project and back, tokens, and requests to a server that runs.
"""
