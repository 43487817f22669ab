"""AI feedback: comparisons judged by a chat model behind OpenAI's protocol, within a budget.

judge_chats.py    the chats that ask for verdicts, critiques and revisions, and what their replies say
spending.py       requests, tokens and cost against the budget; the rate limit
judge_server.py   the server that is asked
rankings.py       verdicts of pairs as tiers of responses
"""
