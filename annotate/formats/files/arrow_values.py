"""Values of Parquet and Arrow that JSON has no word for, as a file of JSON lines would hold them.

Times are written as ISO 8601, decimals become numbers, maps objects, bytes that are UTF-8 and UUIDs text. What stays
something else is refused where it is read.
"""

import datetime
import decimal
import uuid
from typing import Any

PLAIN = ("bool", "int", "uint", "float", "double", "halffloat", "string", "large_string", "string_view", "null")


def needs_reading(schema: Any) -> bool:
    """Whether a column holds anything but texts, numbers and truth values, at any depth."""
    types = [field.type for field in schema]
    while types:
        type_ = types.pop()
        if inner := [type_.field(at).type for at in range(type_.num_fields)]:
            if str(type_).startswith("map"):
                return True
            types += inner
        elif not str(type_).rstrip("0123456789").startswith(PLAIN):
            return True
    return False


def in_microseconds(batch: Any) -> Any:
    """Columns of nanoseconds to the microsecond, which is what Python keeps of a time without pandas."""
    import pyarrow as pa

    for at, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            column = batch.column(at).cast(pa.timestamp("us", field.type.tz), safe=False)
            batch = batch.set_column(at, field.name, column)
    return batch


def as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(item, tuple) for item in value):
            return _object(value)
        return [as_json(item) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return str(value) if isinstance(value, uuid.UUID) else value


def _object(pairs: list[tuple[Any, Any]]) -> Any:
    """A map; one with a key twice, or keys that are no texts, stays what it is."""
    found = {key: as_json(item) for key, item in pairs if isinstance(key, str)}
    return found if len(found) == len(pairs) else pairs
