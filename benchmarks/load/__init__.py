"""Many people at work in a Hone that also trains, imports and exports: `python -m benchmarks load --folder FOLDER`.

command.py  what is done and printed
service.py  `manage.py serve --demo` as a child, its accounts, and what its database and logs say afterwards
browser.py  a session over HTTP, with the times of its requests
people.py   labelers, a manager, whoever signs in again and again, and the clock that asks /healthz
"""
