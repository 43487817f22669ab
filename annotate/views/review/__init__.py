"""The pages of reviewers.

review_queue.py        what waits to be decided, and what was decided
adjudication_board.py  a task on the board, to decide between its labelers' orders
judgment_pages.py      judgments, to accept or to return; reports of labelers
bulk_pages.py          judgments left out since a date, tasks given out again
"""
