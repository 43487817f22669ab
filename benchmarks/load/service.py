"""`manage.py serve --demo` as a child, its accounts, and what its database and logs say afterwards."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
UP_SECONDS = 300.0
PASSWORD = "a quiet password for the load"
TROUBLE = re.compile(r"Traceback|database is locked|OperationalError| ERROR | CRITICAL |HTTP/1.1 5\d\d")
REFUSAL = re.compile(r"hone\.access: .* (5\d\d) \d+ ms")


class Service:
    """Everything that `manage.py serve --demo` runs, with its data in `folder`."""

    def __init__(self, folder: Path, port: int, model: str, *, environment: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.said = folder, folder / "said.log"
        own = {"HONE_DATA": str(folder), "HONE_PORT": str(port)} | ({"HONE_BASE_MODEL": model} if model else {})
        os.environ.update(own)  # for this process's own look at the database, too
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        self.starts = 0
        self.said.write_bytes(b"")
        self.start(environment)

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start it, for the first time or after it has ended; with further variables of its environment."""
        self.starts += 1
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "serve", "--demo"],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={**os.environ, **(environment or {})},
            )

    def await_up(self) -> None:
        until = time.monotonic() + UP_SECONDS
        while self.said.read_text().count("Hone is up") < self.starts:
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"Hone didn't come up: {self.said.read_text()[-2000:]}")
            time.sleep(0.2)

    def web_processes(self) -> list[int]:
        """gunicorn's workers."""
        web = [child for child in children(self.process.pid) if "gunicorn" in _command(child)]
        return [worker for master in web for worker in children(master)]

    def processor_seconds(self) -> float:
        """What the web processes that run now have used of the processor."""
        return processor_seconds(self.web_processes())

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)

    def trouble(self) -> list[str]:
        """Lines of all programs' logs that no log should have."""
        found = []
        for log in sorted(self.folder.glob("logs/*")):
            lines = log.read_text(errors="replace").split("\n")
            found += [f"{log.name}: {line[:300]}" for line in lines if TROUBLE.search(line) or REFUSAL.search(line)]
        return found


def make_people(labelers: int) -> tuple[str, list[str]]:
    """A manager and labelers of the demo project, all with PASSWORD; their names."""
    import django

    django.setup()
    from django.contrib.auth.hashers import make_password

    from annotate.models import Membership, Project, User

    project, encoded, names = Project.objects.get(slug="demo"), make_password(PASSWORD), []
    roles = [Membership.Role.MANAGER] + [Membership.Role.LABELER] * labelers
    for number, role in enumerate(roles):
        user, _ = User.objects.update_or_create(username=f"load{number}", defaults={"password": encoded})
        Membership.objects.get_or_create(user=user, project=project, role=role)
        names.append(user.username)
    return names[0], names[1:]


def fill(*, prompts: int, judgments: int) -> None:
    """So many prompts of the demo project, each with two responses to compare, some with a judgment, at once.

    Unless they are there from an earlier load in the same folder.
    """
    from annotate.models import Project, User
    from tests.factories import volume

    project = Project.objects.get(slug="demo")
    if project.prompts.count() >= prompts:
        return
    volume.add_judgments(project, User.objects.get(username="labeler1"), judgments)
    for start in range(judgments, prompts, volume.BATCH):
        volume.add_comparisons(project, range(start, min(start + volume.BATCH, prompts)))


def differences(acknowledged: Iterable[str]) -> dict[str, int]:
    """Counts of what must not be, all 0 where the promises hold."""
    from django.db.models import Count, F, Q

    from annotate.models import Assignment, JudgmentRevision, Task

    sent = Counter(acknowledged)
    kept = Counter(str(client_id) for client_id in JudgmentRevision.objects.values_list("client_id", flat=True))
    counted = Count("judgments", filter=Q(judgments__surplus=False, judgments__latest__isnull=False), distinct=True)
    leased = Count("assignments", filter=Q(assignments__state__in=Assignment.HELD), distinct=True)
    tasks = Task.objects.annotate(counted=counted, leased=leased).filter(Q(counted__gt=0) | Q(leased__gt=0))
    return {
        "acknowledged judgments without a row": sum(1 for client_id in sent if kept[client_id] == 0),
        "acknowledged judgments with two rows": sum(1 for client_id in sent if kept[client_id] > 1),
        "tasks given to more labelers than they want": tasks.filter(
            judgments_wanted__lt=F("counted") + F("leased")
        ).count(),
        "tasks whose count of judgments is wrong": tasks.exclude(judgments_given=F("counted")).count(),
    }


def children(process: int) -> list[int]:
    """The processes that this one started and that run now."""
    return [
        int(child) for tasks in Path(f"/proc/{process}/task").glob("*/children") for child in tasks.read_text().split()
    ]


def processor_seconds(processes: Iterable[int]) -> float:
    """What these processes have used of the processor."""
    return sum(map(_processor_seconds, processes))


def family_seconds(process: int) -> float:
    """What all children of this process have used of the processor, those that have ended among them."""
    return processor_seconds(children(process)) + _stat_seconds(process, 13)


def _command(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def _processor_seconds(process: int) -> float:
    return _stat_seconds(process, 11)


def _stat_seconds(process: int, field: int) -> float:
    """Of a process's state (proc_pid_stat) the time of programs and of the system that begins at this field."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[field]) + int(fields[field + 1])) / os.sysconf("SC_CLK_TCK")
