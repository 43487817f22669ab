"""Files that nobody should send: each ends in a sentence, or is read as what it says, and leaves nothing behind."""

import gzip
import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from annotate.data.imports import import_file
from annotate.errors import Refused
from annotate.models import DataImport, Judgment, Prompt, Response, Task, Upload
from tests.annotate.data.test_imports import imported, user_turn, write

__all__ = ["imported"]

PROMPT = {"id": "1", "prompt": user_turn("Name a bird.")}
LINE = json.dumps(PROMPT).encode()


def assert_nothing_is_left() -> None:
    for model in (Prompt, Response, Task, Judgment):
        assert not model._base_manager.exists()
    assert not DataImport.objects.filter(state__in=DataImport.UNDER_WAY).exists()
    assert not Upload.objects.exists()


def test_a_line_of_200_megabytes_is_refused_without_being_held(cast, tmp_path):
    path = write(tmp_path, LINE + b'\n{"prompt": "')
    with path.open("ab") as file:
        file.truncate(200 * 2**20)
    with pytest.raises(Refused, match=r"data\.jsonl: line 2 is longer than 16 MB"):
        import_file(project=cast.project, path=path, by=cast.manager)
    assert_nothing_is_left()


def test_a_gzipped_file_that_was_made_to_fill_the_memory_is_refused(imported):
    with pytest.raises(Refused, match="unfolds to more than 200 times its size"):
        imported(gzip.compress((LINE + b"\n") * 2 + b" \n" * 40 * 2**20), name="data.jsonl.gz")
    assert_nothing_is_left()


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lines_that_end_as_on_windows_are_the_same_rows(imported, mark):
    report = imported(mark + LINE + b"\r\n\r\n" + LINE.replace(b"bird", b"fish") + b"\r\n")
    assert (report.errors, report.created["prompts"]) == ((), 2)
    assert [prompt.question for prompt in Prompt.objects.all()] == ["Name a bird.", "Name a fish."]


def test_ranks_with_gaps_are_an_order(imported):
    responses = [{"text": text, "rank": rank} for text, rank in (("C", 7), ("A", 1), ("B", 3), ("B2", 3))]
    imported([{**PROMPT, "responses": responses}])
    tiers = Judgment.objects.get().latest.tiers
    texts = dict(Response.objects.values_list("pk", "text"))
    assert [[texts[key] for key in tier] for tier in tiers] == [["A"], ["B", "B2"], ["C"]]


def test_a_tree_of_ten_turns_is_a_ranking_at_every_depth(imported):
    def message(depth, role, rank=None):
        replies = []
        if depth < 20:
            other = "prompter" if role == "assistant" else "assistant"
            ranks = (0, 1) if other == "assistant" else (None,)
            replies = [message(depth + 1 if rank in (None, 0) else 20, other, rank) for rank in ranks]
        return {"message_id": f"{depth}-{rank}", "text": f"{role} {depth} {rank}", "role": role, "rank": rank,
                "lang": "en", "replies": replies}  # fmt: skip

    report = imported([{"message_tree_id": "t", "prompt": message(0, "prompter")}], name="trees.jsonl")
    assert report.created["judgments"] == 10
    deepest = max(Prompt.objects.all(), key=lambda prompt: len(prompt.messages))
    assert len(deepest.messages) == 19
    assert len({prompt.split for prompt in Prompt.objects.all()}) == 1


def test_a_path_in_a_files_name_leads_nowhere(cast, client, settings):
    client.force_login(cast.manager)
    before = set(settings.HONE_DATA.parent.rglob("*rows.jsonl"))
    file = SimpleUploadedFile("x", LINE + b'\n{"oops"\n')
    file._name = "../../../rows.jsonl"  # a browser of one's own; Django takes the base name
    form = {"file": file, "format": "auto"}
    page = client.post(reverse("annotate:import", args=[cast.project.slug]), form, follow=True).content.decode()
    assert "line 2: not valid JSON" in page
    assert "/rows.jsonl" not in page
    assert set(settings.HONE_DATA.parent.rglob("*rows.jsonl")) == before
    assert_nothing_is_left()


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b'{\n  "prompt": "a"\n}\n', "data.json", "is one JSON object over many lines"),
        (b'{"data": [\n  {"prompt": "a"}\n]}\n', "data.json", "is one JSON object over many lines"),
        (b"prompt,response\ra,b\r", "data.csv", "line 1: a line ends with a carriage return alone"),
        (b",".join(b"c%d" % n for n in range(1_001)) + b"\n", "data.csv", "has more than 1,000 columns"),
    ],
)
def test_what_only_looks_like_rows_is_named_in_a_sentence(imported, content, name, said):
    with pytest.raises(Refused, match=said):
        imported(content, name=name)
    assert_nothing_is_left()
