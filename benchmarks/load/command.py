"""What a load consists of, when its parts begin, and what is printed at the end."""

import argparse
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import quantiles

from benchmarks.load import people, service
from benchmarks.load.browser import Browser, Times

RESPONSE = """Put the eggs in **cold water**, bring it to the boil, then:

1. take the pot off the heat
2. wait {minutes} minutes
3. cool them in `ice water`; response {number} of question {row}
"""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks load", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="the data folder of the Hone that is started")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--model", default="", help="folder of the base model; that of the default settings without it")
    parser.add_argument("--prompts", type=int, default=100_000, help="there when the labelers come")
    parser.add_argument("--judgments", type=int, default=12_000, help="of these with a judgment, to train on")
    parser.add_argument("--labelers", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--quiet", action="store_true", help="labelers alone: no training, export, import or overlap")
    parser.add_argument(
        "--scripted", action="store_true", help="labelers whose pages save drafts and fetch the next task"
    )
    parser.add_argument("--think", type=float, default=2.0, help="seconds for a task, more or less by half")
    parser.add_argument("--more-prompts", type=int, default=20_000, help="imported while the labelers work")
    parser.add_argument("--sign-ins", type=int, default=0, help="people who sign in again and again")
    parser.add_argument("--stop-web", action="store_true", help="SIGSTOP a web process in the middle")
    chosen = parser.parse_args(arguments)
    hone = service.Service(chosen.folder, chosen.port, chosen.model)
    try:
        hone.await_up()
        return _load(hone, chosen)
    finally:
        hone.stop()


def _load(hone: service.Service, chosen: argparse.Namespace) -> int:
    manager_name, names = service.make_people(chosen.labelers)
    service.fill(prompts=chosen.prompts, judgments=chosen.judgments)
    times = Times()
    manager = Browser(chosen.port, times, number=0)
    people.succeeded(manager.sign_in(manager_name, service.PASSWORD), what="The manager's sign-in")
    over = threading.Event()
    labelers = [
        (people.ScriptedLabeler if chosen.scripted else people.Labeler)(
            name=name,
            password=service.PASSWORD,
            browser=Browser(chosen.port, times, number=number + 1),
            number=number,
            think_seconds=(chosen.think / 2, chosen.think * 1.5),
        )
        for number, name in enumerate(names[: chosen.labelers])
    ]
    parts: list[Callable[[], None]] = [lambda labeler=labeler: labeler.work(over) for labeler in labelers]  # type: ignore[misc]
    parts.append(lambda: people.ask_again_and_again(Browser(chosen.port, times, number=200), over))
    if not chosen.quiet:
        parts.append(lambda: people.look_round(manager, over))
    for number in range(chosen.sign_ins):
        # Names that nobody works under: a sign-in of theirs would end no session, but the rows are the same.
        browser = Browser(chosen.port, times, number=300 + number)
        parts.append(
            lambda browser=browser: people.sign_in_again_and_again(  # type: ignore[misc]
                browser, manager_name, service.PASSWORD, over
            )
        )
    threads = [threading.Thread(target=part, daemon=True) for part in parts]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    cost = _Cost(hone, times)
    threading.Timer(chosen.labelers * people.SIGN_IN_GAP + 5, lambda: cost.begin(labelers)).start()
    for at, action in _actions(hone, chosen, times, manager_name):
        if at < chosen.minutes * 60:
            time.sleep(max(0.0, began + at - time.monotonic()))
            threading.Thread(target=action, daemon=True).start()
    time.sleep(max(0.0, began + chosen.minutes * 60 - time.monotonic()))
    cost.end(labelers)
    over.set()
    for thread in threads:
        thread.join(90)
    return _report(hone, times, labelers, cost)


class _Cost:
    """What the web processes use of the processor for a submit, and for all else that they do meanwhile.

    Counted once everybody has signed in, since hashing a password takes as long as many submits; so are the times.
    """

    def __init__(self, hone: service.Service, times: Times) -> None:
        self.hone, self.times = hone, times
        self.sentence = "too short to count what a submit costs"
        self._used, self._submits, self._began = 0.0, 0, 0.0

    def begin(self, labelers: list[people.Labeler]) -> None:
        self.times.forget()
        self._used, self._submits, self._began = self.hone.processor_seconds(), _submits(labelers), time.monotonic()

    def end(self, labelers: list[people.Labeler]) -> None:
        seconds, all_kinds = time.monotonic() - self._began, self.times.together()
        used, submits = self.hone.processor_seconds() - self._used, _submits(labelers) - self._submits
        if self._used and submits:
            cuts = quantiles(all_kinds, n=20, method="inclusive")
            self.sentence = (
                f"web processes used {1000 * used / submits:.1f} ms of processor for each of {submits}; "
                f"{len(all_kinds) / seconds:.1f} requests a second, half of them within {1000 * cuts[9]:.0f} ms and "
                f"95% within {1000 * cuts[18]:.0f} ms"
            )


def _submits(labelers: list[people.Labeler]) -> int:
    return sum(len(labeler.acknowledged) for labeler in labelers)


def _actions(
    hone: service.Service, chosen: argparse.Namespace, times: Times, manager_name: str
) -> Iterator[tuple[float, Callable[[], None]]]:
    """(seconds after the beginning, what is done then), beside the labelers."""
    length = chosen.minutes * 60
    if not chosen.quiet:
        boss = Browser(chosen.port, times, number=1000)
        boss.sign_in(manager_name, service.PASSWORD)
        yield 0.1 * length, lambda: _train(boss)
        yield 0.2 * length, lambda: _export(boss)
        yield 0.3 * length, lambda: _set_overlap(boss, 3)
        rows = _rows(chosen.more_prompts)
        yield 0.4 * length, lambda: _import(boss, rows)
    if chosen.stop_web:
        yield 0.5 * length, lambda: _stop_web(hone)


def _rows(count: int) -> bytes:
    """A file of prompts, two in three with responses to compare."""
    lines = []
    for row in range(count):
        content: dict[str, object] = {"prompt": [{"role": "user", "content": f"How do I boil egg number {row}?"}]}
        if row % 3:
            responses = [RESPONSE.format(number=number, row=row, minutes=4 + number) for number in range(2)]
            content["responses"] = [{"text": text, "model": "ab"[number]} for number, text in enumerate(responses)]
        lines.append(json.dumps(content))
    return "\n".join(lines).encode()


def _import(browser: Browser, rows: bytes) -> None:
    began = time.monotonic()
    reply = browser.upload("/p/demo/prompts/import", "more.jsonl", rows, {"format": "auto"}, "import")
    print(f"Import: status {reply.status} after {time.monotonic() - began:.0f} s", flush=True)


def _train(browser: Browser) -> None:
    """A reward model on all judgments, by the page's form as it is filled in."""
    from rlhf.forms.stage_settings import SettingsForm

    form = SettingsForm(stage="reward")
    fields = {name: str(value) for name, value in form.initial.items() if value is not False}
    reply = browser.post("/p/demo/training/new/reward", fields | {"seeds": "1"}, "start of a training run")
    print(f"Reward model: status {reply.status}", flush=True)


def _export(browser: Browser) -> None:
    fields = {"kind": "rankings", "format": "hone", "tie_policy": "keep", "splits": "train"}
    print(f"Export: status {browser.post('/p/demo/exports/', fields, 'start of an export').status}", flush=True)


def _set_overlap(browser: Browser, overlap: int) -> None:
    from annotate.forms.project import ProjectForm
    from annotate.models import Project

    form = ProjectForm.of(Project.objects.get(slug="demo"))
    fields = {bound.html_name: str(bound.value() or "") for bound in form if bound.value() is not False}
    reply = browser.post("/p/demo/settings/", fields | {"overlap": str(overlap)}, "change of the overlap")
    print(f"Overlap: status {reply.status}", flush=True)


def _stop_web(hone: service.Service) -> None:
    stopped = hone.web_processes()[0]
    print(f"SIGSTOP of the web process {stopped}", flush=True)
    os.kill(stopped, signal.SIGSTOP)


def _report(hone: service.Service, times: Times, labelers: list[people.Labeler], cost: "_Cost") -> int:
    """Print the figures; 1 where something isn't as promised."""
    acknowledged = [client_id for labeler in labelers for client_id in labeler.acknowledged]
    refused = [sentence for labeler in labelers for sentence in labeler.refused]
    wrong = service.differences(acknowledged)
    trouble = hone.trouble()
    print("\n".join(times.table()))
    print(f"{len(acknowledged)} acknowledged judgments; {cost.sentence}")
    print("\n".join(f"{what}: {count}" for what, count in wrong.items()))
    print("\n".join([f"{len(refused)} submits refused", *refused[:5]]))
    print("\n".join([f"{len(trouble)} lines of trouble in the logs", *trouble[:20]]))
    print(f"What the supervisor said: {hone.said.read_text()[-800:]}")
    return 1 if any(wrong.values()) or trouble or refused else 0
