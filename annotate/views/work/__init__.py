"""The pages where labelers work.

task_pages.py  the current task, the one ahead, an earlier one
responses.py   a task rendered as a page or as a fragment
untouched_board.py  a new comparison without its template
actions.py     submit, skip, undo, report, draft, choice of a kind
chat.py        actions within a chat, and its candidates
mine.py        a labeler's earlier work
preview.py     Markdown while it is written
"""
