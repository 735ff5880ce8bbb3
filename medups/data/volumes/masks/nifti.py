"""NIfTI masks, and the table of ids beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medups.data.volumes.nifti import NiftiPlacement, nifti_file_bytes
from medups.data.volumes.volume import Volume


def labels_file(mask: Path) -> Path:
    """The label table beside a mask: ``X.nii.gz`` has ``X.labels.json``."""
    return mask.with_name(mask.name.removesuffix(".gz").removesuffix(".nii") + ".labels.json")


def nifti_mask_bytes(path: Path, values: NDArray[np.uint8], scan: Volume) -> bytes:
    """The content of a NIfTI file with one value for each voxel of ``scan``, placed by the scan's own header."""
    placement = scan.header if isinstance(scan.header, NiftiPlacement) else None
    return nifti_file_bytes(path, values, scan.affine, placement)
