"""The options of a prediction."""

from __future__ import annotations

from dataclasses import dataclass, fields

from medups.data.labels import LabelSet
from medups.errors import InputError


@dataclass(frozen=True)
class PredictOptions:
    """Which scans are accepted, how they are segmented, and what is written.

    Args:
        formats: of masks in a folder: nifti, nrrd, dicom-seg, rtstruct.
        organs: only these are written; None for all.
        uncertainty: write the uncertainty of each voxel in percent, ``NAME.uncertainty.nii.gz``.
        preview: write a picture of each mask, ``NAME.preview.png``.
        series: only DICOM series with this description, number or uid.
        resample: interpolate DICOM slices at uneven distances to an even grid, which the mask then has.
        force: segment scans of another modality, or whose intensities cannot be Hounsfield units.
        mirror: average over mirrored images, which takes 4 or 8 times longer.
        bf16: run the network in bfloat16.
        largest_component: organs of which only the largest part stays.
        fill_holes: organs whose holes are filled.
    """

    formats: tuple[str, ...] = ("nifti",)
    organs: tuple[str, ...] | None = None
    uncertainty: bool = False
    preview: bool = False
    series: str | None = None
    resample: bool = False
    force: bool = False
    mirror: bool = False
    bf16: bool = False
    largest_component: tuple[str, ...] = ()
    fill_holes: tuple[str, ...] = ()

    def check_pictures(self) -> None:
        """Raise InputError for options that a model of pictures does not have."""
        allowed = ("preview", "bf16")
        other = [item.name for item in fields(self) if item.name not in allowed]
        wrong = [name for name in other if getattr(self, name) != getattr(PredictOptions(), name)]
        if wrong:
            raise InputError(f"{', '.join(wrong)}: not available for a model of pictures, only {' and '.join(allowed)}")

    def check(self, labels: LabelSet) -> None:
        """Raise InputError for an organ that is not in ``labels``, or for none."""
        if self.organs is not None and not self.organs:
            raise InputError("organs: name at least one, or omit it for all")
        for name, organs in (
            ("organs", self.organs), ("largest_component", self.largest_component), ("fill_holes", self.fill_holes),
        ):  # fmt: skip
            unknown = [organ for organ in organs or () if organ not in labels.names]
            if unknown:
                raise InputError(
                    f"{name}: unknown organ {', '.join(map(repr, unknown))}; the model knows {', '.join(labels.names)}"
                )
