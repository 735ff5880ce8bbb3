"""Schema fields, each with a range, a unit and a one-sentence description."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from medups.errors import InputError


@dataclass(frozen=True)
class FieldInfo:
    """The meaning and the allowed values of a field.

    Args:
        text: description in one sentence.
        low, high: limits of a number.
        choices: allowed values.
        unit: of a number.
    """

    text: str
    low: float | None = None
    high: float | None = None
    choices: Sequence[str] | None = None
    unit: str = ""


def setting(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] | None = None,
    unit: str = "",
) -> Any:
    """A dataclass field with its :class:`FieldInfo`; for lists, dicts and sections, pass a factory."""
    metadata = {"info": FieldInfo(text, low, high, choices, unit)}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def walk(section: Any, prefix: str = "") -> Iterator[tuple[str, Field[Any], type, Any]]:
    """Yield name, field, type and value of every setting in ``section`` (instance or class), including nested ones."""
    cls = section if isinstance(section, type) else type(section)
    hints = get_type_hints(cls)
    for item in fields(cls):
        name = f"{prefix}{item.name}"
        value = hints[item.name] if isinstance(section, type) else getattr(section, item.name)
        if is_dataclass(hints[item.name]):
            yield from walk(value, f"{name}.")
        else:
            yield name, item, hints[item.name], None if isinstance(section, type) else value


def expected(item: Field[Any], hint: Any) -> str:
    """The values that a setting takes, in words."""
    info: FieldInfo = item.metadata["info"]
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", list: "a list"}
    members = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    kinds = [get_origin(member) or member for member in members if member is not type(None)]
    if info.choices is not None:
        words = f"one of {', '.join(info.choices)}"
    else:
        words = " or ".join("keys and values" if kind is dict else names[kind] for kind in kinds)
        if kinds == [list] and float in get_args(next(member for member in members if get_args(member))):
            words += " of numbers"
    words += _range(info)
    return f"{words}, or null" if type(None) in get_args(hint) else words


def check_ranges(settings: Any) -> None:
    """Raise InputError for the first number outside its range or text outside its choices."""
    for name, item, hint, value in walk(settings):
        info: FieldInfo = item.metadata["info"]
        if value is None:
            continue
        if info.choices is not None and value not in info.choices:
            raise InputError(f"{name} must be {expected(item, hint)}, got {value!r}")
        if isinstance(value, int | float) and not isinstance(value, bool):
            low = -math.inf if info.low is None else info.low
            high = math.inf if info.high is None else info.high
            if not (math.isfinite(value) and low <= value <= high):
                raise InputError(f"{name} must be {expected(item, hint)}, got {value!r}")


def _range(info: FieldInfo) -> str:
    if info.low is None:
        return ""
    return f", {info.low:g} or more" if info.high is None else f", {info.low:g} to {info.high:g}"
