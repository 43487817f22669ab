"""Chats that a labeler continues turn by turn, with live responses of a model to choose from.

turns.py           the chat so far, and the labeler's actions
live_responses.py  requests for responses, and their status
results.py         demonstrations and comparisons of a finished chat
"""
