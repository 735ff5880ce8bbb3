"""Changes to the structure of HDF5 files."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
from numpy.random import Generator


def changed_h5(content: bytes, rng: Generator) -> bytes:
    """Another object under one of the names: links, groups, promises, types, and values in other files."""
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        name = str(rng.choice(["image", "label"]))
        values = np.asarray(file[name])
        del file[name]
        huge = (10**6, 10**6, 4)
        layout = h5py.VirtualLayout(huge, "f4")
        layout[0] = h5py.VirtualSource("/etc/hostname", "image", shape=huge[1:])
        compound = np.zeros(4, [("a", "f4"), ("b", "i8")])
        choices: list[Callable[[], Any]] = [
            lambda: file.create_group(name).create_dataset(name, data=values),
            lambda: file.__setitem__(name, h5py.SoftLink(f"/{name}")),
            lambda: file.__setitem__(name, h5py.SoftLink("/")),
            lambda: file.__setitem__(name, h5py.ExternalLink("/etc/hostname", "/")),
            lambda: file.__setitem__(name, h5py.ExternalLink("case0001_slice000.npz", name)),
            lambda: file.create_dataset(name, (9,), "u1", external=[("/etc/passwd", 0, 9)]),
            lambda: file.create_virtual_dataset(name, layout),
            lambda: file.create_dataset(name, huge, "f4", chunks=(1, 1000, 1000), compression="gzip"),
            lambda: file.create_dataset(name, values.shape, "f4", fillvalue=float(rng.choice([np.nan, np.inf, 1e38]))),
            lambda: file.create_dataset(name, data=np.zeros(rng.integers(0, 3, int(rng.integers(0, 6))))),
            lambda: file.create_dataset(name, data=values.astype(str(rng.choice(["f2", "f8", "c8", "?", "i8", "S3"])))),
            lambda: file.create_dataset(name, data=compound),
            lambda: file.create_dataset(name, data=[b"text"] * 3, dtype=h5py.string_dtype()),
            lambda: file.create_dataset(name, data=[file.ref] * 3, dtype=h5py.ref_dtype),
            lambda: file.create_dataset(name, data=h5py.Empty("f4")),
            lambda: file.create_dataset(name, data=values[..., :-1]),
            lambda: file.create_dataset(name, data=values, chunks=(1, 3, 3), compression="lzf", fletcher32=True),
        ]  # fmt: skip
        choices[int(rng.integers(0, len(choices)))]()
    return buffer.getvalue()
