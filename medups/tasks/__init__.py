"""The task-specific parts of training, prediction and bundles."""

from medups.tasks.task import Task
from medups.tasks.volume import VolumeTask

__all__ = ["Task", "VolumeTask"]
