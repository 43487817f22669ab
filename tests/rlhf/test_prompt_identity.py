"""A prompt has one digest and one split, in the labeling database and for every training command."""

import json

import pytest

from annotate.models.data.prompt import content_hash, split_of
from models_core.contract.rows import prompt_identity

USER = {"role": "user", "content": "say 1"}
ODD = {
    "plain": [USER],
    "system": [{"role": "system", "content": "Be kind."}, USER],
    "few-shot": [{"role": "user", "content": "2 + 2\n=> 4\n\n3 + 3\n=>"}],
    "chat": [USER, {"role": "assistant", "content": "1"}, {"role": "user", "content": "again"}],
    "chinese": [{"role": "user", "content": "你好，世界"}],
    "composed": [{"role": "user", "content": "caf\u00e9"}],
    "decomposed": [{"role": "user", "content": "cafe\u0301"}],
    "emoji": [{"role": "user", "content": "👩‍👩‍👧 🏳️‍🌈"}],
    "line separator": [{"role": "user", "content": "a\u2028b\u0085c\x0cd"}],
    "spaces": [{"role": "user", "content": " say\u00a0 1\t\r\n"}],
    "fewer spaces": [{"role": "user", "content": "say 1 "}],
    "quotes": [{"role": "user", "content": '"a" and b/'}],
    "other keys": [USER | {"name": "ann"}],
    "keys in another order": [{"content": "say 1", "role": "user"}],
}
STORED = ("f61a0891", "train")


@pytest.mark.parametrize("name", ODD)
def test_annotate_and_models_core_agree(name: str) -> None:
    messages = ODD[name]
    digest = prompt_identity.digest(messages)
    assert digest == content_hash(messages)
    assert prompt_identity.split(digest) == split_of(digest)


def test_they_agree_on_a_thousand_prompts_of_every_split() -> None:
    digests = [prompt_identity.digest([{"role": "user", "content": f"say {number}"}]) for number in range(1000)]
    splits = [prompt_identity.split(digest) for digest in digests]
    assert splits == [split_of(digest) for digest in digests]
    assert {name: splits.count(name) for name in set(splits)} == {"train": 831, "validation": 79, "test": 90}


def test_every_text_is_another_prompt_but_other_keys_are_not() -> None:
    same = {"plain", "other keys", "keys in another order"}
    assert len({prompt_identity.digest(ODD[name]) for name in same}) == 1
    assert len({prompt_identity.digest(messages) for messages in ODD.values()}) == len(ODD) - len(same) + 1


def test_a_row_read_from_a_file_has_the_digest_of_the_database() -> None:
    for messages in ODD.values():
        read = json.loads(json.dumps(messages))
        assert prompt_identity.digest(read) == content_hash(messages)


def test_the_digest_and_split_of_a_stored_prompt_never_change() -> None:
    digest = prompt_identity.digest([USER])
    assert (digest[:8], prompt_identity.split(digest)) == STORED


def test_held_out_rows_are_independent_of_the_split() -> None:
    """A file of one split alone has held-out rows too."""
    digests = [prompt_identity.digest([{"role": "user", "content": f"say {number}"}]) for number in range(4000)]
    train = [digest for digest in digests if prompt_identity.split(digest) == "train"]
    _, held_out = prompt_identity.hold_out(train, fraction=0.1, digest_of=str)
    assert 0.08 < len(held_out) / len(train) < 0.12
