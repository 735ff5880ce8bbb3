"""Feature upsampling for decoders in 2-D and 3-D; torch is the only dependency."""

from medups.upsamplers.base import Upsampled, Upsampler
from medups.upsamplers.carafe import CARAFE
from medups.upsamplers.dysample import DySample
from medups.upsamplers.fade import FADE
from medups.upsamplers.filters import PixelShuffle, TransposedConv
from medups.upsamplers.freqfusion import FreqFusion
from medups.upsamplers.interpolate import Interpolate
from medups.upsamplers.lda_aqu import LDAAQU
from medups.upsamplers.local_attender import LocalAttender
from medups.upsamplers.onsampling import Onsampling
from medups.upsamplers.registry import create_upsampler, list_upsamplers, upsampler_class
from medups.upsamplers.resfu import ReSFU
from medups.upsamplers.sapa import SAPA
from medups.upsamplers.sapa_d import SAPAD

__all__ = [
    "CARAFE",
    "FADE",
    "LDAAQU",
    "SAPA",
    "SAPAD",
    "DySample",
    "FreqFusion",
    "Interpolate",
    "LocalAttender",
    "Onsampling",
    "PixelShuffle",
    "ReSFU",
    "TransposedConv",
    "Upsampled",
    "Upsampler",
    "create_upsampler",
    "list_upsamplers",
    "upsampler_class",
]
