"""Convert errors of Hydra and OmegaConf to messages that name the setting and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches

from hydra.errors import OverrideParseException
from omegaconf.errors import ValidationError

from medups.errors import InputError
from medups.io.shipped import configs_dir
from medups.settings.fields import expected, walk
from medups.settings.schema import Settings

_VALUE = re.compile(r"Value '(.*?)'(?: of type| could not| is not|$| \()", re.S)
_MERGING = re.compile(r"Error merging override [^=]+=(.*)", re.S)
_NO_KEY = re.compile(r"Key '([^']+)' (?:is not in struct|not in)|Could not override '([^']+)'")
_NO_CHOICE = re.compile(r"(?:Could not find|In '[^']*': Could not find) '([^'/]+)/([^']+)'")


def explain(error: Exception) -> InputError:
    """Convert the error to an InputError."""
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, InputError):  # raised while a value was resolved
            return cause
    if isinstance(error, OverrideParseException):
        reason = f"{error.override}: expected key=value; quote text with special characters twice: \"key='text'\""
        return InputError(f"invalid setting: {reason}")
    override = _MERGING.search(str(error))
    for cause in chain:
        if message := _invalid_value(cause, override and override[1]) or _unknown(str(cause)):
            return InputError(message)
    reason = str(error) or str(error.__cause__)
    return InputError(f"invalid setting: {' '.join(reason.split())}; for groups and keys, see {configs_dir()}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _invalid_value(error: BaseException, override: str | None) -> str | None:
    """For a value of the wrong type: a message with the setting, its allowed values, and the value."""
    key = error.full_key if isinstance(error, ValidationError) else None
    value = _VALUE.search(str(error))
    for name, item, hint, _ in walk(Settings):
        if key and (key == name or key.startswith(f"{name}[")):
            return f"{name} must be {expected(item, hint)}, got {value[1] if value else override!r}"
    return None


def _unknown(message: str) -> str | None:
    """For an unknown key or choice: a message with the nearest known one."""
    if choice := _NO_CHOICE.search(message):
        group, name = choice.groups()
        known = sorted(path.stem for path in (configs_dir() / group).glob("*.yaml"))
        return f"{group}={name}: unknown choice{_nearest(name, known)}; choices are {', '.join(known)}"
    if key := _NO_KEY.search(message):
        name = key[2] or key[1]
        full = re.search(r"full_key: (\S+)", message)
        name = full[1] if full else name
        known = [path for path, *_ in walk(Settings)]
        known += sorted({path.rpartition(".")[0] for path in known if "." in path})
        return f"{name}: unknown setting{_nearest(name, known)}; medups train --print lists all settings"
    return None


def _nearest(name: str, known: list[str]) -> str:
    match = get_close_matches(name, known, n=1, cutoff=0.4)
    return f"; did you mean {match[0]}?" if match else ""
