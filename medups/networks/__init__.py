"""Segmentation networks whose decoders take an upsampler; all return logits."""

from medups.networks.guided_step import GuidedStep
from medups.networks.transunet import TransUNet

__all__ = ["GuidedStep", "TransUNet"]
