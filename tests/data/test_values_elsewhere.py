"""Files that name other files for their voxels: none but one beside a header is read."""

from __future__ import annotations

import numpy as np
import pytest

from medups.data.volumes.read import read_scan
from medups.errors import InputError


def test_h5_files_whose_values_are_elsewhere(tmp_path):
    """A file from others must not show what else is on the disk."""
    h5py = pytest.importorskip("h5py")
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(27)))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["image"] = np.zeros((3, 3, 3), np.float32)
    layout = h5py.VirtualLayout((3, 3, 3), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "image", shape=(3, 3, 3))
    for name, reason in (
        ("external", "another file"), ("virtual", "another file"), ("link", "a link to another file"),
        ("empty", "expected image with three axes"),
    ):  # fmt: skip
        path = tmp_path / f"{name}.npy.h5"
        with h5py.File(path, "w") as file:
            if name == "external":
                file.create_dataset("image", (3, 3, 3), "u1", external=[(str(secret), 0, 27)])
            elif name == "virtual":
                file.create_virtual_dataset("image", layout)
            elif name == "link":
                file["image"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "image")
            else:
                file["image"] = np.zeros((0, 3, 3), np.float32)
        with pytest.raises(InputError, match=reason):
            read_scan(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a" * 400, "does not exist"),
        ("missing.raw", "does not exist"),
        (".", "does not exist"),
        ("b\0c", "too long or no text"),
        ("../x.raw", "in one file beside"),
        ("/etc/passwd", "in one file beside"),
    ],
)
def test_headers_that_name_no_file_of_voxels(tmp_path, name, reason):
    path = tmp_path / "scan.nhdr"
    fields = ["NRRD0004", "type: short", "dimension: 3", "sizes: 2 2 2", "encoding: raw", "endian: little",
              f"data file: {name}"]  # fmt: skip
    path.write_text("\n".join(fields) + "\n\n")
    with pytest.raises(InputError, match=reason):
        read_scan(path)
