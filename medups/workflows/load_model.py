"""A trained model for images in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from medups.bundle.model import Model, load_bundle
from medups.data.volumes.read import checked_scan
from medups.inference.images import as_volume
from medups.inference.segment import require_usable, segment
from medups.io.files import user_path
from medups.workflows.predict import available_device


@dataclass(frozen=True)
class Prediction:
    """A segmented image.

    Args:
        mask: uint8 ids, of the same type and on the same grid as the image.
        organs: names by id; 0 is background.
    """

    mask: Any
    organs: Mapping[int, str]


@dataclass(frozen=True)
class SegmentationModel:
    """A model on a device. ``predict`` may be called from several threads at once."""

    model: Model
    device: torch.device

    @property
    def organs(self) -> Mapping[int, str]:
        """Names of the segmented organs, by id."""
        return self.model.labels.organs

    def predict(self, image: Any, spacing: Sequence[float] | None = None, force: bool = False) -> Prediction:
        """Segment an image in memory.

        Args:
            image: a NumPy array or torch tensor [S, P, L] in Hounsfield units, with axes toward head, back and the
                patient's left; a 3-D nibabel or SimpleITK image; or a MONAI MetaTensor with or without a channel axis.
            spacing: millimeters along the axes of an array or plain tensor; required by 3-D models only.
            force: accept intensities that cannot be Hounsfield units.

        Returns:
            The mask, of the same type and on the same grid as ``image``, and organ names.

        Raises:
            InputError: an unsupported type of image, values that are not finite, all equal or impossible for a CT, or a
                missing spacing.
        """
        volume, restore = as_volume(image, self.model.orientation, spacing)
        scan = checked_scan(volume)
        require_usable(self.model, scan, force)
        return Prediction(restore(segment(self.model, scan, self.device).ids), self.organs)


def load_model(bundle: str | Path, device: torch.device | str | None = None) -> SegmentationModel:
    """Read a trained model for images in memory.

    Args:
        bundle: the folder that training wrote.
        device: by default a GPU if there is one.

    Raises:
        InputError: an invalid or damaged bundle, or a device that is not available.
    """
    chosen = available_device(device)
    return SegmentationModel(load_bundle(user_path(bundle), chosen), chosen)
