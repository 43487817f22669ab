"""Settings from texts or typed values: checked for name, type and range."""

import dataclasses
import math
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from models_core.contract.errors import BadInput
from models_core.contract.settings.base import Settings
from models_core.contract.settings.training import LEARNING_RATE_FACTORS

BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}

SettingsT = TypeVar("SettingsT", bound=Settings)


def parse(cls: type[SettingsT], values: Mapping[str, Any]) -> SettingsT:
    """Settings from texts (`{"epochs": "2"}`) or typed values, checked for name, type and range.

    Raises BadInput that names the setting and what it accepts.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    types = typing.get_type_hints(cls)
    unknown = [name for name in values if name not in fields]
    if unknown:
        raise BadInput(f"There is no setting {unknown[0]!r} here; the settings are {', '.join(sorted(fields))}.")
    parsed = {name: _parse_value(fields[name], types[name], value) for name, value in values.items()}
    return cls(**(_method_learning_rate(fields, parsed) | parsed))


def _method_learning_rate(fields: Mapping[str, "dataclasses.Field[Any]"], given: Mapping[str, Any]) -> dict[str, float]:
    """The default learning rate scaled to the given method; the stage's default is for its default method."""
    if given.get("method") is None:
        return {}
    defaults: dict[str, Any] = {name: fields[name].default for name in ("method", "learning_rate")}
    factor = LEARNING_RATE_FACTORS[given["method"]] / LEARNING_RATE_FACTORS[defaults["method"]]
    # Products of decimal fractions come out as 0.0006000000000000001, which people would read on pages.
    return {"learning_rate": min(float(f"{defaults['learning_rate'] * factor:.12g}"), 1.0)}


def _parse_value(field: "dataclasses.Field[Any]", kind: type, value: Any) -> Any:
    converters: dict[type, Callable[[Any], Any]] = {int: _integer, float: _number, bool: _boolean, str: str}
    text = value.strip() if isinstance(value, str) else value
    try:
        parsed = converters[kind](text)
    except (ValueError, TypeError, OverflowError):
        raise BadInput(f"The setting {field.name} must be {_accepted_values(field, kind)}, not {value!r}.") from None
    low, high, choices = (field.metadata[key] for key in ("minimum", "maximum", "choices"))
    in_range = (low is None or parsed >= low) and (high is None or parsed <= high)
    if not in_range or (choices and parsed not in choices):
        raise BadInput(f"The setting {field.name} must be {_accepted_values(field, kind)}, not {value!r}.")
    if field.metadata["parser"] is not None:
        try:
            field.metadata["parser"](parsed)
        except ValueError as error:
            raise BadInput(f"The setting {field.name} {error}") from None
    return parsed


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(number := float(value)):
        raise ValueError
    return number


def _boolean(value: Any) -> bool:
    text = str(value).lower()
    if text not in BOOLEANS:
        raise ValueError
    return BOOLEANS[text]


def _accepted_values(field: "dataclasses.Field[Any]", kind: type) -> str:
    """A phrase that describes the accepted values."""
    low, high, choices = (field.metadata[key] for key in ("minimum", "maximum", "choices"))
    if choices:
        return f"one of {', '.join(choices)}"
    if kind is bool:
        return "true or false"
    noun = {int: "a whole number", float: "a number", str: "a text"}[kind]
    if low is not None and high is not None:
        return f"{noun} from {_format_bound(low)} to {_format_bound(high)}"
    return f"{noun} of at least {_format_bound(low)}" if low is not None else noun


def _format_bound(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"
