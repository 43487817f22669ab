"""The exports that trainers of TRL are given: each has the columns that its trainer takes.

A run needs an environment with TRL (docs/benchmarks/data.md).
"""

import json
import sys
from pathlib import Path

import pytest

from annotate.formats import EXPORTERS
from benchmarks import trainers

COLUMNS = {"reward": {"chosen", "rejected"}, "dpo": {"chosen", "rejected"}, "kto": {"prompt", "completion", "label"}}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trainers")
    trainers.exports(folder / "data", folder / "exports")
    return folder / "exports"


@pytest.mark.any_database
def test_every_export_has_the_columns_of_its_trainer(exported: Path) -> None:
    for trainer, (kind, formats) in trainers.FITTING.items():
        for format in formats:
            assert kind in EXPORTERS[format].kinds
            lines = (exported / f"{kind}.{format}.jsonl").read_text(encoding="utf-8").split("\n")
            rows = [json.loads(line) for line in lines if line]
            assert rows
            for row in rows:
                wanted = COLUMNS.get(trainer) or ({"messages"} if "messages" in row else {"prompt", "completion"})
                assert row.keys() >= wanted, (trainer, format)


def test_what_a_trainer_refuses_is_in_the_figures() -> None:
    found = trainers._asked(Path(sys.executable), ["load", "no such folder", "sft"])
    figures = {"steps": {}, "models": {}, "failed": []}
    trainers._keep(figures, "models", "sft", found)
    assert figures["failed"] == ["sft"]
    assert "no such folder" in figures["models"]["sft"]["error"]
