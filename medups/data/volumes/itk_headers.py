"""Checks of the text headers of NRRD and MetaImage files, whose parsers in ITK crash on some damaged ones."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from medups.data.volumes.volume import MAX_VOXELS
from medups.errors import InputError
from medups.io.files import LARGEST_RATIO

_LONGEST_HEADER = 2**20  # bytes
_LONGEST_FIELD = 1000  # characters
_MOST_AXES = 10
_NRRD_TYPES = {
    1: ("int8", "signed char", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"),
    2: ("short", "short int", "signed short", "signed short int", "int16", "int16_t", "ushort", "unsigned short",
        "unsigned short int", "uint16", "uint16_t"),
    4: ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"),
    8: ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t",
        "ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t", "double"),
}  # fmt: skip
_META_TYPES = {
    1: ("MET_CHAR", "MET_UCHAR"), 2: ("MET_SHORT", "MET_USHORT"),
    4: ("MET_INT", "MET_UINT", "MET_LONG", "MET_ULONG", "MET_FLOAT"),
    8: ("MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"),
}  # fmt: skip
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def check_header(path: Path) -> Path | None:
    """The file of the voxels, if the header names one beside it.

    Raises:
        InputError: a header that is damaged, promises more voxels than the file can hold, or names a file of voxels
            that does not exist or is outside its folder.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_LONGEST_HEADER)
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return (_check_nrrd if path.suffix in (".nrrd", ".nhdr") else _check_meta)(path, start, size)


def voxels_beside(path: Path) -> Path | None:
    """The file of the voxels, if an intact header names one beside it; reading reports any other header."""
    with suppress(InputError):
        return check_header(path)
    return None


def _check_nrrd(path: Path, start: bytes, size: int) -> Path | None:
    if not re.match(rb"NRRD000[1-5]\r?\n", start):
        raise InputError(f"{path}: not a NRRD file")
    head = re.split(rb"\r?\n\r?\n", start, maxsplit=1)[0]
    fields: dict[str, str] = {}
    for line in head.decode("utf-8", errors="replace").splitlines()[1:]:
        name, separator, value = line.partition(":")
        if line.startswith("#") or not separator or value.startswith("="):  # a comment, or a key of another program
            continue
        fields[name.strip().lower()] = _field(path, name, value)
    axes = _axes(path, "dimension", fields)
    sizes = _counts(path, "sizes", fields, axes)
    width = _width(path, "type", fields.get("type", "").lower(), _NRRD_TYPES)
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz", "ascii", "text", "txt", "hex"):
        raise InputError(f"{path}: the encoding {encoding!r} is not supported; save it as raw or gzip")
    for name in ("space directions", "space origin", "spacings", "thicknesses", "axis mins", "axis maxs"):
        if (value := fields.get(name)) is not None:
            _check_numbers(path, name, re.sub(r"[(),]|\bnone\b|\bnan\b", " ", value, flags=re.IGNORECASE))
    for name in ("line skip", "lineskip", "byte skip", "byteskip"):
        if name in fields and not re.fullmatch(r"-?\d{1,9}", fields[name]):
            raise InputError(f"{path}: {name} must be a whole number, found {fields[name]!r}")
    external = fields.get("data file", fields.get("datafile"))
    return _check_size(path, sizes, width, size, external, encoding in ("raw", "hex"))


