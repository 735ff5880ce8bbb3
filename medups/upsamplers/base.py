"""The interface of every upsampler: ``(x, guide=None) -> Upsampled``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from medups.ops.dtypes import is_autocast
from medups.ops.reassembly import TapMode

Scale = float | Sequence[float]


class Upsampled(NamedTuple):
    """The enlarged map [B, C, *out], and the guide for the following fusion [B, Cg, *out] or None."""

    x: Tensor
    guide: Tensor | None


class Kernels(NamedTuple):
    """Kernels that an upsampler reads a map with.

    Args:
        logits: [B, G, kernel_size**d, *out], before the softmax over taps.
        kernel_size: along each axis.
        taps: where taps are, as in :func:`medups.ops.reassemble`.
        size: size of the map that is read.
    """

    logits: Tensor
    kernel_size: int
    taps: TapMode
    size: tuple[int, ...]


class Part(NamedTuple):
    """Parameters of an upsampler that share a learning rate.

    Args:
        name: ``kernels`` (the layers that predict kernels), ``offsets``, ``paired_difference`` or ``embedding``.
        patterns: of parameter names within the upsampler, as in ``fnmatch``.
        adaptive: default factor on the recipe's learning rate if the optimizer normalizes gradients, like Adam.
        sgd: default factor for other optimizers.
    """

    name: str
    patterns: tuple[str, ...]
    adaptive: float = 1
    sgd: float = 1


class Upsampler(nn.Module):
    """Base of all upsamplers: checks the inputs and fixes the output size.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels C of ``x``.
        guide_channels: channels Cg of the guide; None if the method reads no guide.
        scale_factor: one number or one per axis, at least 1. With a guide the output has the guide's size instead.

    Raises:
        ValueError: an argument outside its range; a guide that is missing, smaller than ``x``, or of
            a different batch size or number of channels.
        TypeError: an input that is not a floating-point tensor, or a guide on another device or, except under autocast,
            of another dtype.
    """

    needs_guide: ClassVar[bool] = False
    equal_channels: ClassVar[bool] = False
    """Whether the guide must have as many channels as ``x``."""
    refines_guide: bool = False
    """Whether the returned guide differs from the guide."""
    parts: ClassVar[tuple[Part, ...]] = ()
    """Parameters that may need their own learning rates."""

    def __init__(
        self, spatial_dims: int, in_channels: int, guide_channels: int | None = None, scale_factor: Scale = 2
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if spatial_dims not in (2, 3):
            raise ValueError(f"{name}: spatial_dims must be 2 or 3, got {spatial_dims!r}")
        if in_channels < 1:
            raise ValueError(f"{name}: in_channels must be at least 1, got {in_channels}")
        if self.needs_guide and (guide_channels is None or guide_channels < 1):
            raise ValueError(f"{name}: guide_channels must be at least 1, got {guide_channels}")
        scale = (scale_factor,) * spatial_dims if isinstance(scale_factor, int | float) else tuple(scale_factor)
        if len(scale) != spatial_dims or any(s < 1 for s in scale):
            raise ValueError(
                f"{name}: scale_factor must be at least 1, one number or {spatial_dims} numbers, got {scale_factor!r}"
            )
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.guide_channels = guide_channels
        self.scale_factor = scale

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Upsampled:
        self._check(x, guide)
        return self.upsample(x, guide, self.output_size(x, guide))

    def upsample(self, x: Tensor, guide: Tensor | None, size: tuple[int, ...]) -> Upsampled:
        """Enlarge checked inputs to ``size``; implemented by each method."""
        raise NotImplementedError

    def kernels(self, x: Tensor, guide: Tensor | None = None) -> dict[str, Kernels]:
        """The kernels for these inputs, by name; empty for methods without kernels. For studies and monitoring."""
        return {}

    def offset_field(self, x: Tensor, guide: Tensor | None = None) -> Tensor | None:
        """The offsets for these inputs [B, d, G, *out], in pixels of ``x``, the last axis of the map first.

        None for methods without offsets. For studies and monitoring.
        """
        return None

    def output_size(self, x: Tensor, guide: Tensor | None) -> tuple[int, ...]:
        """The guide's size, or the size of ``x`` times the scale factor."""
        if guide is not None:
            return tuple(guide.shape[2:])
        return tuple(int(n * s) for n, s in zip(x.shape[2:], self.scale_factor, strict=True))

    def _check(self, x: Tensor, guide: Tensor | None) -> None:
        name, dims = type(self).__name__, self.spatial_dims
        if not x.is_floating_point():
            raise TypeError(f"{name}: x must be a floating-point tensor, got {x.dtype}")
        if x.ndim != dims + 2 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"{name}: x must be [B, {self.in_channels}, {dims} spatial axes], got shape {tuple(x.shape)}"
            )
        if guide is None:
            if self.needs_guide:
                raise ValueError(
                    f"{name}: guide is missing; pass a map [B, {self.guide_channels}, *size of the output]"
                )
            return
        dtypes_fit = guide.dtype == x.dtype or is_autocast(x.device)  # under autocast norms return float32
        if not dtypes_fit or guide.device != x.device:
            raise TypeError(
                f"{name}: guide is {guide.dtype} on {guide.device}, x is {x.dtype} on {x.device}; they must match"
            )
        channels_fit = self.guide_channels is None or guide.shape[1] == self.guide_channels
        if guide.ndim != dims + 2 or guide.shape[0] != x.shape[0] or not channels_fit:
            raise ValueError(
                f"{name}: guide must be [{x.shape[0]}, {self.guide_channels or 'Cg'}, {dims} spatial axes], "
                f"got shape {tuple(guide.shape)}"
            )
        if any(big < small for big, small in zip(guide.shape[2:], x.shape[2:], strict=True)):
            raise ValueError(
                f"{name}: guide of size {tuple(guide.shape[2:])} is smaller than x of size {tuple(x.shape[2:])}"
            )

    def extra_repr(self) -> str:
        return (
            f"spatial_dims={self.spatial_dims}, in_channels={self.in_channels}, "
            f"guide_channels={self.guide_channels}, scale_factor={self.scale_factor}"
        )
