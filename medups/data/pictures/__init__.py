"""Pictures and index masks, from files to arrays."""

from medups.data.pictures.classes import IGNORED, to_channels, to_ids
from medups.data.pictures.files import read_mask, read_picture

__all__ = ["IGNORED", "read_mask", "read_picture", "to_channels", "to_ids"]