def _check_meta(path: Path, start: bytes, size: int) -> Path | None:
    head, found, rest = start.partition(b"ElementDataFile")
    if not found or not re.match(rb"[ \t]*=", rest):
        raise InputError(f"{path}: not a MetaImage file: ElementDataFile is missing")
    fields: dict[str, str] = {}
    for line in filter(str.strip, head.decode("utf-8", errors="replace").splitlines()):
        name, separator, value = line.partition("=")
        if not separator or not name.strip():
            raise InputError(f"{path}: the header is damaged: {line[:60]!r}")
        fields[name.strip()] = _field(path, name, value)
    axes = _axes(path, "NDims", fields)
    sizes = _counts(path, "DimSize", fields, axes)
    width = _width(path, "ElementType", fields.get("ElementType", ""), _META_TYPES)
    vectors = ("ElementSpacing", "ElementSize", "Offset", "Origin", "Position", "CenterOfRotation")
    lengths = {**dict.fromkeys(vectors, axes), **dict.fromkeys(("TransformMatrix", "Rotation", "Orientation"), axes**2)}
    for name, length in lengths.items():
        if name in fields and _check_numbers(path, name, fields[name]) != length:
            raise InputError(f"{path}: expected {length} numbers in {name}, found {fields[name][:60]!r}")
    for name in ("ElementNumberOfChannels", "HeaderSize", "CompressedDataSize"):
        if name in fields and not re.fullmatch(r"-?\d{1,18}", fields[name]):
            raise InputError(f"{path}: {name} must be a whole number, found {fields[name]!r}")
    channels = int(fields.get("ElementNumberOfChannels", "1"))
    if not 1 <= channels <= 2**10:
        raise InputError(f"{path}: ElementNumberOfChannels must be 1 to 1024, found {channels}")
    name = rest.partition(b"=")[2].split(b"\n")[0].decode("utf-8", errors="replace").strip()
    raw = fields.get("CompressedData", "False").lower() != "true"
    return _check_size(path, sizes, width * channels, size, None if name.upper() == "LOCAL" else name, raw)


def _field(path: Path, name: str, value: str) -> str:
    text = "".join(" " if letter.isspace() else letter for letter in value)
    if len(name) + len(value) > _LONGEST_FIELD or not text.isprintable():
        raise InputError(f"{path}: the header is damaged: the field {name[:40]!r} is too long or no text")
    return text.strip()


def _axes(path: Path, name: str, fields: Mapping[str, str]) -> int:
    value = fields.get(name, "")
    if not re.fullmatch(r"\d{1,2}", value) or not 1 <= int(value) <= _MOST_AXES:
        raise InputError(f"{path}: {name} must be a number of axes, 1 to {_MOST_AXES}, found {value!r}")
    return int(value)


def _counts(path: Path, name: str, fields: Mapping[str, str], axes: int) -> list[int]:
    parts = fields.get(name, "").split()
    if len(parts) != axes or not all(re.fullmatch(r"\d{1,10}", part) and int(part) > 0 for part in parts):
        raise InputError(f"{path}: {name} must be {axes} numbers above 0, found {' '.join(parts)[:60]!r}")
    return [int(part) for part in parts]


def _width(path: Path, name: str, value: str, types: Mapping[int, tuple[str, ...]]) -> int:
    for width, names in types.items():
        if value in names:
            return width
    raise InputError(f"{path}: the {name} {value[:40]!r} is not supported")


def _check_numbers(path: Path, name: str, text: str) -> int:
    parts = text.split()
    if not all(_NUMBER.fullmatch(part) for part in parts):
        raise InputError(f"{path}: {name} must be numbers, found {text.strip()[:60]!r}")
    return len(parts)


def _check_size(path: Path, sizes: list[int], width: int, size: int, external: str | None, raw: bool) -> Path | None:
    voxels = None
    if external is not None:
        name = PurePosixPath(external.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or external.upper().startswith("LIST") or "%" in external:
            raise InputError(f"{path}: the voxels are in {external!r}; put them in one file beside the header")
        voxels = path.parent / name
        try:
            size = voxels.stat().st_size if voxels.is_file() else -1
        except (OSError, ValueError):  # no file can have this name
            size = -1
        if size < 0:
            raise InputError(f"{path}: the voxels are in {external[:80]}, which does not exist beside the header")
    promised = math.prod(sizes) * width
    if math.prod(sizes) > MAX_VOXELS or promised > size * (1 if raw else LARGEST_RATIO):
        raise InputError(
            f"{path}: the file is truncated or its header is damaged: {size} bytes found, {sizes} voxels promised"
        )
    return voxels
