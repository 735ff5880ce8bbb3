"""Changes to valid files: of bytes, and of the parts that each format has. ``rng`` decides everything."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.random import Generator

from tests.fuzz.h5 import changed_h5
from tests.fuzz.seeds import dataset_of

CANARY = "canary"  # a file that code hidden in an input would write
_CALL = f"open('{CANARY}', 'w')"
_NUMBERS: list[Any] = [
    0, 1, -1, 2, 255, 256, 2**15, 2**31 - 1, -(2**31), 2**32, 2**63 - 1, 10**12, 10**30, 0.5, -0.0, 1e-320, 1e38, 1e308,
    float("nan"), float("inf"), float("-inf"),
]  # fmt: skip
_TEXTS = [
    "", " ", "\x00", "é" * 3, "../../evil", "/etc/passwd", "a" * 5000, "NaN", "1e400", "true", "-1", "${oc.env:HOME}",
    "$" + _CALL, "os.system", "builtins.eval", "torch.hub.load", "\ud800",
]  # fmt: skip
_HOSTILE_YAML = f'!!python/object/apply:builtins.eval ["{_CALL}"]'
_TARGETS = [
    "os.system",
    "builtins.eval",
    "subprocess.run",
    "torch.load",
    "monai.bundle.load",
    "pathlib.Path.write_text",
]


def mutate(path: Path, rng: Generator) -> bytes | None:
    """Changed content for the file at ``path``; None to delete it."""
    content = path.read_bytes()
    if rng.random() < 0.02:
        return None
    special = _SPECIAL.get("".join(path.suffixes[-1:]))
    if special is not None and rng.random() < 0.7:
        try:
            return special(content, rng)
        except Exception:  # what a library refuses to build is left to changes of bytes
            return changed_bytes(content, rng)
    return changed_bytes(content, rng)


def changed_bytes(content: bytes, rng: Generator) -> bytes:
    """One to four changes anywhere, early bytes more often, because headers are there."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            return bytes(rng.integers(0, 256, 20).astype(np.uint8))
        place = int(rng.integers(0, max(1, len(data) if rng.random() < 0.5 else min(len(data), 400))))
        length = int(min(len(data) - place, 2 ** rng.integers(0, 10)))
        kind = rng.integers(0, 8)
        if kind == 0:
            data[place] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            del data[place : place + length]
        elif kind == 3:
            data[place:place] = data[place : place + length]
        elif kind == 4:
            data[place : place + length] = bytes(length)
        elif kind == 5:
            data[place : place + length] = b"\xff" * length
        elif kind == 6:
            data[place : place + length] = rng.integers(0, 256, length).astype(np.uint8).tobytes()
        else:
            number = _packed(rng)
            data[place : place + len(number)] = number
    return bytes(data)


def _packed(rng: Generator) -> bytes:
    code = "<>"[int(rng.integers(0, 2))] + "hiqfd"[int(rng.integers(0, 5))]
    value = _NUMBERS[int(rng.integers(0, len(_NUMBERS)))]
    try:
        return struct.pack(code, value if code[1] in "fd" else int(value))
    except (struct.error, OverflowError, ValueError):
        return struct.pack("<q", 2**62)


def _value(rng: Generator, depth: int = 0) -> Any:
    kind = rng.integers(0, 8)
    if kind < 3:
        return _NUMBERS[int(rng.integers(0, len(_NUMBERS)))]
    if kind < 6:
        return _TEXTS[int(rng.integers(0, len(_TEXTS)))]
    if kind == 6 or depth > 2:
        return [None, True, [], {}][int(rng.integers(0, 4))]
    return [_value(rng, depth + 1) for _ in range(int(rng.integers(0, 4)))]


def changed_json(content: bytes, rng: Generator) -> bytes:
    """A tree with one to three changed, removed, repeated or moved nodes; sometimes a very deep one."""
    if rng.random() < 0.02:
        return b"[" * 100_000
    tree = [json.loads(content)]
    for _ in range(int(rng.integers(1, 4))):
        nodes = list(_nodes(tree))
        parent, key = nodes[int(rng.integers(0, len(nodes)))]
        kind = rng.integers(0, 6)
        if kind == 0 and parent is not tree:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict):
            parent[str(_TEXTS[int(rng.integers(0, len(_TEXTS)))])] = parent.pop(key)
        elif kind == 2 and isinstance(parent, list):
            parent.append(parent[key])
        elif kind == 3:
            other, place = nodes[int(rng.integers(0, len(nodes)))]
            parent[key] = json.loads(json.dumps(other[place], default=str))
        elif kind == 4 and isinstance(parent, dict) and "_target_" in parent:
            parent["_target_"] = _TARGETS[int(rng.integers(0, len(_TARGETS)))]
        else:
            parent[key] = _value(rng)
    return json.dumps(tree[0]).encode()


def _nodes(tree: Any) -> Any:
    for key in range(len(tree)) if isinstance(tree, list) else list(tree):
        yield tree, key
        if isinstance(tree[key], list | dict):
            yield from _nodes(tree[key])


def changed_yaml(content: bytes, rng: Generator) -> bytes:
    lines = content.decode().splitlines()
    place = int(rng.integers(0, len(lines)))
    if rng.random() < 0.3:
        lines[place] = f"{lines[place].partition(':')[0]}: {_HOSTILE_YAML}"
    elif rng.random() < 0.2:
        lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]" for n in range(9)] + lines
    else:
        lines[place] = f"{lines[place].partition(':')[0]}: {_value(rng)!r}"
    return "\n".join(lines).encode(errors="surrogatepass")


