"""What each upsampler of a trained network does to its features."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from medups.bundle.model import Model, load_bundle
from medups.data.labels import LabelSet, label_set
from medups.data.transforms import zoom_image, zoom_labels
from medups.data.volumes import on_grid_of
from medups.data.volumes.read import read_labels, read_scan
from medups.data.volumes.resize import resize_labels
from medups.errors import InputError
from medups.inference import SliceInferer
from medups.inference.segment import network_input, require_usable
from medups.io.files import require_writable, user_path, write_bytes, write_json
from medups.metrics.features import class_similarity, radial_spectrum
from medups.report.features import features_png
from medups.upsamplers.base import Upsampled, Upsampler

_SLICES = 8


@dataclass(frozen=True)
class StepFeatures:
    """The features before and after one layer, averaged over slices.

    Args:
        layer: its path in the network.
        kind: its class.
        similarity, margin: before and after; see :class:`~medups.metrics.features.ClassSimilarity`.
        frequency: in cycles per pixel of the layer's output.
        spectrum: share of the variance by frequency, before and after.
    """

    layer: str
    kind: str
    similarity: tuple[float, float]
    margin: tuple[float, float]
    frequency: tuple[list[float], list[float]]
    spectrum: tuple[list[float], list[float]]


def analyze(
    model: str | Path,
    scan: str | Path,
    label: str | Path,
    output: str | Path,
    *,
    label_labels: str | None = None,
    layers: list[str] | None = None,
) -> list[StepFeatures]:
    """Compare features before and after upsampling.

    Args:
        model: a bundle folder.
        scan, label: a scan and its labels.
        output: folder for features.json and features.png.
        label_labels: label set of ``label``; by default the model's own.
        layers: paths of other layers to look at, such as ``decoder.blocks.0``; by default all upsamplers.

    Raises:
        InputError: invalid files, an unknown layer, or a network without upsamplers of medups.
    """
    folder = user_path(output)
    bundle = load_bundle(user_path(model))
    known = dict(bundle.network.named_modules())
    unknown = [name for name in layers or () if name not in known]
    if unknown:
        raise InputError(
            f"--layers: {', '.join(unknown)}: no such layer; the network has {', '.join(filter(None, known))}"
        )
    chosen = {
        name: module for name, module in known.items() if (name in layers if layers else isinstance(module, Upsampler))
    }
    if not chosen:
        raise InputError(f"{model}: its network has no upsampler of medups; choose layers with --layers")
    images, classes = _samples(bundle, user_path(scan), user_path(label), label_labels)
    require_writable(folder)
    with torch.inference_mode(), _recorded(chosen) as seen:
        bundle.network(images)
    steps = [_step(name, chosen[name], *seen[name], classes) for name in chosen if name in seen]
    write_bytes(folder / "features.png", features_png(steps))
    write_json(folder / "features.json", [asdict(step) for step in steps])
    return steps


def _samples(model: Model, scan: Path, label: Path, label_labels: str | None) -> tuple[Tensor, NDArray[np.uint8]]:
    """Network inputs [B, 1, *size] and class maps [B, *size]: slices with the most organs, or one window."""
    volume = read_scan(scan)
    require_usable(model, volume)
    image, grid = network_input(model, volume)
    own: LabelSet = label_set(label_labels) if label_labels else model.labels
    labels = on_grid_of(read_labels(label, own), volume)
    ids = resize_labels(own.convert(grid.to_canonical(labels.data), model.labels), image.shape)
    if isinstance(model.inferer, SliceInferer):
        counts = [len(np.unique(row)) for row in ids]
        rows = np.sort(np.argsort(counts, kind="stable")[::-1][:_SLICES])
        size = model.inferer.size
        slices = np.stack([zoom_image(image[row], size) for row in rows])[:, None]
        return torch.from_numpy(slices), np.stack([zoom_labels(ids[row], size) for row in rows])
    roi: list[int] = list(model.definition["inferer"]["roi_size"])
    center = [int(at.mean()) for at in np.nonzero(ids)] if ids.any() else [n // 2 for n in ids.shape]
    box = tuple(
        slice(start, start + size)
        for middle, size, n in zip(center, roi, ids.shape, strict=True)
        for start in (max(0, min(middle - size // 2, n - size)),)
    )
    padding = [(0, max(0, size - n)) for size, n in zip(roi, ids[box].shape, strict=True)]
    window = np.pad(image[box], padding, mode="edge")
    return torch.from_numpy(window)[None, None], np.pad(ids[box], padding)[None]


@contextmanager
def _recorded(layers: dict[str, nn.Module]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """The first input and the output of each layer's last call."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def recorder(name: str) -> Any:
        def record(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], result: Any) -> None:
            first = inputs[0] if inputs else next(iter(named.values()))
            seen[name] = first, result.x if isinstance(result, Upsampled) else result

        return record

    hooks = [module.register_forward_hook(recorder(name), with_kwargs=True) for name, module in layers.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _step(name: str, module: nn.Module, before: Tensor, after: Tensor, classes: NDArray[np.uint8]) -> StepFeatures:
    similarity, margin, frequencies, spectra = [], [], [], []
    ratio = after.shape[-1] / before.shape[-1]
    for features, per_pixel in ((before, ratio), (after, 1.0)):
        small = F.interpolate(torch.from_numpy(classes)[:, None].float(), size=features.shape[2:], mode="nearest-exact")
        maps = [own.float().cpu().numpy() for own in features]
        scores = [class_similarity(own, ids.numpy()) for own, ids in zip(maps, small[:, 0].long(), strict=True)]
        known = [score for score in scores if score is not None]
        similarity.append(float(np.mean([score.similarity for score in known])) if known else float("nan"))
        margin.append(float(np.mean([score.margin for score in known])) if known else float("nan"))
        rings, shares = zip(*(radial_spectrum(own) for own in maps), strict=True)
        frequencies.append((rings[0] / per_pixel).tolist())
        spectra.append(np.mean(shares, 0).tolist())
    if np.isnan([*similarity, *margin]).any():
        raise InputError(
            f"{name}: the labels have fewer than two classes in the chosen slices; pass a scan with organs"
        )
    return StepFeatures(
        name,
        type(module).__name__,
        (similarity[0], similarity[1]),
        (margin[0], margin[1]),
        (frequencies[0], frequencies[1]),
        (spectra[0], spectra[1]),
    )
