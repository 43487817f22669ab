"""E-mail and signed webhooks on the ends of runs and rounds.

events.py          what happened in a project since
deliveries.py      the queue: collected, sent, sent again, replayed
webhook_client.py  one signed POST, to public addresses alone
"""
