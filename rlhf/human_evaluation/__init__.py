"""Versions compared head to head by people: evaluations, win rates, a test that may be looked at any time, ratings.

comparisons.py       what a judgment says of every two versions
sequential_test.py   the stopping rule: an always-valid test and confidence sequence of a win rate
win_rates.py         win rates with their intervals, by pair and by kind of prompt
bradley_terry.py     Bradley-Terry ratings, with a control for length
evaluations.py       the life of an evaluation: start, advance, cancel
evaluation_page.py   the figures as pages show them: names, sentences, drawings, tables
figures.py           what pages show of an evaluation, as a job computes it
leaderboard.py       ratings of all versions of a project, and the line over rounds
"""
