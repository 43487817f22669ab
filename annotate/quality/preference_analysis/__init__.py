"""What people prefer, by who wrote the response, its length and its place on the board, and what noise allows.

win_counts.py      what the judgments of one task say, as counts that annotate.quality.measures adds up. Pure
counted_authors.py the models of a project that are counted by name: a bounded number of them
noise_ceiling.py   how often two people differ, and what accuracy that leaves to any model. Pure
win_tables.py      the tables of the page, with intervals
"""
