"""Sentences that a worker stored in English, read in Chinese."""

import time

import pytest
from django.utils import translation

from annotate.data.stored_messages import in_readers_language
from rlhf.loop.loop import PASSED
from rlhf.runs import failures


def in_chinese(sentence: str) -> str:
    with translation.override("zh-hans"):
        return in_readers_language(sentence)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("Cancelled by hand.", "已手动取消。"),
        (
            failures.of_signal(11),
            "其进程在每次尝试中都被信号 11（Segmentation fault）终止。内核没有报告内存不足。",
        ),
        (failures.of_child(returncode=7, log=""), "进程以退出状态 7 结束，没有给出任何说明。"),
        (failures.of_exception(OSError("no such disk")), "无法读取或写入文件：no such disk。"),
        (PASSED["kl"] % {"value": "12.5", "bound": "10"}, "策略的 KL 散度为 12.5，高于关卡值 10。"),
        ("fetching the base model, 43%", "正在下载基础模型，43%"),
        # A value that is a sentence, or a name, of the catalogue's own.
        (
            "Its run failed (Reward model): Its process ended with exit status 7 and said nothing.",
            "其运行失败（奖励模型）：进程以退出状态 7 结束，没有给出任何说明。",
        ),
        # What nobody has translated stays, and so do values that look like placeholders or like markup.
        ("There is no model folder /no/where.", "There is no model folder /no/where."),
        (
            (
                "Its process was ended by signal %(number)s (<b>) in each of its attempts. "
                "The kernel reports no lack of memory."
            ),
            "其进程在每次尝试中都被信号 %(number)s（<b>）终止。内核没有报告内存不足。",
        ),
        ("", ""),
    ],
)
def test_is_translated_with_its_values(stored: str, read: str) -> None:
    assert in_chinese(stored) == read


def test_stays_as_it_is_for_who_reads_english() -> None:
    sentence = failures.of_child(returncode=7, log="")
    with translation.override("en"):
        assert in_readers_language(sentence) == sentence


def test_a_long_hostile_text_takes_no_time() -> None:
    sentence = "Its worker went silent " + " times; the last one was" * 20_000
    in_chinese("so that the catalogue is read")
    start = time.process_time()
    assert in_chinese(sentence) == sentence
    assert time.process_time() - start < 0.5
