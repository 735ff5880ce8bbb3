"""One picture of all upsamplers: organs of a real scan and a step edge, enlarged by a factor of four."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from medups.data.labels import label_set
from medups.data.volumes import Grid
from medups.data.volumes.grid import on_grid_of
from medups.data.volumes.read import read_labels, read_scan
from medups.training.param_groups import parameter_groups
from medups.upsamplers import PixelShuffle, TransposedConv, create_upsampler, list_upsamplers

matplotlib.use("Agg")
from matplotlib import pyplot as plt

RATIO, CROP, GUIDE = 4, 96, 8
SIZE = 64  # of the step image
STEPS, BATCH = 1500, 4
FILTER_STEPS = 10000  # of learned filters, which must first learn not to mix the organs
COLUMNS = 8
ORGANS = ("liver", "left_kidney", "spleen", "stomach", "aorta", "pancreas", "right_kidney", "gallbladder")


class Enlarge(nn.Module):
    """Organ maps at a quarter of the size and the slice as guide; the guide is a small convolution of the slice."""

    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.guide = nn.Sequential(
            nn.Conv2d(1, GUIDE, 3, padding=1), nn.ReLU(), nn.Conv2d(GUIDE, GUIDE, 3, padding=1), nn.ReLU()
        )
        self.upsampler = create_upsampler(
            name, spatial_dims=2, in_channels=len(ORGANS), guide_channels=GUIDE, scale_factor=RATIO
        )

    def forward(self, maps: Tensor, image: Tensor) -> Tensor:
        return self.upsampler(maps, self.guide(image)).x


def draw(scan: Path, label: Path, labels: str, target: Path) -> None:
    """Fit every upsampler on the odd slices of ``scan``; draw one even slice, a step edge and its profile.

    The numbers are mean absolute errors near borders: of all even slices with organs, and of the step.
    """
    image, masks = _volumes(scan, label, labels)
    pixels = masks.sum((2, 3))
    shown = 2 * int(((pixels > 0).sum(0) + pixels.sum(0) / pixels.sum())[::2].argmax())  # most organs, then largest
    names = list_upsamplers()
    blocks = -(-(len(names) + 2) // COLUMNS)
    figure, axes = plt.subplots(3 * blocks, COLUMNS, figsize=(1.6 * COLUMNS, 5 * blocks), squeeze=False)
    columns = [axes[3 * block : 3 * block + 3, at] for block in range(blocks) for at in range(COLUMNS)]
    for axis in axes.flat:
        axis.set_axis_off()
    y, x = _focus(masks[:, shown])
    window = np.s_[y : y + CROP, x : x + CROP]
    slice_, truth = image[shown][window], masks[:, shown][:, *window]
    edge = _edge(SIZE / 2 - 1.5, 0.3)
    _column(columns[0], "scan and step", slice_, edge[0, 0], edge[0, 0])
    _column(columns[1], "wanted", _color(truth), edge[0, 0], edge[0, 0])
    held_out = [row for row in range(0, len(image), 2) if pixels[:, row].any()]
    for column, name in zip(columns[2:], names, strict=False):
        print(f"fitting {name}", flush=True)
        net = Enlarge(name)
        steps = FILTER_STEPS if isinstance(net.upsampler, TransposedConv | PixelShuffle) else STEPS
        _fit(net, image[1::2], masks[:, 1::2], steps)
        net.eval()
        with torch.no_grad():
            maps = torch.from_numpy(masks[:, shown].copy())[None]
            enlarged = net(_shrink(maps), torch.from_numpy(image[shown].copy())[None, None])[0].numpy()
            step = net(_shrink(edge.expand(1, len(ORGANS), -1, -1)), edge)[0, 0]
            error = _error(net, image[held_out], masks[:, held_out])
        _column(column, name, _color(enlarged[:, *window]), step, edge[0, 0])
        step_error = (step - edge[0, 0]).abs()[_near_border(edge)[0, 0]].mean()
        column[0].set_xlabel(f"error {error:.3f}", fontsize=8)
        column[2].set_xlabel(f"error {step_error:.3f}", fontsize=8)
        print(f"{name}: error {error:.4f}, of the step {step_error:.4f}", flush=True)
    figure.tight_layout(pad=0.3, h_pad=1)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=80)


def _volumes(scan: Path, label: Path, labels: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The scan [S, H, W] in 0 to 1 and the organs [K, S, H, W], cropped to multiples of the ratio."""
    source = label_set(labels)
    volume = read_scan(scan)
    ids = on_grid_of(read_labels(label, source), volume)
    grid = Grid(volume.data.shape, volume.affine)
    image, mask = grid.to_canonical(volume.data), grid.to_canonical(ids.data)
    height, width = (n // RATIO * RATIO for n in image.shape[1:])
    scaled = ((np.asarray(image, dtype=np.float32) + 125) / 400).clip(0, 1)
    organs = np.stack([mask == source.id_of(organ) for organ in ORGANS]).astype(np.float32)
    return scaled[:, :height, :width], organs[:, :, :height, :width]


def _focus(masks: NDArray[np.float32]) -> tuple[int, int]:
    """Corner of the crop with the most organ borders, on the coarse grid."""
    borders = np.abs(np.diff(masks, axis=1)).sum(0)[:, :-1] + np.abs(np.diff(masks, axis=2)).sum(0)[:-1]
    sums = F.avg_pool2d(torch.from_numpy(borders)[None], CROP, stride=RATIO)[0]
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    return row * RATIO, column * RATIO


def _edge(place: float, slope: float) -> Tensor:
    """A slanted step [1, 1, SIZE, SIZE]."""
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return (columns - place > slope * (rows - SIZE / 2)).float()[None, None]


def _shrink(maps: Tensor) -> Tensor:
    return F.avg_pool2d(maps, RATIO)


def _near_border(organs: Tensor) -> Tensor:
    """[B, 1, H, W] bool: pixels within two pixels of a border of any of ``organs`` [B, K, H, W]."""
    spread = F.max_pool2d(organs, 5, 1, 2) - (1 - F.max_pool2d(1 - organs, 5, 1, 2))
    return spread.amax(1, keepdim=True) > 0


def _error(net: Enlarge, image: NDArray[np.float32], masks: NDArray[np.float32]) -> float:
    """Mean absolute error of the organ maps near borders."""
    total = count = 0.0
    for row, slice_ in enumerate(image):
        truth = torch.from_numpy(masks[:, row].copy())[None]
        error = (net(_shrink(truth), torch.from_numpy(slice_.copy())[None, None]) - truth).abs().mean(1, keepdim=True)
        near = _near_border(truth)
        total, count = total + float(error[near].sum()), count + float(near.sum())
    return total / count


def _fit(net: Enlarge, image: NDArray[np.float32], masks: NDArray[np.float32], steps: int) -> None:
    """Train the net to restore organ maps and steps from a quarter of their size, if its upsampler has parameters."""
    if not list(net.upsampler.parameters()):
        return
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(parameter_groups(net, 3e-3, 1e-4))
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    occupied = np.flatnonzero(masks.sum((0, 2, 3)))
    for step in range(steps):
        if step % 2:
            images = torch.cat([_edge(rng.uniform(0.2, 0.8) * SIZE, rng.uniform(-1, 1)) for _ in range(BATCH)])
            targets = images.expand(-1, len(ORGANS), -1, -1)
        else:
            images, targets = (torch.stack(maps) for maps in zip(*_crops(rng, occupied, image, masks), strict=True))
        loss = F.mse_loss(net(_shrink(targets), images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()


def _crops(
    rng: np.random.Generator, occupied: NDArray[np.int64], image: NDArray[np.float32], masks: NDArray[np.float32]
) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(BATCH):
        row = rng.choice(occupied)
        spots = np.argwhere(masks[:, row].max(0))
        corner = spots[rng.integers(len(spots))] - CROP // 2
        y, x = (int(min(max(0, c), n - CROP)) for c, n in zip(corner, image.shape[1:], strict=True))
        window = np.s_[y : y + CROP, x : x + CROP]
        yield torch.from_numpy(image[row][window].copy())[None], torch.from_numpy(masks[:, row][:, *window].copy())


def _color(organs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Soft organ maps as a mix of colors."""
    palette = matplotlib.colormaps["tab10"](np.arange(len(ORGANS)))[:, :3]
    return np.einsum("khw,kc->hwc", organs, palette).clip(0, 1).astype(np.float32)


def _column(column: NDArray[np.object_], name: str, picture: NDArray[np.float32], step: Tensor, edge: Tensor) -> None:
    top, middle, bottom = column
    top.set_title(name, fontsize=9)
    top.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    middle.imshow(step, cmap="gray", vmin=-0.2, vmax=1.2, interpolation="nearest")
    bottom.plot(edge[SIZE // 2].numpy(), color="0.7", linewidth=1)
    bottom.plot(step[SIZE // 2].numpy(), linewidth=1)
    bottom.set_ylim(-0.3, 1.3)
    bottom.set_box_aspect(1)
    for axis in column:
        axis.set_axis_on()
        axis.set_xticks([])
        axis.set_yticks([])
