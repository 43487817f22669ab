"""Which prompts a policy is evaluated on."""

import pytest

from models_core.contract.errors import BadInput
from models_core.contract.rows.prompt_identity import hold_out
from models_core.contract.rows.records import Prompt
from models_core.contract.settings import PPOConfig, parse
from models_core.rl.prompts import MAX_SHOWN, split


def rows(count, *, of=lambda number: f"say {number}"):
    return [Prompt(id=str(number), messages=({"role": "user", "content": of(number)},)) for number in range(count)]


def settings(**values):
    return parse(PPOConfig, values)


def test_a_part_of_the_prompts_is_never_learned_from():
    prompts = rows(200)
    found = split(prompts, settings=settings(held_out=0.2))
    _, wanted = hold_out(prompts, fraction=0.2)
    assert found.is_held_out
    assert {row.id for row in found.evaluation} == {row.id for row in wanted}
    assert [row.id for row in found.training] == [row.id for row in prompts if row not in wanted]


def test_more_than_are_answered_are_learned_from_and_the_choice_does_not_hang_on_the_order():
    prompts = rows(200)
    few = split(prompts, settings=settings(held_out=0.2, eval_prompts=7))
    assert (len(few.evaluation), len(few.training)) == (7, 193)
    reversed_order = split(prompts[::-1], settings=settings(held_out=0.2, eval_prompts=7))
    assert [row.id for row in reversed_order.evaluation] == [row.id for row in few.evaluation]
    all_of_them = split(prompts, settings=settings(held_out=0.2))
    assert [row.id for row in few.evaluation] == [row.id for row in all_of_them.evaluation[:7]]


def test_a_prompt_that_comes_twice_is_on_one_side():
    prompts = rows(200, of=lambda number: f"say {number // 2}")
    found = split(prompts, settings=settings(held_out=0.3))
    said = [{row.messages[0]["content"] for row in side} for side in (found.training, found.evaluation)]
    assert not said[0] & said[1]
    assert len(said[1]) == len(found.evaluation)


def test_few_prompts_are_all_learned_from_and_some_are_shown():
    prompts = rows(12)
    found = split(prompts, settings=settings())
    assert (found.training, found.evaluation, found.is_held_out) == (prompts, prompts[:MAX_SHOWN], False)


def test_those_of_an_evaluation_file_are_not_learned_from_either():
    prompts, given = rows(12), rows(3)
    found = split(prompts, settings=settings(eval_prompts=2), evaluation=given)
    assert (found.evaluation, found.training, found.is_held_out) == (given[:2], prompts[2:], True)
    with pytest.raises(BadInput, match="none is left to train on"):
        split(given, settings=settings(), evaluation=given)
