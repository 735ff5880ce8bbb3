"""Similarity of a pixel to the input pixels around its position."""

from medups.ops.similarity.function import Metric, neighbor_similarity

__all__ = ["Metric", "neighbor_similarity"]
