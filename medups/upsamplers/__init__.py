"""Feature upsampling for decoders, 2-D and 3-D; needs torch alone."""

from medups.upsamplers.base import Upsampled, Upsampler
from medups.upsamplers.plain import Interpolate
from medups.upsamplers.registry import create_upsampler, list_upsamplers, upsampler_class
from medups.upsamplers.resfu import ReSFU

__all__ = [
    "Interpolate",
    "ReSFU",
    "Upsampled",
    "Upsampler",
    "create_upsampler",
    "list_upsamplers",
    "upsampler_class",
]
