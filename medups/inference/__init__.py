"""From a preprocessed volume to a label map: slice by slice, or by sliding window."""

from medups.inference.pictures import PictureInferer
from medups.inference.slices import SliceInferer
from medups.inference.windows import WindowInferer

__all__ = ["PictureInferer", "SliceInferer", "WindowInferer"]
