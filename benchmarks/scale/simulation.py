"""A discrete-event simulation: processes that wait for time and for resources.

A process is a generator. It yields a number of seconds to wait for, or a Resource to wait for a unit of; it gives the
unit back by `release`. Units are handed out in the order in which they were asked for.
"""

import heapq
from collections import deque
from collections.abc import Generator
from itertools import count

Process = Generator["float | Resource", None, None]


class Resource:
    """Cores, threads, connections: `capacity` units."""

    def __init__(self, simulation: "Simulation", name: str, capacity: int) -> None:
        self.simulation, self.name, self.capacity = simulation, name, capacity
        self.in_use = 0
        self.waiting: deque[Process] = deque()
        self._busy_seconds, self._since = 0.0, 0.0
        simulation.resources.append(self)

    def release(self) -> None:
        if self.waiting:
            self.simulation.resume(self.waiting.popleft())
        else:
            self._change(-1)

    def take(self, process: Process) -> bool:
        """False: the process waits, and goes on with its unit when it gets one."""
        if self.in_use < self.capacity:
            self._change(1)
            return True
        self.waiting.append(process)
        return False

    def start_counting(self) -> None:
        self._busy_seconds, self._since = 0.0, self.simulation.now
        self._counted_from = self.simulation.now

    @property
    def utilisation(self) -> float:
        """The mean part of the units in use since `start_counting`."""
        self._change(0)
        return self._busy_seconds / self.capacity / (self.simulation.now - self._counted_from)

    _counted_from = 0.0

    def _change(self, units: int) -> None:
        now = self.simulation.now
        self._busy_seconds += self.in_use * (now - self._since)
        self._since = now
        self.in_use += units


class Simulation:
    def __init__(self) -> None:
        self.now = 0.0
        self.resources: list[Resource] = []
        self._events: list[tuple[float, int, Process]] = []
        self._numbers = count()

    def start(self, process: Process, at: float = 0.0) -> None:
        heapq.heappush(self._events, (at, next(self._numbers), process))

    def resume(self, process: Process) -> None:
        """Go on at this moment, after what is due at it already."""
        self.start(process, self.now)

    def run(self, until: float) -> None:
        events = self._events
        while events and events[0][0] <= until:
            self.now, _number, process = heapq.heappop(events)
            self._step(process)
        self.now = until

    def _step(self, process: Process) -> None:
        for wanted in process:
            if isinstance(wanted, Resource):
                if not wanted.take(process):
                    return
            else:
                heapq.heappush(self._events, (self.now + wanted, next(self._numbers), process))
                return
