"""Folders that `datasets` saved, and zips of them: every row once, in order, and a sentence for each that is broken."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client

from annotate.data.imports import import_file
from annotate.errors import Refused
from annotate.formats import dataset_folders
from annotate.formats.files import byte_streams, columnar
from annotate.models import Judgment, Prompt
from tests.factories.cast import Cast

ROWS = [
    {"prompt": f"Question {n}?", "chosen": f"Yes {n}.", "rejected": None if n == 3 else f"No {n}.", "lang": "en"}
    for n in range(5)
]


@pytest.fixture(autouse=True)
def data_folder(settings: Any, tmp_path: Path) -> None:
    settings.HONE_DATA = tmp_path / "var"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A data set of two splits, one of them in two files."""
    sound = [row for row in ROWS if row["rejected"]]
    found = DatasetDict(train=Dataset.from_list(sound[:3]), test=Dataset.from_list(sound[3:]))
    found.save_to_disk(str(tmp_path / "pairs"), num_shards={"train": 2, "test": 1})
    return tmp_path / "pairs"


def imported(cast: Cast, path: Path, **values: Any) -> Any:
    return import_file(project=cast.project, path=path, by=None, **values)


def zipped(folder: Path, *, inside: str = "") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"{inside}{path.relative_to(folder)}")
    return packed.getvalue()


def test_a_saved_folder_is_imported_once_by_command_and_as_a_zip_by_page(cast: Cast, saved: Path, capsys: Any) -> None:
    call_command("import_data", "kindness", str(saved), "--dry-run")
    assert "Checked only; nothing was written. 4 rows read: 4 judgments." in capsys.readouterr().out
    call_command("import_data", "kindness", str(saved))
    assert capsys.readouterr().out == "4 rows read: 4 prompts, 4 tasks, 4 judgments.\n"
    assert [*Prompt.objects.order_by("pk").values_list("messages__0__content", flat=True)] == [
        f"Question {n}?" for n in (0, 1, 2, 4)
    ]
    client = Client()
    client.force_login(cast.manager)
    upload = SimpleUploadedFile("pairs.zip", zipped(saved, inside="pairs/"))
    client.post("/p/kindness/prompts/import", {"file": upload, "format": "auto"})
    assert "4 rows read: nothing new. 4 rows were there already." in client.get("/p/kindness/prompts/").content.decode()
    assert Judgment.objects.count() == 4
    assert [*(saved.parent / "var" / "uploads").iterdir()] == []


def test_one_data_set_one_stream_and_an_export_of_hone_are_folders_too(cast: Cast, tmp_path: Path) -> None:
    Dataset.from_list(ROWS[:2]).save_to_disk(str(tmp_path / "one"))
    assert imported(cast, tmp_path / "one").created["judgments"] == 2
    (stream,) = (tmp_path / "one").glob("*.arrow")
    assert imported(cast, stream).duplicates == 2
    call_command("export_data", "kindness", "--format", "parquet", "--out", str(tmp_path / "out"))
    assert imported(cast, tmp_path / "out").duplicates == 2


def test_a_broken_row_is_named_by_file_and_row(cast: Cast, tmp_path: Path) -> None:
    Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "pairs"))
    report = imported(cast, tmp_path / "pairs")
    assert report.errors == ('data-00000-of-00001.arrow, row 4: "rejected" is missing',)
    assert not Prompt.objects.exists()


