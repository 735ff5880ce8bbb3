"""Replacing the upsampling of other networks, in place."""

from medups.networks.swap.report import Kept, Swapped, SwapReport
from medups.networks.swap.swap import swap_upsampling, with_upsampler

__all__ = ["Kept", "SwapReport", "Swapped", "swap_upsampling", "with_upsampler"]
