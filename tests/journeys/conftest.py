"""The people on the journeys, and the journeys on which the test does what workers would."""

from typing import Any

import pytest

from rlhf.runs import runs
from tests.factories.cast import cast

__all__ = ["cast"]


@pytest.fixture
def without_workers(transactional_db: None, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Runs are queued with the tiny base model, and nobody hears of them."""
    settings.HONE_BASE_MODEL = "tiny"
    monkeypatch.setattr(runs, "send", lambda task, *arguments, queue="default": None)
