"""Preference judgments as training data of reward models and DPO.

rows of a file -> comparisons (which response is better than which, with weights) -> examples (tokens)
"""
