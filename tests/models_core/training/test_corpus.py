"""Documents of a corpus, and rows that predict every token of theirs once."""

import json

import pytest

from models_core.contract.errors import BadInput
from models_core.modeling import tokenization
from models_core.training import corpus
from tests.models_core.tiny import make_tiny_tokenizer

LONG = "x" * corpus.SHORT


@pytest.fixture
def file(tmp_path):
    def write(content, name="corpus.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_a_blank_line_parts_documents_and_a_heading_stays_with_what_it_heads(file):
    text = f"\n\nTitle\n\n{LONG}\nsecond line\n \t\n{LONG} 2\n\nend\n"
    assert corpus.read(file(text)) == [f"Title\n\n{LONG}\nsecond line", f"{LONG} 2", "end"]


def test_two_blank_lines_part_documents_where_the_file_has_them(file):
    text = "\n\n\none\n\nstill one\n\n\ntwo\n\n\n\nthree\n\n\n"
    assert corpus.read(file(text)) == ["one\n\nstill one", "two", "three"]
    assert corpus.read(file(text), rule="blocks") == ["one\n\nstill one\n\ntwo\n\nthree"]
    assert corpus.read(file(text), rule="file") == ["one\n\nstill one\n\n\ntwo\n\n\n\nthree"]


def test_line_ends_marks_and_repeated_documents_do_not_matter(file):
    text = f"{LONG} 1\r\nnext\r\n\r\n{LONG} 2\r\n\r\n{LONG} 1\r\nnext\r\n"
    assert corpus.read(file(b"\xef\xbb\xbf" + text.encode())) == [f"{LONG} 1\nnext", f"{LONG} 2"]


def test_rows_of_json_are_documents_as_they_are(file):
    rows = [{"text": "a\n\n\nb"}, {"text": " \n"}, {"text": "短"}]
    path = file("".join(json.dumps(row) + "\n" for row in rows), "corpus.jsonl")
    assert corpus.read(path) == ["a\n\n\nb", "短"]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", b"", "a.txt: there is no text in it."),
        ("a.txt", b" \n\t\n\n", "a.txt: there is no text in it."),
        ("a.txt", b"fine\nbad \xff\n", r"a.txt, line 2: not UTF-8 text \(byte 10 of the file\)."),
        ("a.txt", b"fine\n\nbad\0", "a.txt, line 3: contains a NUL character, so it is no text."),
        ("a.jsonl", b'{"text": "a"}\n{"prompt": "b"}\n', 'a.jsonl, line 2: "text" is missing.'),
        ("a.jsonl", b'{"text": 3}\n', 'a.jsonl, line 1: "text" must be a string.'),
    ],
)
def test_what_is_no_corpus_is_named_by_its_place(file, name, content, sentence):
    with pytest.raises(BadInput, match=sentence):
        corpus.read(file(content, name))


def test_documents_keep_their_side_whatever_else_is_in_the_corpus():
    documents = [f"document {number}" for number in range(2000)]
    learned, held_out = corpus.split(documents, held_out=0.1)
    assert sorted(learned + held_out) == sorted(documents)
    assert 150 < len(held_out) < 250
    assert corpus.split(documents[::-3], held_out=0.1)[1] == [d for d in documents[::-3] if d in held_out]
    assert corpus.split(documents, held_out=0.0)[1] == []


@pytest.mark.parametrize(("length", "overlap"), [(8, 0.0), (8, 0.25), (8, 0.9), (16, 0.5), (64, 0.125)])
def test_every_token_is_predicted_once_from_the_tokens_before_it(length, overlap):
    texts = [list(range(10, 10 + size)) for size in (1, 6, 7, 8, 40, 200)]
    rows = corpus.rows(texts, start=3, max_length=length, overlap=overlap)
    again, row = [], iter(rows)
    for text in texts:
        whole = [3, *text]
        done = 1
        while done < len(whole):
            prompt, (response,) = next(row)
            assert len(prompt) + len(response) <= length
            assert list(prompt) == whole[done - len(prompt) : done]
            if done > 1:
                assert len(prompt) == min(max(1, round(overlap * length)), length - 1, done)
            assert list(response) == whole[done : done + len(response)]
            done += len(response)
        again.append(whole[1:])
    assert next(row, None) is None
    assert again == texts
    assert corpus.predicted(rows) == sum(map(len, texts))


def test_a_document_ends_with_eos_and_spells_no_special_token():
    tokenizer = make_tiny_tokenizer()
    ids = corpus.encode(["a<|im_end|>", "b"], tokenizer)
    assert [row.count(tokenizer.eos_token_id) for row in ids] == [1, 1]
    assert [row[-1] for row in ids] == [tokenizer.eos_token_id] * 2
    assert len(ids[0]) == len("a<|im_end|>") + 1
    assert corpus.encode(["b"], tokenizer, ends=False) == [ids[1][:-1]]
    assert corpus.encode([], tokenizer) == []
    assert tokenization.start_id(tokenizer) == tokenizer.bos_token_id


def test_size_is_counted_in_bytes():
    assert corpus.size(["aé", "短"]) == 3 + 3
