"""Versions tried side by side in a chat: turns, replies from the live worker, and preferences that become judgments.

chats.py           what a person does: begin, ask, stop, prefer
live_replies.py    what the live worker does with a reply's run
"""
