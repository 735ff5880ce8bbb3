"""NIfTI files: read only if they are intact, written reproducibly."""

from __future__ import annotations

import gzip
import io
import logging
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.fileholders import FileHolder
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from medups.data.volumes.grid import farthest_apart, same_grid
from medups.data.volumes.volume import (
    MAX_VOXELS,
    RIGHT_ANGLE,
    Volume,
    places_voxels,
    shear_degrees,
    without_trailing_ones,
)
from medups.errors import InputError
from medups.io.files import LARGEST_RATIO, gzip_bytes

logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # nibabel would log every header repair

_PLACEMENT = (
    "sform_code", "srow_x", "srow_y", "srow_z", "qform_code", "quatern_b", "quatern_c", "quatern_d",
    "qoffset_x", "qoffset_y", "qoffset_z",
)  # fmt: skip
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}  # meters and micrometers; millimeters and unknown units count as millimeters
_LONGEST_AXIS = 2**15 - 1  # voxels in a NIfTI-1 header
_LONGEST_HEADER = 540
_MOST_EXTRA = 2**20  # bytes after the voxels
_DAMAGED = (HeaderDataError, WrapStructError, ValueError, OverflowError)


@dataclass(frozen=True)
class NiftiPlacement:
    """The header fields that place voxels in space, as stored: both transforms, their codes, steps and units."""

    fields: dict[str, Any]
    pixdim: tuple[float, ...]
    units: int

    @classmethod
    def of(cls, header: nib.Nifti1Header) -> NiftiPlacement:
        fields = {name: header[name].tolist() for name in _PLACEMENT}
        return cls(fields, tuple(header["pixdim"][:4].tolist()), int(header["xyzt_units"]) & 7)

    def write_to(self, header: nib.Nifti1Header) -> None:
        for name, value in self.fields.items():
            header[name] = value
        header["pixdim"][:4] = self.pixdim
        header["xyzt_units"] = self.units


def read_nifti(path: Path) -> Volume:
    """Read a 3-D NIfTI file: .nii, .nii.gz, or .hdr with its .img.

    Compressed files are read to the end, so that length and checksum are verified before any work.

    Raises:
        InputError: no such file, not NIfTI, truncated or damaged, not 3-D, or without a usable affine.
    """
    start = _content(path, _LONGEST_HEADER)[:_LONGEST_HEADER]
    image_class = _image_class(start, path)
    size = image_class.header_class.sizeof_hdr
    try:
        # the check would turn a spacing of 0 into 1
        raw = image_class.header_class.from_fileobj(io.BytesIO(start[:size]), check=False)
        header = image_class.header_class.from_fileobj(io.BytesIO(start[:size]), check=True)
        shape, dtype, offset = header.get_data_shape(), header.get_data_dtype(), int(header["vox_offset"])
        header.get_slope_inter()
    except _DAMAGED as error:
        raise InputError(f"{path}: the NIfTI header is damaged ({error})") from error
    pair = image_class in (nib.Nifti1Pair, nib.Nifti2Pair)
    if not pair and offset == 0:  # some writers leave the start of the voxels to the reader
        offset = header.single_vox_offset
        header["vox_offset"] = offset
    expected = offset + math.prod(shape) * dtype.itemsize
    if math.prod(shape) > MAX_VOXELS or min(shape, default=0) < 0 or offset < 0:
        raise InputError(f"{path}: the file is truncated or its header damaged: {shape} voxels from byte {offset}")
    content = _content(path, size if pair else expected)
    voxels = _content(path.with_suffix(".img"), expected) if pair else content
    if max(len(content) - (size if pair else expected), len(voxels) - expected) > _MOST_EXTRA:
        raise InputError(f"{path}: the header promises {expected} bytes, and the file has more; download it again")
    if offset != int(raw["vox_offset"]):
        content = header.binaryblock + content[size:]
    if len(voxels) < expected or (not pair and offset < size):
        raise InputError(
            f"{path}: the file is truncated: {len(voxels)} bytes found, {expected} expected; download it again"
        )
    return _volume(path, image_class, content, voxels, raw)


