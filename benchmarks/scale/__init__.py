"""`python -m benchmarks scale`: Hone with many labelers and tasks, simulated with measured service times.

service_times.py  the figures, each with its source       simulation.py  processes that wait for time and resources
workload.py       who works when, and what they ask for   site.py        web hosts and database, a request's way
scenarios.py      the sweep over labelers                 validation.py  the simulation beside measured points
capacity.py       what needs no simulation: bytes, money  storage.py     what a task takes, measured (`--measure`)
command.py        the command                             plots.py       the charts
"""
