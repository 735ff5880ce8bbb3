"""A trained model for images in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medups.bundle.model import Model, load_bundle
from medups.data.pictures import to_ids
from medups.data.pictures.files import colors_of
from medups.data.volumes.read import checked_scan
from medups.errors import InputError
from medups.inference.images import as_volume
from medups.inference.segment import channels_of, objects_of, require_usable, segment
from medups.io.files import user_path
from medups.tasks import DetectionTask, PanopticTask, SemanticImageTask
from medups.workflows.predict import available_device


@dataclass(frozen=True)
class Prediction:
    """A segmented image.

    Args:
        mask: uint8 ids, of the same type and on the same grid as the image; from detectors
            :class:`~medups.data.pictures.objects.Objects`, from panoptic models
            :class:`~medups.data.pictures.objects.Segments`.
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
            image: for a model of pictures, colors as a NumPy array uint8 [H, W, 3] or a Pillow image. For one of scans,
                a NumPy array or torch tensor [S, P, L] in Hounsfield units, with axes toward head, back and the
                patient's left; a 3-D nibabel or SimpleITK image; or a MONAI MetaTensor with or without a channel axis.
            spacing: millimeters along the axes of an array or plain tensor; required by 3-D models only.
            force: accept intensities that cannot be Hounsfield units.

        Returns:
            The mask, of the same type and on the same grid as ``image``, and organ names; of pictures ids uint8 [H, W]
            and class names.

        Raises:
            InputError: an unsupported type of image, values that are not finite, all equal or impossible for a CT, or a
                missing spacing.
        """
        if self.model.task in (DetectionTask.name, PanopticTask.name):
            return Prediction(objects_of(self.model, _colors(image), self.device), self.organs)
        if self.model.task == SemanticImageTask.name:
            channels = channels_of(self.model, _colors(image), self.device)
            return Prediction(to_ids(channels, self.model.labels), self.model.labels.channels)
        volume, restore = as_volume(image, self.model.orientation, spacing)
        scan = checked_scan(volume)
        require_usable(self.model, scan, force)
        return Prediction(restore(segment(self.model, scan, self.device).ids), self.organs)


def _colors(image: Any) -> NDArray[np.uint8]:
    """Colors [H, W, 3]. Raises InputError for anything else."""
    colors = colors_of(image) if hasattr(image, "convert") else np.asarray(image)
    if colors.dtype != np.uint8 or colors.ndim != 3 or colors.shape[2] != 3 or not colors.size:
        raise InputError(
            f"image: expected colors [H, W, 3] of type uint8 or a Pillow image, got {colors.dtype} {colors.shape}"
        )
    return colors


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
