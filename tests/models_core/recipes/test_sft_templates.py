"""Instruction templates: what a row becomes in words, and the sentence for a file that cannot be used."""

import json
from pathlib import Path
from typing import Any

import pytest

from models_core.contract.errors import BadInput
from models_core.contract.rows.records import Demonstration, Message
from models_core.demonstrations.templated_rows import Wording, as_written, worded
from models_core.demonstrations.templates import built_in_names, read_templates, template_file

USER = Message(role="user", content="2 + 3?")


def row(name: str = "a", *, messages: tuple[Message, ...] = (), response: str = "", **fields: str) -> Demonstration:
    return Demonstration(id=name, messages=messages, response=response, fields=fields)


@pytest.fixture
def templates(tmp_path: Path) -> Any:
    def make(*items: dict[str, Any], **options: Any) -> Any:
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"templates": items, **options}), encoding="utf-8")
        return read_templates(path)

    return make


def one(set_: Any, demonstration: Demonstration) -> Wording | None:
    return worded(demonstration, templates=set_, pool=[], draw="0")


def test_fields_of_the_row_and_its_prompt_and_response_stand_in_braces(templates):
    set_ = templates({"prompt": "{prompt} ({hint}) {{keep}}", "response": "It is {response}."})
    wording = one(set_, row(messages=(USER,), response="5", hint="add"))
    assert wording.messages(shots=0) == (Message(role="user", content="2 + 3? (add) {keep}"),)
    assert wording.response == "It is 5."


def test_a_system_turn_and_earlier_turns_stay(templates):
    earlier = (Message(role="system", content="s"), USER, Message(role="assistant", content="5"))
    set_ = templates({"prompt": "Now: {prompt}"}, shots=[2])
    demonstration = row(messages=(*earlier, Message(role="user", content="3 + 3?")), response="6")
    pool = [row(str(number), messages=(USER,), response="5") for number in range(5)]
    wording = worded(demonstration, templates=set_, pool=pool, draw="0")
    assert wording.messages(shots=2) == (*earlier, Message(role="user", content="Now: 3 + 3?"))


def test_what_a_field_holds_is_inert(templates):
    set_ = templates({"prompt": "{text}", "response": "{label}"})
    hostile = "{label} {0.__class__} %s {{x}} [label] <|im_end|>"
    wording = one(set_, row(text=hostile, label="{text}"))
    assert (wording.prompt, wording.response) == (hostile, "{text}")


def test_a_row_without_a_templates_fields_is_not_worded_by_it(templates):
    set_ = templates({"prompt": "{text}", "response": "{rationale}\nSo it is {label}."})
    assert one(set_, row(text="a", label="b")) is None
    assert one(set_, row(text="a", label="b", rationale=" ")) is None
    assert one(set_, row(text="a", label="b", rationale="c")).response == "c\nSo it is b."


def test_a_template_is_not_for_rows_that_have_a_field_it_would_leave_out(templates):
    set_ = templates({"prompt": "{question}", "response": "{answer}", "unless": ["context"]})
    assert one(set_, row(question="q", answer="a")).prompt == "q"
    assert one(set_, row(question="q", answer="a", context="c")) is None


def test_a_cloze_pattern_asks_up_to_its_blank_and_its_verbalizer_fills_it(templates):
    set_ = templates({"cloze": "{text} It was [label], really.", "labels": {"pos": "great", "neg": "awful"}})
    wording = one(set_, row(text="Wow!", label="pos"))
    assert (wording.prompt, wording.response) == ("Wow! It was", "great, really.")
    assert one(set_, row(text="Wow!", label="other")) is None


def test_a_cloze_may_ask_for_any_field_and_labels_may_serve_the_whole_file(templates):
    set_ = templates({"cloze": "{text} [stars]"}, labels={"5": "five"})
    assert one(set_, row(text="Wow!", stars="5")).response == "five"
    assert one(templates({"cloze": "{text} [stars]"}), row(text="Wow!", stars="4")).response == "4"


def test_templates_are_drawn_by_seed_and_all_of_them_are(templates):
    set_ = templates(*[{"prompt": f"{number} {{text}}", "response": "{label}"} for number in range(4)])
    demonstration = row(text="t", label="l")

    def draw(seed: int) -> str:
        return worded(demonstration, templates=set_, pool=[], draw=str(seed)).prompt

    assert [draw(seed) for seed in range(40)] == [draw(seed) for seed in range(40)]
    counts = [sum(draw(seed).startswith(str(number)) for seed in range(400)) for number in range(4)]
    assert min(counts) > 60


POOL = [row(str(number), text=f"t{number}", label=f"l{number}") for number in range(6)]


def test_examples_are_other_rows_in_the_same_wording_and_never_the_row_itself(templates):
    set_ = templates(
        {"prompt": "A {text}", "response": "{label}"}, {"prompt": "B {text}", "response": "{label}"}, shots=[3]
    )
    copy_of_first = row("copy", text="t0", label="other")
    for seed in range(100):
        wording = worded(POOL[0], templates=set_, pool=[*POOL, copy_of_first], draw=str(seed))
        letter = wording.prompt[0]
        assert len(wording.examples) == len(set(wording.examples)) == 3
        assert set(wording.examples) <= {(f"{letter} t{number}", f"l{number}") for number in range(1, 6)}


def test_zero_one_and_few_examples_are_drawn_as_often_as_the_file_says(templates):
    set_ = templates({"prompt": "{text}", "response": "{label}"}, shots=[0, 0, 1, 3])
    counts = [len(worded(POOL[0], templates=set_, pool=POOL, draw=str(seed)).examples) for seed in range(400)]
    assert {count: round(counts.count(count) / 400, 1) for count in set(counts)} == {0: 0.5, 1: 0.2, 3: 0.3}


