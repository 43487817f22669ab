"""A person's data, deleted on request: what names them goes, what they judged and wrote stays under a pseudonym.

deletions.py      asked for, carried out in steps, taken up again by another job when one dies
personal_data.py  the kinds of data: what each deletes, and how much of it there is
waiting.py        what it waits for
kept_data.py      what stays, counted for the preview
"""
