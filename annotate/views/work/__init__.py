"""Work: the task at hand and the one after it, what becomes of them, and what one has done before.

showing.py  how a task is shown, as a page or as a fragment
tasks.py    the pages: the next task, the one ahead, an earlier one
deeds.py    submit, skip, draft, report, undo
mine.py     what one has done before
"""