def changed_nifti(content: bytes, rng: Generator) -> bytes:
    """A header field with an extreme value; the checks of nibabel are skipped."""
    second = content[4:8] == b"n+2\x00"
    header_class = nib.Nifti2Header if second else nib.Nifti1Header
    size = header_class.sizeof_hdr
    header = header_class(content[:size], check=False)
    for _ in range(int(rng.integers(1, 4))):
        names = header.structarr.dtype.names
        name = "dim" if rng.random() < 0.3 else names[int(rng.integers(0, len(names)))]
        field = header.structarr[name]
        with np.errstate(all="ignore"):
            value = np.array(_NUMBERS[int(rng.integers(0, len(_NUMBERS)))], dtype=np.float64)
            value = value.astype(field.dtype) if field.dtype.kind in "iuf" else field
        if field.ndim:
            field[int(rng.integers(0, field.size))] = value.flat[0] if field.dtype.kind in "iuf" else field.flat[0]
        else:
            header.structarr[name] = value
    return bytes(header.structarr.tobytes()) + content[size:]


def changed_gzip(content: bytes, rng: Generator) -> bytes:
    if rng.random() < 0.3:
        return changed_bytes(content, rng)
    inner = gzip.decompress(content)
    if rng.random() < 0.05:
        inner += bytes(2**28)  # a bomb
    else:
        inner = changed_nifti(inner, rng) if rng.random() < 0.7 else changed_bytes(inner, rng)
    return gzip.compress(inner, 1, mtime=0)


def changed_header_lines(content: bytes, rng: Generator) -> bytes:
    """A line of a text header before binary voxels, as in NRRD and MetaImage."""
    end = content.find(b"\n\n") if b"\n\n" in content[:2000] else content.find(b"ElementDataFile")
    head, rest = content[:end], content[end:]
    lines = head.split(b"\n")
    place = int(rng.integers(0, len(lines)))
    name, separator, _ = lines[place].partition(b":" if b":" in lines[place] else b"=")
    values = [
        "1000000 1000000 1000000", "0 0 0", "-1 5 5", "nan nan nan", "(0,0,0) (0,0,0) (0,0,0)", "/etc/passwd", "gzip",
        "raw", "double", "block", "4", "LOCAL", str(_value(rng)),
    ]  # fmt: skip
    text = values[int(rng.integers(0, len(values)))]
    lines[place] = name + separator + b" " + text.encode(errors="replace")
    return b"\n".join(lines) + rest


def changed_dicom(content: bytes, rng: Generator) -> bytes:
    dataset = dataset_of(content)
    elements = [element for element in dataset if element.VR not in ("SQ",)]
    for _ in range(int(rng.integers(1, 3))):
        element = elements[int(rng.integers(0, len(elements)))]
        if rng.random() < 0.3:
            dataset.pop(element.tag, None)
            continue
        value = _value(rng)
        element._value = str(value) if isinstance(value, float) else value
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=False)
    return buffer.getvalue()


def changed_zip(content: bytes, rng: Generator) -> bytes:
    """A member with changed content, name or promised size; also npz files and checkpoints."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    place = int(rng.integers(0, len(members)))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if rng.random() < 0.5 else zipfile.ZIP_STORED) as archive:
        for number, (info, data) in enumerate(members):
            name = info.filename
            if number == place:
                kind = rng.integers(0, 4)
                if kind == 0:
                    name = f"../{CANARY}"
                elif kind == 1 and rng.random() < 0.2:
                    data = bytes(2**28)
                elif kind == 2 and name.endswith(".pkl"):
                    data = _pickle_that_runs(data)
                else:
                    data = _changed_npy(data, rng) if name.endswith(".npy") else changed_bytes(data, rng)
            archive.writestr(name, data)
    return buffer.getvalue()


def _changed_npy(data: bytes, rng: Generator) -> bytes:
    shapes = [b"(1000000, 1000000)", b"(-1, 7)", b"()", b"(10**6,)", b"(0, 7)", b"(6, 7), 'x': 1"]
    start, end = data.find(b"("), data.find(b")") + 1
    if rng.random() < 0.5 or start < 0:
        return data.replace(b"<f4", [b"|O8", b"<U9", b"<c8", b"<f8"][int(rng.integers(0, 4))], 1)
    return data[:start] + shapes[int(rng.integers(0, len(shapes)))] + data[end:]


def _pickle_that_runs(data: bytes) -> bytes:
    """A pickle that would write a file when it is loaded."""
    return b"\x80\x02cbuiltins\neval\n(X" + struct.pack("<i", len(_CALL)) + _CALL.encode() + b"tR."


def changed_png(content: bytes, rng: Generator) -> bytes:
    """A chunk with another content and a right checksum, such as a size that the pixels do not have."""
    chunks, place = [], 8
    while place + 12 <= len(content):
        length = struct.unpack(">I", content[place : place + 4])[0]
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    chosen = int(rng.integers(0, len(chunks)))
    if rng.random() < 0.5:
        header = bytearray(chunks[0][1])
        side = int(rng.choice([0, 1, 2**16, 2**31 - 1, 10**5]))
        header[:4] = struct.pack(">I", side)
        chunks[0] = chunks[0][0], bytes(header)
    elif rng.random() < 0.3:
        chunks.insert(chosen, chunks[chosen])
    else:
        chunks[chosen] = chunks[chosen][0], changed_bytes(chunks[chosen][1], rng)
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return content[:8] + b"".join(parts)


_SPECIAL: dict[str, Callable[[bytes, Generator], bytes]] = {
    ".nii": changed_nifti,
    ".gz": changed_gzip,
    ".nrrd": changed_header_lines,
    ".mha": changed_header_lines,
    ".dcm": changed_dicom,
    ".npz": changed_zip,
    ".h5": changed_h5,
    ".zip": changed_zip,
    ".pt": changed_zip,
    ".json": changed_json,
    ".yaml": changed_yaml,
    ".png": changed_png,
}
