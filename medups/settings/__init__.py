"""The settings of training: a typed schema, composed by Hydra from ``configs/`` and the user's overrides."""

from medups.settings.compose import compose
from medups.settings.schema import Settings

__all__ = ["Settings", "compose"]
