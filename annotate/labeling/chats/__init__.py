"""Chats that a labeler continues turn by turn, with live answers of a model to choose from.

turns.py     the chat so far, and what the labeler does with it
answers.py   answers asked for, and who might give them
results.py   what a finished chat becomes: demonstrations and comparisons
"""
