"""COCO's run-length code of masks: lengths of runs down the columns, of zeros first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST = 48  # the character of the number 0
_BITS = 5


def encode(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """The compressed code of a mask [H, W], as COCO's tools write it."""
    return {"size": list(mask.shape), "counts": to_text(_counts(mask))}


def decode(code: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask [H, W] of a code, compressed or not.

    Raises:
        ValueError: not a code of a mask of this size.
    """
    if not isinstance(code, dict) or code.get("size") != list(size):
        actual = code.get("size") if isinstance(code, dict) else code
        raise ValueError(f"expected a run-length code of the size {list(size)}, found {str(actual)[:40]}")
    counts = code.get("counts")
    if isinstance(counts, str):
        counts = from_text(counts)
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise ValueError("run lengths must be whole numbers, 0 or more")
    if sum(counts) != size[0] * size[1]:
        raise ValueError(f"run lengths add up to {sum(counts)}, expected {size[0]} x {size[1]}")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size[::-1]).T


def _counts(mask: NDArray[np.bool_]) -> list[int]:
    flat = mask.T.ravel()
    if not flat.size:
        return []
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return [*([0] if flat[0] else []), *np.diff([0, *changes.tolist(), flat.size]).tolist()]


def to_text(counts: Sequence[int]) -> str:
    """Lengths as characters of five bits each; from the fourth on, differences from the length two before."""
    characters = []
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        more = True
        while more:
            part = value & 31
            value >>= _BITS
            more = value != -1 if part & 16 else value != 0
            characters.append(chr(part + (32 if more else 0) + _FIRST))
    return "".join(characters)


def from_text(text: str) -> list[int]:
    """The inverse of :func:`to_text`. Raises ValueError for other text."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        part = ord(character) - _FIRST
        if not 0 <= part < 64 or shift > 60:
            raise ValueError("the compressed run lengths contain other characters, or numbers without an end")
        value |= (part & 31) << shift
        shift += _BITS
        if not part & 32:
            if part & 16:
                value -= 1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    if shift:
        raise ValueError("the compressed run lengths end within a number")
    return counts
