"""SAPA: Similarity-Aware Point Affiliation (arXiv 2209.12866)."""

from __future__ import annotations

from torch import Tensor, nn

from medups.ops import neighbor_similarity, reassemble
from medups.upsamplers.base import Kernels, Part, Scale, Upsampled, Upsampler
from medups.upsamplers.layers import odd_kernel


class SAPA(Upsampler):
    """Kernels are inner products of a guide pixel with the deep map's pixels around it.

    Args:
        kernel_size: odd.
        embed_channels: channels of queries and keys.

    Further arguments and errors: see :class:`Upsampler`.
    """

    needs_guide = True
    parts = (Part("embedding", ("query.*", "key.*")),)

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        guide_channels: int | None = None,
        scale_factor: Scale = 2,
        *,
        kernel_size: int = 5,
        embed_channels: int = 64,
    ) -> None:
        super().__init__(spatial_dims, in_channels, guide_channels, scale_factor)
        assert guide_channels is not None  # checked by the base
        self.kernel_size = odd_kernel("SAPA", kernel_size)
        self.query_norm = nn.LayerNorm(guide_channels)
        self.query = nn.Linear(guide_channels, embed_channels)
        self.key_norm = nn.LayerNorm(in_channels)
        self.key = nn.Linear(in_channels, embed_channels)
        for layer in (self.query, self.key):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def upsample(self, x: Tensor, guide: Tensor | None, size: tuple[int, ...]) -> Upsampled:
        assert guide is not None  # checked by the base
        scores = self._scores(x, guide)
        return Upsampled(reassemble(x, scores, kernel_size=self.kernel_size, softmax=True), guide)

    def kernels(self, x: Tensor, guide: Tensor | None = None) -> dict[str, Kernels]:
        assert guide is not None
        return {"kernel": Kernels(self._scores(x, guide), self.kernel_size, "nearest", tuple(x.shape[2:]))}

    def _scores(self, x: Tensor, guide: Tensor) -> Tensor:
        query = self.query(self.query_norm(guide.movedim(1, -1))).movedim(-1, 1)
        key = self.key(self.key_norm(x.movedim(1, -1))).movedim(-1, 1)
        return neighbor_similarity(query, key, kernel_size=self.kernel_size)[:, None]
