"""The settings as text: with their values for a terminal, and as tables for the documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from typing import Any, get_type_hints

from medups.settings.fields import FieldInfo, expected, walk
from medups.settings.schema import Settings


def setting_lines(settings: Settings) -> Iterator[str]:
    """One line per setting: ``key=value``, and its meaning as a comment."""
    for name, item, hint, value in walk(settings):
        info: FieldInfo = item.metadata["info"]
        unit = f" [{info.unit}]" if info.unit else ""
        yield f"{name}={_text(value)}  # {info.text}{unit} ({expected(item, hint)})"


def setting_tables() -> Iterator[str]:
    """Markdown: one section per group with a table of its settings."""
    yield from _table("Top level", Settings, "")
    for item in fields(Settings):
        section = get_type_hints(Settings)[item.name]
        if hasattr(section, "__dataclass_fields__"):
            yield from _table(f"`{item.name}`", section, f"{item.name}.")


def _table(title: str, section: type, prefix: str) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"{section.__doc__}\n"
    yield "| setting | meaning | takes | schema default |"
    yield "|---|---|---|---|"
    for name, item, hint, _ in walk(section, prefix):
        if not prefix and "." in name:
            continue
        info: FieldInfo = item.metadata["info"]
        unit = f", {info.unit}" if info.unit else ""
        yield f"| `{name}` | {info.text} | {expected(item, hint)}{unit} | `{_text(_default(item))}` |"
    yield ""


def _default(item: Field[Any]) -> Any:
    if item.default_factory is not MISSING:
        return item.default_factory()
    return item.default


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
