"""Columns of Parquet and Arrow that JSON has no word for: times, decimals, maps, bytes. Rows are read as of JSON."""

import datetime
import decimal
import gzip
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotate.formats import rows_of
from annotate.formats.files import BadFile, arrow_values
from annotate.formats.rows import BadRow

NOON = datetime.datetime(2024, 1, 2, 12, 0, 0, 123456, tzinfo=datetime.UTC)
TABLE = pa.table(
    {
        "prompt": ["Name a bird."],
        "chosen": pa.array([b"A hen."], type=pa.binary()),
        "rejected": ["A plum."],
        "timestamp": pa.array([NOON], type=pa.timestamp("us", "UTC")).cast(pa.timestamp("ns", "UTC")),
        "seconds": pa.array([decimal.Decimal("2.50")]),
        "source": pa.array([datetime.date(2024, 1, 2)]),
        "models": [["m-1", "m-2"]],
    }
)


def write(tmp_path, table, kind):
    path = tmp_path / f"rows.{kind}"
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
    return path


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_times_decimals_and_bytes_are_read_as_json_has_them(tmp_path, kind):
    ((_place, found),) = rows_of(write(tmp_path, TABLE, kind), "hone")
    assert not isinstance(found, BadRow), str(found)
    (row,) = found
    assert (row.timestamp, row.seconds, row.source) == ("2024-01-02T12:00:00.123456+00:00", 2.5, "2024-01-02")
    assert [(each.text, each.model) for each in row.responses] == [("A hen.", "m-1"), ("A plum.", "m-2")]
    assert row.not_kept == ()


def test_a_map_is_an_object_and_a_decimal_a_rating(tmp_path):
    ratings = pa.array([[("help", 3.0), ("tone", None)]], type=pa.map_(pa.string(), pa.float64()))
    table = pa.table({"prompt": ["a"], "response": ["b"], "ratings": ratings, "score": [decimal.Decimal("4")]})
    ((_place, found),) = rows_of(write(tmp_path, table, "parquet"), "hone")
    assert found[0].responses[0].ratings == {"help": 3.0, "score": 4}


def test_what_is_no_text_stays_what_it_is():
    assert arrow_values.as_json([("a", 1), ("a", 2)]) == [("a", 1), ("a", 2)]
    assert arrow_values.as_json({"x": [b"\xff", uuid.UUID(int=1)]}) == {"x": [b"\xff", f"{uuid.UUID(int=1)}"]}
    plain = pa.table({"a": ["x"], "b": [[{"c": 1, "d": [True]}]], "e": pa.nulls(1)})
    assert not arrow_values.needs_reading(plain.schema)
    assert arrow_values.needs_reading(pa.schema({"a": pa.list_(pa.struct({"b": pa.date32()}))}))


def test_a_gzipped_parquet_file_is_named(tmp_path):
    path = write(tmp_path, TABLE, "parquet")
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(BadFile, match=r"rows\.parquet is a gzipped Parquet file"):
        list(rows_of(path, "hone"))
