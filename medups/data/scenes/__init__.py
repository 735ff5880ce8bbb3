"""Synthetic photographs with masks and COCO annotations, for trials and tests without downloads."""

from medups.data.scenes.scene import STUFF, THINGS, Scene, make_scene
from medups.data.scenes.write import write_scenes

__all__ = ["STUFF", "THINGS", "Scene", "make_scene", "write_scenes"]
