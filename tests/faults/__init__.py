"""A Hone under load whose parts are killed, stopped and starved, and what has to hold afterwards: `make faults`.

__main__.py   `python -m tests.faults --faults N`: what is done and printed
site.py       `manage.py serve` on a disk of its own, with its processes by name
database.py   a PostgreSQL server in a network namespace, which can be killed and cut off
kinds.py      the kinds of faults
work.py       what people ask for meanwhile: labelers, exports, training runs
promises.py   what is counted at the end
"""
