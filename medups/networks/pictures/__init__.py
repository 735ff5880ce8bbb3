"""Networks for natural images: pictures [B, 3, H, W] to logits [B, K, h, w] at a fraction of the size."""

from medups.networks.pictures.segformer import SegFormer
from medups.networks.pictures.segmenter import Segmenter
from medups.networks.pictures.segnext import SegNeXt

__all__ = ["SegFormer", "SegNeXt", "Segmenter"]
