"""Who works when: labelers of three time zones over a day, and what each asks of the site at the busiest hour."""

import random

from benchmarks.scale.service_times import AHEAD_PART, DRAFT_PART, PAGE_DATABASE_MS, PAGE_MS, SUBMIT_PART, of_requests
from benchmarks.scale.simulation import Process
from benchmarks.scale.site import Site, WebProcess

# Assumed.
THINK = (20.0, 120.0)
"""Seconds a task is looked at, evenly spread."""
ZONES = ((8, 0.5), (0, 0.25), (-5, 0.25))
"""Hours east of UTC, and the part of labelers there."""
SESSIONS = ((9.0, 12.0), (13.0, 17.0))
"""Hours of the local day, begun and ended up to an hour later or earlier."""
STEP_MINUTES = 10

MEAN_THINK = sum(THINK) / 2
PARTS = {"submit": SUBMIT_PART, "ahead": AHEAD_PART, "draft": DRAFT_PART}


def day(people: int = 4000, seed: int = 1) -> list[float]:
    """The part of labelers who work, for each ten minutes of a day in UTC."""
    chance = random.Random(seed)
    steps = 24 * 60 // STEP_MINUTES
    working = [0] * steps
    for _person in range(people):
        zone = chance.choices([hours for hours, _part in ZONES], [part for _hours, part in ZONES])[0]
        shift = chance.uniform(-1.0, 1.0) - zone
        for begin, end in SESSIONS:
            for step in range(round((begin + shift) * 60 / STEP_MINUTES), round((end + shift) * 60 / STEP_MINUTES)):
                working[step % steps] += 1
    return [number / people for number in working]


def judgments_per_day() -> float:
    """Of one labeler, were no reply ever waited for."""
    return sum(end - begin for begin, end in SESSIONS) * 3600 / MEAN_THINK


def labeler(site: Site, web: WebProcess, times: list[float], chance: random.Random) -> Process:
    """Thinks, saves drafts, submits, and meanwhile the browser fetches the task ahead. times: seconds of submits."""
    drafts = site.assumed.drafts
    yield chance.uniform(0.0, MEAN_THINK)
    while True:
        think = chance.uniform(*THINK) / (drafts + 1)
        yield from ask(site, web, "ahead")
        for _draft in range(drafts):
            yield think
            yield from ask(site, web, "draft")
        yield think
        began = site.simulation.now
        yield from ask(site, web, "submit")
        times.append(site.simulation.now - began)


def ask(site: Site, web: WebProcess, what: str) -> Process:
    """One of the requests of a judgment; all of them write: the task ahead is claimed."""
    part = PARTS[what]
    web_ms, database_ms = of_requests(site.costs, part)
    return site.request(web, web_ms, database_ms, is_write=True, part=part)


def manager(site: Site, web: WebProcess, chance: random.Random) -> Process:
    # Pages were measured on the slow machine.
    pace = site.costs.web / 26.9
    while True:
        yield chance.expovariate(1 / site.assumed.seconds_between_pages)
        yield from site.request(web, PAGE_MS * pace, PAGE_DATABASE_MS * pace, is_write=False)


def job(site: Site, load: float, batch_ms: float, chance: random.Random) -> Process:
    """Background work as batches at random moments that keep `load` cores of the database busy on average."""
    while True:
        yield chance.expovariate(1000 * load / batch_ms)
        yield from site.database.work(batch_ms / 1000)
