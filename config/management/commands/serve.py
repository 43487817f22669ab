"""`manage.py serve`: everything Hone needs, on this machine, until Ctrl-C."""

import socket
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from config.data_folder.data_lock import AlreadyRunning, data_lock
from config.serving.broker import BrokerError
from config.serving.programs import all_programs, listening_address
from config.serving.supervisor import NotStarted, Supervisor


class Command(BaseCommand):
    help = "Runs web, workers, scheduler and the embedded broker under one supervisor, until Ctrl-C."
    # The checks include one for unapplied migrations, which are applied below.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--demo", action="store_true", help="make the demo project first, unless it is there")
        parser.add_argument("--without", action="append", default=[], metavar="PROGRAM", help="leave one out: web, say")

    def handle(self, *, demo: bool, without: list[str], **options: Any) -> None:
        address = "http://{}:{}".format(*listening_address())
        try:
            with data_lock(settings.HONE_DATA, owner=address):
                self._serve(address=address, demo=demo, without=without)
        except AlreadyRunning as other:
            raise CommandError(f"Hone is already running with this data folder ({other.owner}).") from None
        except (BrokerError, NotStarted) as error:
            raise CommandError(f"Hone can't start: {error}") from None
        except KeyboardInterrupt:
            self._say("Stopped before it was up.")

    def _serve(self, *, address: str, demo: bool, without: list[str]) -> None:
        if "web" not in without:
            refuse_taken_port()
        self._say("Preparing the database ...")
        call_command("prepare")
        if demo:
            call_command("create_demo", stdout=self.stdout, stderr=self.stderr)
        programs = all_programs()
        if unknown := set(without) - {program.name for program in programs}:
            raise CommandError(f"There is no program {', '.join(sorted(unknown))}; there are "
                               f"{', '.join(program.name for program in programs)}.")  # fmt: skip
        programs = [program for program in programs if program.name not in without]

        def on_ready() -> None:
            self._say(f"Hone is up: {address}    (Ctrl-C stops it; logs: {settings.HONE_DATA / 'logs'})")

        Supervisor(programs, say=self._say).run(on_ready=on_ready)
        self._say("Stopped. Everything is kept; start again to go on.")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def refuse_taken_port() -> None:
    """Refuse a port in use at once: otherwise the web process would fail repeatedly."""
    host = settings.HONE_HOST.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, settings.HONE_PORT))
        except OSError as error:
            raise CommandError(
                f"Hone can't listen on {settings.HONE_HOST}:{settings.HONE_PORT} ({error.strerror}); "
                "set HONE_PORT to a free port."
            ) from None