def _volume(path: Path, image_class: Any, content: bytes, voxels: bytes, raw: Any) -> Volume:
    """The volume of a file whose header and length are sound."""
    try:
        if image_class in (nib.Nifti1Image, nib.Nifti2Image):
            image = image_class.from_bytes(content)
        else:
            holders = {
                "header": FileHolder(fileobj=io.BytesIO(content)),
                "image": FileHolder(fileobj=io.BytesIO(voxels)),
            }
            image = image_class.from_file_map(holders)
        affine = np.asarray(image.affine, dtype=np.float64)
    except _DAMAGED as error:
        raise InputError(f"{path}: the NIfTI header is damaged ({error})") from error
    shape = without_trailing_ones(image.shape)
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(
            f"{path}: expected a 3-D volume, found {len(shape)} axes of {shape}; store one volume per file"
        )
    steps = raw["pixdim"][1:4].tolist()
    if raw["sform_code"] == 0 and not all(step > 0 for step in steps):
        raise InputError(f"{path}: expected a spacing above zero, found {steps} mm; repair the header")
    placement = NiftiPlacement.of(image.header)
    affine[:3] *= _MM_PER_UNIT.get(placement.units, 1.0)
    if not places_voxels(affine):
        raise InputError(f"{path}: the affine is not invertible (a spacing of zero?): {affine[:3].tolist()}")
    if image.get_data_dtype().names is not None or image.get_data_dtype().kind == "c":
        raise InputError(f"{path}: expected one number per voxel, found {image.get_data_dtype()}")
    stored: Any = image.dataobj
    unscaled = (stored.slope, stored.inter) == (1.0, 0.0)
    # nibabel's own choice would be float64
    data = np.asanyarray(stored) if unscaled else np.asarray(stored, dtype=np.float32)
    data = data.reshape(shape)
    return Volume(data, affine, str(path), header=placement, warnings=tuple(_warnings(image.header, affine, shape)))


def _warnings(header: Any, affine: NDArray[np.float64], shape: tuple[int, ...]) -> list[str]:
    """What different viewers would read differently."""
    warnings = []
    codes = int(header["sform_code"]), int(header["qform_code"])
    if min(codes) > 0:
        sform, qform = (matrix.astype(np.float64) for matrix in (header.get_sform(), header.get_qform()))
        scale = _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
        sform[:3] *= scale
        qform[:3] *= scale
        if not same_grid(sform, qform, shape):
            apart = farthest_apart(sform, qform, shape)
            warnings.append(
                f"sform and qform place voxels up to {apart:.1f} mm apart; medups reads the sform, some viewers read "
                "the qform, and the mask has both"
            )
    elif max(codes) == 0:
        warnings.append(
            "neither sform nor qform has a code, so the position in the patient and left and right are a guess"
        )
    if (shear := shear_degrees(affine)) > RIGHT_ANGLE:
        warnings.append(
            f"the grid is sheared by {shear:.1f} degrees (gantry tilt?), which only the sform holds; viewers that read "
            "the qform place slices elsewhere"
        )
    return warnings


def nifti_file_bytes(
    path: Path, data: NDArray[np.generic], affine: NDArray[np.float64], placement: NiftiPlacement | None = None
) -> bytes:
    """The content of a NIfTI file at ``path``; compressed if the name ends in .gz.

    Args:
        placement: header fields of another file on the same grid, to be kept as they are.
    """
    return (nifti_bytes if path.name.endswith(".gz") else _uncompressed_bytes)(data, affine, placement)


def nifti_bytes(
    data: NDArray[np.generic], affine: NDArray[np.float64], placement: NiftiPlacement | None = None
) -> bytes:
    """A compressed NIfTI-1 file of ``data`` in its own dtype; the same input gives the same bytes."""
    return gzip_bytes(_uncompressed_bytes(data, affine, placement))


def _uncompressed_bytes(
    data: NDArray[np.generic], affine: NDArray[np.float64], placement: NiftiPlacement | None = None
) -> bytes:
    image_class = nib.Nifti2Image if max(data.shape) > _LONGEST_AXIS else nib.Nifti1Image
    if placement is None:
        image = image_class(data, affine)
        image.set_qform(affine, 1)
        image.set_sform(affine, 1)
        image.header.set_xyzt_units("mm")
    else:
        image = image_class(data, None)
        image.update_header()
        placement.write_to(image.header)
    return image.to_bytes()


def _content(path: Path, promised: int) -> bytes:
    """The file's content, decompressed; of a much longer one only somewhat more than ``promised`` bytes."""
    most = promised + _MOST_EXTRA + 1
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if not compressed:
                return file.read(min(most, size))
            with gzip.GzipFile(fileobj=file) as unpacked:
                return unpacked.read(min(most, LARGEST_RATIO * size))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: the compressed file is truncated or damaged ({error}); download it again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _image_class(content: bytes, path: Path) -> type[nib.Nifti1Pair]:
    classes = {
        b"n+1\x00": nib.Nifti1Image, b"n+2\x00": nib.Nifti2Image,
        b"ni1\x00": nib.Nifti1Pair, b"ni2\x00": nib.Nifti2Pair,
    }  # fmt: skip
    found = classes.get(content[344:348]) or classes.get(content[4:8])
    if found is None:
        raise InputError(f"{path}: not a NIfTI file (.nii, .nii.gz, or .hdr with .img)")
    return found
