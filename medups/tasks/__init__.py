"""The task-specific parts of training, prediction and bundles."""

from medups.tasks.detection import DetectionTask
from medups.tasks.panoptic import PanopticTask
from medups.tasks.semantic_image import SemanticImageTask
from medups.tasks.task import Task
from medups.tasks.volume import VolumeTask

__all__ = ["DetectionTask", "PanopticTask", "SemanticImageTask", "Task", "VolumeTask"]
