"""Guided upsamplers trained on borders follow them: measurements of the predicted kernels."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medups.ops import reassemble
from medups.upsamplers import create_upsampler

EACH = pytest.mark.parametrize("name", ["resfu", pytest.param("freqfusion", marks=pytest.mark.full)])
SIZE, RATIO, WIDTH = 32, 4, 8


def shapes(count, seed):
    """Slanted half-planes joined by a disc: images [B, 1, n, n] with noise, labels [B, 1, n, n] of 0 and 1."""
    noise = torch.Generator().manual_seed(seed)
    axis = torch.arange(SIZE) - SIZE / 2 + 0.5
    y, x = axis[:, None], axis
    angle, shift, top, left = (torch.rand(count, 1, 1, generator=noise) for _ in range(4))
    angle, shift = 6.283 * angle, 8 * (shift - 0.5)
    plane = y * angle.sin() + x * angle.cos() > shift
    disc = (y - 20 * (top - 0.5)) ** 2 + (x - 20 * (left - 0.5)) ** 2 < 36
    label = (plane | disc)[:, None].float()
    return label + 0.3 * torch.randn(label.shape, generator=noise), label


class Net(nn.Module):
    """A coarse map and a fine guide of the image; the last channel of the coarse map is reserved for the labels."""

    def __init__(self, name, **options):
        super().__init__()
        self.deep = nn.Sequential(
            nn.Conv2d(1, WIDTH, 3, 2, 1), nn.ReLU(), nn.Conv2d(WIDTH, 2 * WIDTH, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(2 * WIDTH, WIDTH, 3, padding=1),
        )  # fmt: skip
        self.fine = nn.Sequential(nn.Conv2d(1, WIDTH, 3, padding=1), nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 3, padding=1))
        self.up = create_upsampler(
            name, spatial_dims=2, in_channels=WIDTH + 1, guide_channels=WIDTH, scale_factor=RATIO, **options
        )
        self.head = nn.Conv2d(WIDTH, 1, 1)

    def maps(self, image):
        deep = self.deep(image)
        return F.pad(deep, (0, 0, 0, 0, 0, 1)), self.fine(image)

    def forward(self, image):
        return self.head(self.up(*self.maps(image)).x[:, :WIDTH])


@functools.cache
@torch.enable_grad()
def trained(name):
    torch.manual_seed(0)
    options = {"resfu": {"embed_channels": 8}, "freqfusion": {"compressed_channels": 16, "offset_groups": 1}}
    net = Net(name, **options.get(name, {}))
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for step in range(150):
        image, label = shapes(8, seed=step)
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(net(image), label).backward()
        optimizer.step()
    return net.eval()


@torch.no_grad()
def enlarged_labels(name):
    """Coarse labels of new images, enlarged by the kernels of the trained net, and the full-size labels."""
    net = trained(name)
    image, label = shapes(64, seed=10_000)
    coarse = F.avg_pool2d(label, RATIO)
    deep, fine = net.maps(image)
    if name == "resfu":
        logits = net.up.logits(deep, fine)[:, None]
        return reassemble(coarse, logits, kernel_size=3, taps="linear", softmax=True), label
    if name == "freqfusion":
        net.up.compress.weight[:, WIDTH:] = 0  # kernels must not see the labels
    deep[:, WIDTH:] = coarse
    return net.up(deep, fine).x[:, WIDTH:], label


def own_class_weight(enlarged, label):
    """Mean weight, near borders, on coarse pixels of the pixel's own class."""
    near = F.max_pool2d(label, 5, 1, 2) != -F.max_pool2d(-label, 5, 1, 2)
    return torch.where(label > 0, enlarged, 1 - enlarged)[near].mean().item()


def spectrum(x):
    """Energy of [B, 1, n, n] by frequency, without the mean, windowed to suppress the image frame."""
    window = torch.hann_window(SIZE, periodic=False)
    return torch.fft.rfft2((x - x.mean((2, 3), keepdim=True)) * window * window[:, None]).abs().square().sum((0, 1))


def checkerboard(enlarged, label):
    """Energy of the error at the frequencies of the coarse grid, where a checkerboard shows."""
    energy = spectrum(enlarged - label)
    grid = torch.zeros_like(energy, dtype=torch.bool)
    spacing = SIZE // RATIO
    grid[spacing::spacing, ::spacing] = True
    grid[::spacing, spacing::spacing] = True
    return (energy[grid].sum() / len(label)).item()


def sharpness(enlarged, label):
    """Fraction of the labels' energy above the coarse grid's Nyquist frequency that is recovered in phase."""
    high = torch.maximum(torch.fft.fftfreq(SIZE).abs()[:, None], torch.fft.rfftfreq(SIZE)) > 0.5 / RATIO
    recovered, target = (torch.fft.rfft2(x - x.mean((2, 3), keepdim=True))[..., high] for x in (enlarged, label))
    return ((recovered * target.conj()).real.sum() / target.abs().square().sum()).item()


@EACH
def test_kernels_follow_the_edges(name):
    linear, guided = own_class_weight(*enlarged_labels("linear")), own_class_weight(*enlarged_labels(name))
    print(f"{name}: {guided:.3f} of the weight near borders is on the pixel's own class, linear {linear:.3f}")
    assert guided > linear + 0.05


@EACH
def test_neither_checkerboard_nor_blur(name):
    """No more of either than with bilinear interpolation."""
    for measure, sign in ((checkerboard, 1), (sharpness, -1)):
        linear, guided = measure(*enlarged_labels("linear")), measure(*enlarged_labels(name))
        print(f"{name}: {measure.__name__} {guided:.4f}, linear {linear:.4f}")
        assert sign * guided <= sign * linear
