"""The task-specific parts of training, prediction and bundles."""

from medups.tasks.semantic_image import SemanticImageTask
from medups.tasks.task import Task
from medups.tasks.volume import VolumeTask

__all__ = ["SemanticImageTask", "Task", "VolumeTask"]
