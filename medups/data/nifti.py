"""NIfTI files, read only when they are whole and written reproducibly."""

from __future__ import annotations

import gzip
import io
import logging
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from medups.errors import InputError
from medups.files import gzip_bytes, write_bytes

logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # what it mends in a header it would print


@dataclass(frozen=True)
class Volume:
    """Voxels [i, j, k] and the affine from voxel indices to RAS+ millimetres.

    has_spacing: False where the file tells directions alone; the affine's lengths then mean nothing.
    """

    data: NDArray[Any]
    affine: NDArray[np.float64]
    source: str
    has_spacing: bool = True

    def require_spacing(self, purpose: str) -> None:
        """Raise InputError where millimetres are not known."""
        if not self.has_spacing:
            raise InputError(f"{self.source}: its spacing in millimetres was not kept, which {purpose} needs")

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels along i, j and k."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return i, j, k


def read_nifti(path: Path) -> Volume:
    """Read a 3-D NIfTI file, .nii or .nii.gz.

    Compressed files are read to their end, so that length and checksum are checked before any work.

    Raises:
        InputError: no such file, not a NIfTI, cut or damaged, not 3-D, or without a usable affine.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path}: the compressed file is cut or damaged ({error}); get it again") from error
    kind = _kind(content, path)
    start = content[: kind.header_class.sizeof_hdr]
    try:
        raw = kind.header_class.from_fileobj(io.BytesIO(start), check=False)  # a check would make zeros ones
        header = kind.header_class.from_fileobj(io.BytesIO(start), check=True)
        shape, dtype, offset = header.get_data_shape(), header.get_data_dtype(), int(header["vox_offset"])
    except (HeaderDataError, ValueError) as error:
        raise InputError(f"{path}: the NIfTI header is damaged ({error})") from error
    expected = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if len(content) < expected or offset < kind.header_class.sizeof_hdr:
        raise InputError(f"{path}: the file is cut: {len(content)} bytes found, {expected} expected; get it again")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"{path}: expected a 3-D volume, found {len(shape)} axes of {shape}; give one volume a file")
    steps = raw["pixdim"][1:4].tolist()
    if raw["sform_code"] == 0 and not all(step > 0 for step in steps):
        raise InputError(f"{path}: expected a spacing above zero, found {steps} mm; mend the header")
    image = kind.from_bytes(content)
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(f"{path}: the affine is not invertible (a spacing of zero?): {affine[:3].tolist()}")
    data = np.asanyarray(image.dataobj).reshape(shape)
    if data.dtype.names is not None or data.dtype.kind == "c":
        raise InputError(f"{path}: expected one number a voxel, found {data.dtype}")
    return Volume(data, affine, str(path))


def write_nifti(path: Path, data: NDArray[np.generic], affine: NDArray[np.float64]) -> None:
    """Write ``data`` whole or not at all; compressed where the name ends in .gz."""
    write_bytes(path, volume_bytes(path, data, affine))


def volume_bytes(path: Path, data: NDArray[np.generic], affine: NDArray[np.float64]) -> bytes:
    """What a file of that name holds."""
    return nifti_bytes(data, affine) if path.name.endswith(".gz") else _plain_bytes(data, affine)


def nifti_bytes(data: NDArray[np.generic], affine: NDArray[np.float64]) -> bytes:
    """A compressed NIfTI-1 file of ``data`` in its own type; the same input gives the same bytes."""
    return gzip_bytes(_plain_bytes(data, affine))


def _plain_bytes(data: NDArray[np.generic], affine: NDArray[np.float64]) -> bytes:
    image = nib.Nifti1Image(data, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units("mm")
    return image.to_bytes()


def _kind(content: bytes, path: Path) -> type[nib.Nifti1Image]:
    if content[344:348] == b"n+1\x00":
        return nib.Nifti1Image
    if content[4:8] == b"n+2\x00":
        return nib.Nifti2Image
    raise InputError(f"{path}: not a NIfTI file (.nii or .nii.gz)")
