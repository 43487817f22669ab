"""Messages that a job stored by their code, read in the language of whoever opens the page."""

import ast
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import translation

from annotate.data import stored_messages
from annotate.data.stored_messages import StoredMessage, refusal, text
from annotate.errors import Refused
from rlhf.loop.rounds import gates
from rlhf.runs import failures


def in_chinese(stored: Any) -> str:
    with translation.override("zh-hans"):
        return text(stored)


@pytest.mark.parametrize(
    ("message", "read"),
    [
        (StoredMessage("gate_kl", {"value": "12.5", "bound": "10"}), "策略的 KL 散度为 12.5，高于关卡值 10。"),
        (failures.of_exception(OSError("no such disk")), "无法读取或写入文件：no such disk。"),
        # Values that look like placeholders or like markup stay what they are.
        (failures.of_exception(OSError("%(error)s <b>")), "无法读取或写入文件：%(error)s <b>。"),
        # A value that is a message itself, and one of the catalogue.
        (
            StoredMessage(
                "as_written",
                {"sentence": [{"message": "Reward model"}, failures.of_exception(OSError("x")).as_json()]},
            ),
            "奖励模型 无法读取或写入文件：x。",
        ),
        (StoredMessage("as_written", {"sentence": {"bytes": 2048}}), "2.0\xa0KB"),
    ],
)  # fmt: skip
def test_is_worded_in_the_readers_language(message: StoredMessage, read: str) -> None:
    assert in_chinese(message.as_json()) == read


def test_rows_of_earlier_versions_and_of_later_ones_still_show() -> None:
    assert in_chinese("There is no model folder /no/where.") == "There is no model folder /no/where."
    assert in_chinese("") == in_chinese({}) == ""
    assert text({"code": "of a later version", "values": {}}) == "of a later version"
    assert text({"code": "gate_kl", "values": {"value": "1"}}) == "gate_kl"


def test_a_refusal_is_a_sentence_now_and_a_message_for_later() -> None:
    with translation.override("zh-hans"):
        error = refusal("disk_nearly_full", status=507, free={"bytes": 1024}, reserved={"bytes": 2**30})
    assert error.status == 507
    assert stored_messages.of_exception(error) == error.message
    assert text(error.message or "").startswith("Only 1.0\xa0KB are free below the data folder, and 1.0\xa0GB of it")
    assert text(stored_messages.of_exception(Refused("Said once."))) == "Said once."


def served_faults() -> set[str]:
    """What may go wrong with a model on another server: codes that a child process reports."""
    source = Path(settings.BASE_DIR) / "models_core/generation/served_stream.py"
    texts = {node.value for node in ast.walk(ast.parse(source.read_text("utf-8"))) if isinstance(node, ast.Constant)}
    return {text for text in texts if isinstance(text, str) and re.fullmatch("served_[a-z_]+", text)} - {"served_model"}


SAYING = ("StoredMessage", "refusal", "NotDelivered", "fault")
"""Calls whose first argument is the code of a message."""


def test_every_code_in_the_source_has_a_message() -> None:
    import_module(settings.ROOT_URLCONF)  # modules register messages of their own as the pages import them
    codes = set()
    for package in ("annotate", "rlhf"):
        for path in (Path(settings.BASE_DIR) / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                    first = node.args[0]
                    if node.func.id in SAYING and isinstance(first, ast.Constant):
                        codes.add(first.value)
    codes |= served_faults()
    codes |= set(failures.CODES.values()) | {f"gate_{name}" for name in gates.GATES}
    codes |= {f"quality_{kind}_{act}" for kind in ("gold", "repeat") for act in ("warn", "pause", "requalify")}
    assert len(codes) > 40
    assert codes - stored_messages._registered.keys() == set()
    assert stored_messages._registered.keys() - codes == set()
