"""Segmentation networks whose decoders take an upsampler; all return logits."""

from medups.networks.decoders import DirectDecoder, FusionDecoder
from medups.networks.ensemble import Ensemble
from medups.networks.guided_step import GuidedStep
from medups.networks.swap import SwapReport, swap_upsampling, with_upsampler
from medups.networks.swin_unet import SwinUNet
from medups.networks.transunet import TransUNet
from medups.networks.upsampled_logits import UpsampledLogits

__all__ = [
    "DirectDecoder",
    "Ensemble",
    "FusionDecoder",
    "GuidedStep",
    "SwapReport",
    "SwinUNet",
    "TransUNet",
    "UpsampledLogits",
    "swap_upsampling",
    "with_upsampler",
]
