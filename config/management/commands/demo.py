"""`manage.py demo`: the whole loop on this machine, without a browser, in a data folder of its own."""

import json
import os
import shutil
import signal
import sys
import time
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from annotate import demo
from annotate.demo.demo_project import create
from annotate.errors import Refused
from annotate.models import Project
from config.data_folder.data_lock import AlreadyRunning, data_lock
from config.serving import demo_services
from models_core.contract import catalogue
from models_core.contract.errors import BadInput
from rlhf.demo import closed_loop, selection
from rlhf.demo.recipes import FULL, QUICK, Recipe

MODEL_STORE = "models"
"""The store of base models: linked, so that the demo doesn't fetch one again."""
SERVER_VARIABLES = ("DATABASE_URL", "DATABASE_URL_FILE", "REDIS_URL", "REDIS_URL_FILE")
"""Servers with real data, which the demo leaves alone."""


class Command(BaseCommand):
    help = (
        "Closes the loop without a browser: samples responses, lets simulated labelers judge them, trains a reward "
        "model and a policy, samples again; two rounds. Works in HONE_DATA/demo, which it empties first. The last "
        "line is one JSON object."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--prompts",
            type=Path,
            default=demo.PROMPTS,
            metavar="FILE",
            help="other prompts; the English ones are used",
        )
        parser.add_argument(
            "--limit", type=int, metavar="N", help=f"use at most N prompts ({FULL.prompts}; quick: {QUICK.prompts})"
        )
        parser.add_argument(
            "--quick", action="store_true", help="a small demo of a few minutes, too small for sure numbers"
        )
        parser.add_argument("--here", action="store_true", help="work in HONE_DATA itself, which must hold no project")

    def handle(self, *, prompts: Path, limit: int | None, quick: bool, here: bool, **options: Any) -> None:
        recipe = QUICK if quick else FULL
        try:
            chosen = selection.choose(
                prompts, most=recipe.prompts if limit is None else limit, held_out=recipe.held_out
            )
        except Refused as error:
            raise CommandError(str(error)) from None
        if not here:
            start_in(settings.HONE_DATA / "demo")
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            self._close_loop(chosen, recipe)
        except (Refused, BadInput, demo_services.ServicesFailed) as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError("Stopped before the end.") from None

    def _close_loop(self, chosen: selection.Selection, recipe: Recipe) -> None:
        began = time.monotonic()
        call_command("migrate", interactive=False, verbosity=0)
        if Project.objects.exists():
            raise Refused(f"{settings.HONE_DATA} holds projects already; the demo wants an empty data folder.")
        self._say(chosen.summary)
        if settings.HONE_BASE_MODEL in catalogue.MODELS:
            catalogue.resolve(settings.HONE_BASE_MODEL, store=settings.HONE_DATA / MODEL_STORE)
        imported = settings.HONE_DATA / "prompts.jsonl"
        closed_loop.prompts.write(chosen.taking_part, imported)
        project = create(prompts=imported, responses=None).project
        with demo_services.running():
            rounds = closed_loop.run(project=project, selection=chosen, recipe=recipe, say=self._say)
        self._say("")
        for line in closed_loop.table(rounds):
            self._say(line)
        seconds = round(time.monotonic() - began, 1)
        self._say(json.dumps({"rounds": [asdict(each) for each in rounds], "seconds": seconds}))

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def start_in(data: Path) -> NoReturn:
    """Empty the demo's folder and become the same command with it as HONE_DATA, without any server of the real data."""
    data.mkdir(exist_ok=True)
    try:
        with data_lock(data, owner="the demo"):
            for entry in data.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
    except AlreadyRunning:
        raise CommandError(f"A demo is running already in {data}.") from None
    models = settings.HONE_DATA / MODEL_STORE
    models.mkdir(exist_ok=True)
    (data / MODEL_STORE).symlink_to(models)
    environment = {name: value for name, value in os.environ.items() if name not in SERVER_VARIABLES} | {
        "HONE_DATA": str(data)
    }
    os.execve(sys.executable, [sys.executable, *sys.argv, "--here"], environment)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """A polite end, as after Ctrl-C: the services are stopped on the way out."""
    raise KeyboardInterrupt
