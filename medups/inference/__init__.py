"""From a preprocessed volume to a label map, slice by slice or by sliding window; and from a picture to its classes."""

from medups.inference.objects import ObjectInferer, SegmentInferer
from medups.inference.pictures import PictureInferer
from medups.inference.slices import SliceInferer
from medups.inference.windows import WindowInferer

__all__ = ["ObjectInferer", "PictureInferer", "SegmentInferer", "SliceInferer", "WindowInferer"]