def stream(*batches: pa.RecordBatch, options: pa.ipc.IpcWriteOptions | None = None) -> bytes:
    written = io.BytesIO()
    with pa.ipc.new_stream(written, batches[0].schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return written.getvalue()


BATCH = pa.RecordBatch.from_pylist([{"prompt": "Why?"}])


def of_random_access() -> bytes:
    written = io.BytesIO()
    with pa.ipc.new_file(written, BATCH.schema) as writer:
        writer.write_batch(BATCH)
    return written.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (stream(BATCH)[:-60], "is a broken Arrow stream"),
        (stream(BATCH, options=pa.ipc.IpcWriteOptions(compression="zstd")), "has compressed batches or dictionaries"),
        (
            stream(pa.RecordBatch.from_arrays([pa.array(["a"]).dictionary_encode()], ["prompt"])),
            "has compressed batches or dictionaries",
        ),
        (of_random_access(), "is an Arrow file of random access"),
        (stream(BATCH).replace(b"Why?", b"\xff\xfe??"), "is a broken Arrow stream"),
        (stream(pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])), "two columns of one name"),
    ],
    ids=["cut", "compressed", "dictionary", "random access", "not utf-8", "twice"],
)
def test_what_is_no_sound_stream_is_refused(cast: Cast, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.arrow").write_bytes(content)
    with pytest.raises(Refused, match=said):
        imported(cast, tmp_path / "a.arrow")


def test_a_batch_and_a_row_that_are_too_large_are_refused(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.arrow").write_bytes(stream(pa.RecordBatch.from_pylist([{"prompt": "x" * 5_000}, {"prompt": "y"}])))
    monkeypatch.setattr(byte_streams, "LONGEST_LINE", 1_000)
    assert "row 1: the row is larger than" in imported(cast, tmp_path / "a.arrow").errors[0]
    monkeypatch.setattr(columnar, "LARGEST_BATCH", 1_000)
    with pytest.raises(Refused, match="has a batch of rows larger than"):
        imported(cast, tmp_path / "a.arrow")


def state(**values: Any) -> Callable[[Path], None]:
    return lambda folder: (folder / "train" / "state.json").write_text(json.dumps(values)) and None


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (lambda folder: shutil.rmtree(folder / "test"), "test is no data set that `datasets` saved: state.json"),
        (state(_data_files=[{"filename": "../../secret"}]), "names a file outside of itself"),
        (state(_data_files=[{"filename": "gone.arrow"}]), "train lacks gone.arrow"),
        (state(_data_files=[], _indices_files=[{"filename": "i.arrow"}]), "chooses its rows by a table of indices"),
        (lambda folder: (folder / "dataset_dict.json").write_text("[" * 100_000), "dataset_dict.json is missing or"),
    ],
    ids=["no split", "outside", "no file", "indices", "nested"],
)
def test_a_broken_folder_is_refused(cast: Cast, saved: Path, breaks: Callable[[Path], Any], said: str) -> None:
    breaks(saved)
    with pytest.raises(Refused, match=said):
        imported(cast, saved)
    (saved.parent / "pairs.zip").write_bytes(zipped(saved))
    with pytest.raises(Refused, match=said):
        imported(cast, saved.parent / "pairs.zip")


def entry(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (entry("../rows.jsonl", b'{"prompt": "a"}'), "a file whose name leads out of it"),
        (entry("/rows.jsonl", b'{"prompt": "a"}'), "a file whose name leads out of it"),
        (entry("notes.md", b"nothing"), "holds no data files"),
        (entry("rows.jsonl", b" " * 70_000_000), "unfolds to more than 200 times its size"),
        (entry("rows.jsonl", b'{"prompt": "a"}')[:60], "broken"),
    ],
    ids=["above", "root", "no data", "bomb", "cut"],
)
def test_a_zip_is_unpacked_within_bounds(cast: Cast, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "rows.zip").write_bytes(content)
    with pytest.raises(Refused, match=said):
        imported(cast, tmp_path / "rows.zip")
    assert not list((tmp_path / "var").rglob("unpacked-*"))
    assert not (tmp_path / "rows.jsonl").exists()


def test_data_files_are_told_from_others() -> None:
    names = ("a/b.jsonl.gz", "train-00.parquet", "state.json", ".cache/a.json", "README.md", "__MACOSX/a.csv", "b.py")
    assert [name for name in names if dataset_folders.data_suffix(name)] == ["a/b.jsonl.gz", "train-00.parquet"]
