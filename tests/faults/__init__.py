"""A Hone under load whose parts are killed, stopped and starved, and what has to hold afterwards: `make faults`.

__main__.py   `python -m tests.faults --faults N`: what is done and printed
site.py       `manage.py serve` on a disk of its own, with its processes by name
database.py   a PostgreSQL server, which can be killed, and one in a network namespace, which can be cut off
network.py    hosts on a bridge, each in namespaces of its own
two_hosts.py  `python -m tests.faults.two_hosts`: two worker hosts, one of which fails
kinds.py      the kinds of faults
work.py       what people ask for meanwhile: labelers, exports, training runs
promises.py   what is counted at the end
"""
