"""Dict transforms of pictures [3, H, W] and their channels [1, H, W] that MONAI lacks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from monai.transforms import MapTransform, RandomizableTransform
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medups.data.pictures.classes import IGNORED

_TRIES = 10
Sample = dict[Hashable, Any]


class RandScaleCropd(MapTransform, RandomizableTransform):
    """Resize by a random ratio, then cut a random square in which no class has more than ``most`` of the pixels.

    As in the recipes for ADE20K: the picture is first brought to ``short`` and ``long``, keeping its proportions.

    Args:
        keys: the picture, and its channels.
        size: of the square; smaller pictures are filled with ``fill`` and are ignored there.
        ratio: lower and upper limit of the random ratio.
        short, long: the most pixels along both sides before the random ratio; None keeps the picture's size.
        most: tried ten times; 1 accepts every square.
        fill: color of missing pixels, the mean color.
    """

    def __init__(
        self,
        keys: Sequence[str],
        size: int,
        ratio: Sequence[float] = (0.5, 2.0),
        short: int | None = 512,
        long: int | None = 2048,
        most: float = 0.75,
        fill: Sequence[float] = (123.675, 116.28, 103.53),
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, 1.0)
        self.size, self.ratio, self.short, self.long, self.most = size, tuple(ratio), short, long, most
        self.fill = torch.tensor(fill)[:, None, None]

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        image, label = (torch.as_tensor(data[key]) for key in self.keys)
        image, label = self._resized(image, label)
        box = self._box(label)
        for _ in range(_TRIES):
            counts = torch.bincount(label[:, box[0], box[1]].flatten().long(), minlength=256)[:IGNORED]
            if self.most >= 1 or (int((counts > 0).sum()) > 1 and int(counts.max()) < self.most * int(counts.sum())):
                break
            box = self._box(label)
        image, label = image[:, box[0], box[1]], label[:, box[0], box[1]]
        square = self.fill.expand(-1, self.size, self.size).clone()
        channels = torch.full((1, self.size, self.size), IGNORED, dtype=torch.uint8)
        square[:, : image.shape[1], : image.shape[2]] = image
        channels[:, : label.shape[1], : label.shape[2]] = label
        return {**data, self.keys[0]: square, self.keys[1]: channels}

    def _resized(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        ratio = self.R.uniform(*self.ratio) * fitting_ratio(image.shape[1:], self.short, self.long)
        size = [max(1, round(n * ratio)) for n in image.shape[1:]]
        enlarged = F.interpolate(image[None].float(), size, mode="bilinear", align_corners=False)[0]
        return enlarged, F.interpolate(label[None], size, mode="nearest-exact")[0]

    def _box(self, label: Tensor) -> tuple[slice, slice]:
        first = [self.R.randint(0, max(0, n - self.size) + 1) for n in label.shape[1:]]
        return slice(first[0], first[0] + self.size), slice(first[1], first[1] + self.size)


class RandPhotometricd(MapTransform, RandomizableTransform):
    """Random brightness, contrast, saturation and hue, each with a probability of one half, for colors 0 to 255.

    The order and the ranges are those of SSD's augmentation (arXiv 1512.02325), which the recipes for ADE20K use.

    Args:
        keys: pictures.
        brightness: the most that is added.
        contrast, saturation: lower and upper limit of the factor.
        hue: the most that is added, in degrees.
    """

    def __init__(
        self,
        keys: Sequence[str],
        brightness: float = 32,
        contrast: Sequence[float] = (0.5, 1.5),
        saturation: Sequence[float] = (0.5, 1.5),
        hue: float = 36,
    ) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, 1.0)
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        changed = dict(data)
        for key in self.keys:
            colors = np.moveaxis(np.asarray(changed[key], dtype=np.float32), 0, -1)
            changed[key] = torch.from_numpy(np.ascontiguousarray(np.moveaxis(self._changed(colors), -1, 0)))
        return changed

    def _changed(self, colors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Colors [H, W, 3]."""
        if self._chosen():
            colors = colors + self.R.uniform(-self.brightness, self.brightness)
        before = self._chosen()
        if before and self._chosen():
            colors = colors * self.R.uniform(*self.contrast)
        saturated, turned = self._chosen(), self._chosen()
        if saturated or turned:
            hsv = rgb_to_hsv(np.clip(colors, 0, 255) / 255)
            if saturated:
                hsv[..., 1] = np.clip(hsv[..., 1] * self.R.uniform(*self.saturation), 0, 1)
            if turned:
                hsv[..., 0] = (hsv[..., 0] + self.R.uniform(-self.hue, self.hue) / 360) % 1
            colors = hsv_to_rgb(hsv) * 255
        if not before and self._chosen():
            colors = colors * self.R.uniform(*self.contrast)
        return np.clip(colors, 0, 255).astype(np.float32)

    def _chosen(self) -> bool:
        return bool(self.R.rand() < 0.5)


def fitting_ratio(size: Sequence[int], short: int | None, long: int | None = None) -> float:
    """The ratio at which the shorter side reaches ``short``, or the longer one ``long`` before that; 1 without both."""
    limits = [goal / side for goal, side in ((short, min(size)), (long, max(size))) if goal is not None]
    return min(limits, default=1.0)
