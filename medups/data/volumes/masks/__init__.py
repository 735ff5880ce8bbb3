"""Label masks on disk, on the grid of their scan, in the formats that viewers and archives read."""

from medups.data.volumes.masks.formats import FORMATS, case_files, write_masks
from medups.data.volumes.masks.nifti import labels_file, nifti_mask_bytes

__all__ = ["FORMATS", "case_files", "labels_file", "nifti_mask_bytes", "write_masks"]
