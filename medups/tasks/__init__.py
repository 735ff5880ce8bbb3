"""What each kind of task adds to training, prediction and bundles."""

from medups.tasks.task import Task
from medups.tasks.volume import VolumeTask

__all__ = ["Task", "VolumeTask"]
