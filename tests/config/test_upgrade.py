"""A database that an earlier version left is brought up to date, and its pages open."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EARLIER = Path(__file__).with_name("database_of_2026_11_29.sql")
"""All tables and rows of 29 November 2026: projects of every kind, runs in every state. Made by its own code."""

TABLES = {
    "annotate.Judgment": "annotate_judgment",
    "annotate.JudgmentRevision": "annotate_judgmentrevision",
    "annotate.Project": "annotate_project",
    "annotate.Prompt": "annotate_prompt",
    "annotate.Response": "annotate_response",
    "annotate.ResponseRequest": "annotate_answerrequest",
    "annotate.Task": "annotate_task",
    "annotate.User": "annotate_user",
    "rlhf.Iteration": "rlhf_iteration",
    "rlhf.ModelVersion": "rlhf_modelversion",
    "rlhf.TrainingRun": "rlhf_trainingrun",
}

PAGES = """
import json, sys, django
django.setup()
from django.apps import apps
from django.test import Client
from annotate.models import ResponseRequest, Task, User
from rlhf.models import LoopSettings, RunMetric, TrainingRun
counts = {name: apps.get_model(name).objects.count() for name in sys.argv[1:]}
client = Client()
client.force_login(User.objects.get(username="manager"))
paths = ["", "mine/", "tasks/", "prompts/", "people/", "exports/", "review/", "settings/", "guidelines/"]
paths += ["training/", "models/", "loop/", "next/"]
paths += [f"runs/{run.pk}/" for run in TrainingRun.objects.filter(project__slug="kindness")]
print(json.dumps({
    "pages": {path: client.get(f"/p/kindness/{path}").status_code for path in paths},
    "counts": counts,
    "runs": [[run.stage, run.status] for run in TrainingRun.objects.order_by("pk")],
    "requested": list(ResponseRequest.objects.order_by("pk", "responses").values_list("pk", "responses")),
    "instructions": list(Task.objects.order_by("pk").values_list("task_instructions", flat=True)),
    "loops": [[each.sampling, each.reward_config, each.ppo_config] for each in LoopSettings.objects.order_by("pk")],
    "ppo": [[run.config, run.result] for run in TrainingRun.objects.filter(stage="ppo")],
    "metrics": sorted(RunMetric.objects.filter(run__stage="ppo").values_list("name", flat=True)),
}))
"""


def schema(path: Path) -> dict[str, object]:
    """By table its columns, foreign keys, constraints and indexes; triggers. Without indexes' names, of which Django
    keeps those of a table's first name, and whatever the order of columns."""
    database = sqlite3.connect(path)
    found: dict[str, object] = {}
    parts = database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    for kind, name, _table, sql in parts:
        if kind == "table":
            columns = [row[1:] for row in database.execute(f'PRAGMA table_info("{name}")')]
            keys = [row[2:5] for row in database.execute(f'PRAGMA foreign_key_list("{name}")')]
            constraints = re.findall(r'CONSTRAINT "\w+" \w+', sql)
            indexes = [
                re.sub(r'INDEX "\w+"', "INDEX", made)
                for part, _, of, made in parts
                if part == "index" and of == name and made
            ]
            found[name] = [sorted(map(repr, each)) for each in (columns, keys, constraints, indexes)]
        elif kind == "trigger":
            found[name] = sql
    database.close()
    return found


def test_a_database_of_an_earlier_version_is_migrated_and_its_pages_open(
    tmp_path: Path, migrated_sqlite: Callable[[Path], None]
) -> None:
    with sqlite3.connect(tmp_path / "hone.sqlite3") as earlier:
        earlier.executescript(EARLIER.read_text(encoding="utf-8"))
        expected = {
            name: earlier.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for name, table in TABLES.items()
        }
        runs = earlier.execute("SELECT stage, status FROM rlhf_trainingrun ORDER BY id").fetchall()
        requested = earlier.execute(
            "SELECT answerrequest_id, response_id FROM annotate_answerrequest_responses ORDER BY 1, 2"
        ).fetchall()
        instructions = [json.loads(text) for (text,) in earlier.execute("SELECT brief FROM annotate_task ORDER BY id")]
    earlier.close()
    env = os.environ | {"HONE_DATA": str(tmp_path), "DJANGO_SETTINGS_MODULE": "config.settings"}
    env.pop("DATABASE_URL", None)

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("manage.py", "migrate", "--no-input", "--verbosity", "0")
    migrated_sqlite(tmp_path / "new")
    assert schema(tmp_path / "hone.sqlite3") == schema(tmp_path / "new" / "hone.sqlite3")
    run("manage.py", "collectstatic", "--no-input", "--verbosity", "0")
    found = json.loads(run("-c", PAGES, *TABLES).splitlines()[-1])
    assert found["counts"] == expected
    assert expected["annotate.Judgment"] == 6
    assert found["runs"] == [list(each) for each in runs]
    assert found["requested"] == [list(each) for each in requested]
    assert len(requested) == 4
    assert found["instructions"] == instructions
    assert {"instructions"} in [set(each) for each in instructions]
    assert found["loops"] == [
        [
            {"temperature": 0.7},
            {"warmup_ratio": 0.1, "load_best_at_end": True, "duplicate_judgments": "majority"},
            {"max_tokens_per_forward": 4096, "max_kl": 20.0},
        ]
    ]
    settings = {"max_kl": 20.0, "max_tokens_per_forward": 4096, "judge_retries": 2}
    result = {"score": 1.2, "kl_loss": 0.25, "stopped_by": "max_kl", "best_step": 10}
    assert found["ppo"] == [[settings, result]]
    assert found["metrics"] == ["kl_loss"]
    assert {path: status for path, status in found["pages"].items() if status != 200} == {}