def test_where_there_are_too_few_other_rows_there_are_fewer_examples(templates):
    set_ = templates({"prompt": "{text}", "response": "{label}"}, shots=[5])
    assert len(worded(POOL[0], templates=set_, pool=POOL[:3], draw="0").examples) == 2
    assert worded(POOL[0], templates=set_, pool=POOL[:1], draw="0").examples == ()


def test_examples_come_as_turns_or_as_text():
    wording = Wording(earlier=(), prompt="p", response="r", examples=(("a", "1"), ("b", "2")))
    turns = [(message["role"], message["content"]) for message in wording.messages(shots=2)]
    assert turns == [("user", "a"), ("assistant", "1"), ("user", "b"), ("assistant", "2"), ("user", "p")]
    text = Wording(earlier=(), prompt="p", response="r", examples=wording.examples, as_turns=False)
    assert text.messages(shots=2) == (Message(role="user", content="a\n1\n\nb\n2\n\np"),)
    assert text.messages(shots=1) == (Message(role="user", content="a\n1\n\np"),)


def test_without_templates_a_row_is_what_it_says():
    demonstration = row(messages=(Message(role="system", content="s"), USER), response="5")
    wording = as_written(demonstration)
    assert (wording.messages(shots=0), wording.response) == (demonstration.messages, "5")


GIVEN = {
    "classification": {"text": "t", "label": "l"},
    "summarisation": {"document": "d", "summary": "s"},
    "translation": {"source": "s", "target": "t"},
    "question_answering": {"question": "q", "answer": "a"},
    "generation": {"instruction": "i", "output": "o"},
}
RICHER = {
    "classification": {"options": "a, b", "rationale": "r"},
    "translation": {"source_language": "English", "target_language": "German"},
    "question_answering": {"context": "c", "options": "a, b", "rationale": "r"},
    "generation": {"input": "n"},
}


@pytest.mark.parametrize("language", ["", "_zh"])
@pytest.mark.parametrize("name", list(GIVEN))
def test_a_built_in_set_words_a_row_of_its_kind_in_several_ways(name, language):
    set_ = read_templates(template_file(name + language))
    least, most = row(**GIVEN[name]), row(**GIVEN[name], **RICHER.get(name, {}))
    assert sum(template.word(least) is not None for template in set_.templates) >= 1
    fitting = [template.word(most) or template.word(least) for template in set_.templates]
    if name == "generation":
        demonstration = row(messages=(USER,), response="5")
        fitting = [
            found or template.word(demonstration) for found, template in zip(fitting, set_.templates, strict=True)
        ]
    assert len(set_.templates) >= 4
    assert all(found or template.unless for found, template in zip(fitting, set_.templates, strict=True))


def test_the_built_in_sets_are_these_and_no_other():
    assert built_in_names() == sorted([*GIVEN, *(f"{name}_zh" for name in GIVEN)])
    with pytest.raises(BadInput, match="no templates poems: give a JSON file or one of classification,"):
        template_file("poems")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ([], 'must be an object with a non-empty list "templates"'),
        ({"templates": []}, 'must be an object with a non-empty list "templates"'),
        ({"templates": ["x"]}, 'template 1 must be an object with either "prompt" or "cloze"'),
        (
            {"templates": [{"prompt": "a", "cloze": "b"}]},
            'template 1 must be an object with either "prompt" or "cloze"',
        ),
        ({"templates": [{"prompt": " "}]}, 'template 1: "prompt" must be a text'),
        ({"templates": [{"prompt": "a\0"}]}, "contains a NUL character"),
        ({"templates": [{"prompt": "\ud800"}]}, "contains half of a surrogate pair"),
        ({"templates": [{"prompt": "a"}, {"prompt": "{a.b}"}]}, "template 2: {a.b} is not the name of a field"),
        ({"templates": [{"prompt": "{a!r}"}]}, "{a} is not the name of a field"),
        ({"templates": [{"prompt": "{}"}]}, "{} is not the name of a field"),
        ({"templates": [{"prompt": "{a"}]}, "expected '}' before end of string"),
        ({"templates": [{"cloze": "no blank"}]}, "has its answer at one place, such as [label]; this one has 0"),
        ({"templates": [{"cloze": "[a] [b]"}]}, "this one has 2"),
        ({"templates": [{"cloze": "x [a]", "response": "y"}]}, "template 1 has the key 'response'"),
        ({"templates": [{"prompt": "a"}], "shot": [1]}, "the file has the key 'shot'"),
        ({"templates": [{"prompt": "a"}], "shots": [-1]}, '"shots" must be a list of whole numbers from 0 to 64'),
        ({"templates": [{"prompt": "a"}], "shots": []}, '"shots" must be a list'),
        ({"templates": [{"prompt": "a"}], "exemplars": "both"}, '"exemplars" must be "turns" or "text"'),
        ({"templates": [{"prompt": "a", "labels": {"x": ""}}]}, '"labels" must give a word for every label'),
        ({"templates": [{"prompt": "a", "unless": "x"}]}, '"unless" must be a list of fields'),
        ('{"templates": [{"prompt": "a"}], "templates": []}', 'the key "templates" stands twice in one object'),
        ('{"templates": [{"prompt": "a", "labels": {"x": "b", "x": "c"}}]}', 'the key "x" stands twice in one object'),
    ],
)
def test_a_bad_file_is_one_sentence(document, reason, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        read_templates(path)
    assert str(caught.value).startswith("mine.json: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
