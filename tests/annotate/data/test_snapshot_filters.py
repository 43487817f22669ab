"""What a snapshot takes, what it replaces in texts, and what its card says of the data."""

import json
import time

import pytest
from django.core.management import call_command
from django.test import Client

from annotate.data import snapshots
from annotate.data.imports import import_file
from annotate.data.sharing.redaction import Redactor
from annotate.data.snapshot_filters import Filters
from annotate.errors import Refused
from annotate.models import Snapshot
from tests.factories.cast import Cast


@pytest.fixture(autouse=True)
def data_folder(settings, tmp_path):
    settings.HONE_DATA = tmp_path / "var"


def ranking(prompt: str, *, best: str = "a", labeler: str = "ann", **said):
    responses = [{"text": text, "rank": 1 if text == best else 2, "model": f"m-{text}"} for text in ("a", "b")]
    return {"prompt": prompt, "lang": "en", "responses": responses, "labeler": labeler, "task": prompt} | said


@pytest.fixture
def judged(cast: Cast, tmp_path) -> Cast:
    rows = [
        ranking("One?"),
        ranking("One?", labeler="ben"),
        ranking("Two?"),
        ranking("Two?", labeler="ben", best="b"),
        ranking("Three?", judge="gpt-4", labeler="", use_case="open_qa"),
        ranking("四？", lang="zh", labeler="cem"),
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert import_file(project=cast.project, path=path, by=None).errors == ()
    return cast


def frozen(cast: Cast, **filters) -> list[str]:
    """The prompts of the rows of a snapshot of rankings, in order."""
    snapshot = snapshots.freeze(project=cast.project, kind="rankings", filters=filters)
    rows = [line for split in snapshots.SPLITS if (path := snapshots.data_file(snapshot, split)).is_file()
            for line in path.read_text().splitlines()]  # fmt: skip
    return sorted(json.loads(row)["prompt"][0]["content"] for row in rows)


def test_each_filter_takes_its_records(judged):
    everything = ["One?", "One?", "Three?", "Two?", "Two?", "四？"]
    assert frozen(judged) == everything
    assert frozen(judged, languages=["zh"]) == ["四？"]
    assert frozen(judged, use_cases=["open_qa"]) == ["Three?"]
    assert frozen(judged, sources=["ai"]) == ["Three?"]
    assert frozen(judged, agreement=0.9) == ["One?", "One?"]
    assert frozen(judged, agreement=0) == ["One?", "One?", "Two?", "Two?"]
    assert frozen(judged, models=["m-a"]) == everything
    assert frozen(judged, before="2100-01-01T00:00:00+00:00") == everything
    for none in ({"models": ["m-x"]}, {"labelers": ["labeler-0"]}, {"after": "2100-01-01T00:00:00+00:00"}):
        with pytest.raises(Refused, match="There are no rankings yet that match"):
            frozen(judged, **none)


def test_labelers_are_chosen_by_their_pseudonyms(judged):
    snapshot = snapshots.freeze(project=judged.project, kind="rankings")
    rows = [json.loads(line) for split in snapshots.SPLITS for line in snapshots.data_file(snapshot, split).open()]
    (cem,) = {row["labeler"] for row in rows if row["lang"] == "zh"}
    assert frozen(judged, labelers=[cem]) == ["四？"]


@pytest.mark.parametrize(
    "filters",
    [{"agreement": 2}, {"agreement": True}, {"labelers": "x"}, {"models": [1]}, {"use_cases": ["none"]}, {"colour": 1}],
)
def test_a_filter_that_makes_no_sense_is_refused(filters):
    with pytest.raises(Refused):
        Filters.checked(filters)


FOUND = {
    "write to ann.b+c@mail.example.co.uk now": "write to [EMAIL] now",
    "IBAN DE89 3704 0044 0532 0130 00.": "IBAN [IBAN].",
    "card 4111 1111 1111 1111, ok": "card [CARD], ok",
    "call +44 20 7946 0958 or 415-555-2671": "call [PHONE] or [PHONE]",
    "手机13812345678。": "手机[PHONE]。",
    "身份证11010519491231002X。": "身份证[ID]。",
    "at 192.168.0.17 it fails": "at [IP] it fails",
}
KEPT = [
    "version 1.2.3.4000 of 2026-11-29",
    "order 4111 1111 1111 1112",
    "pi is 3.14159265358979",
    "300.1.1.1 and a@b",
    "12345678901234567890",
]


@pytest.mark.parametrize("text", FOUND)
def test_personal_data_are_replaced_by_what_they_are(text):
    assert Redactor().text(text) == FOUND[text]


@pytest.mark.parametrize("text", KEPT)
def test_other_numbers_stay(text):
    assert Redactor().text(text) == text


@pytest.mark.parametrize("sign", ["1", "a", "1-", "+1", "a@", "1.", "A1", "1 ", "@", "a.", "1 (", "AA11 "])
def test_redaction_takes_linear_time(sign):
    began = time.process_time()
    Redactor().text(sign * (60_000 // len(sign)))
    assert time.process_time() - began < 1.0


@pytest.fixture
def personal(cast: Cast, tmp_path) -> Cast:
    path = tmp_path / "rows.jsonl"
    turns = [{"role": "user", "content": "I am ann@example.org."}]
    responses = [{"text": "Call 415-555-2671.", "rank": 1}, {"text": "No.", "rank": 2}]
    row = {"prompt": turns, "lang": "en", "responses": responses, "comment": "From 10.0.0.1", "labeler": "ann"}
    path.write_text(json.dumps(row) + "\n")
    assert import_file(project=cast.project, path=path, by=None).errors == ()
    return cast


def test_a_redacted_snapshot_holds_none_and_counts_them(personal, tmp_path):
    out = tmp_path / "out"
    call_command("export_data", "kindness", "--format", "hone", "--out", str(out), "--redact", "--comments")
    text = "".join(path.read_text() for path in out.glob("*.jsonl"))
    assert "ann@example.org" not in text
    assert "I am [EMAIL]." in text
    assert "Call [PHONE]." in text
    assert '"comment": "From [IP]"' in text
    assert json.loads((out / "manifest.json").read_text())["redactions"] == {"EMAIL": 1, "IP": 1, "PHONE": 1}
    assert "were replaced by rules (EMAIL 1, IP 1, PHONE 1)" in (out / "README.md").read_text()


def test_the_card_says_how_the_data_were_made(judged, tmp_path):
    out = tmp_path / "out"
    call_command("export_data", "kindness", "--format", "hone", "--out", str(out), "--licence", "CC BY 4.0")
    card = (out / "README.md").read_text()
    assert "- **Languages**: en 5, zh 1" in card
    assert "- **Judged by**: human 5, gpt-4 1" in card
    assert "two labelers agree on 50.0% of pairs (mean over 2 tasks)" in card
    assert "- **Written by**: m-a 6, m-b 6" in card
    assert card.endswith("## Licence\n\nCC BY 4.0\n")


def test_the_page_filters_and_previews_the_redaction(personal):
    client = Client()
    client.force_login(personal.researcher)
    form = {"kind": "rankings", "format": "hone", "tie_policy": "keep", "splits": ["train", "validation", "test"]}
    page = client.post("/p/kindness/exports/", {**form, "preview": "yes"}).content.decode()
    assert "<del>ann@example.org</del> <ins>[EMAIL]</ins>" in page
    assert "3 places in the first 500 records would be replaced." in page
    assert Snapshot.objects.count() == 0
    reply = client.post(
        "/p/kindness/exports/",
        {
            **form,
            "languages": "en, fr",
            "agreement": "0.5",
            "redact": "on",
            "after": "2026-01-01",
            "sources": ["human"],
        },
    )
    assert reply.status_code == 302
    assert Snapshot.objects.get().filters == {
        "languages": ["en", "fr"],
        "agreement": 0.5,
        "redact": True,
        "after": "2026-01-01T00:00:00+00:00",
        "sources": ["human"],
    }
