"""The layers that turn a paired difference into kernel logits."""

from medups.ops.kernel_prediction.function import LogitLayers, kernel_logits

__all__ = ["LogitLayers", "kernel_logits"]
