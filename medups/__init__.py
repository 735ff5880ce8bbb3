"""Medical image segmentation with swappable upsampling.

    import medups

    model = medups.load_model("runs/.../bundle")
    prediction = model.predict(image)

Every function is imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0.dev0"
__all__ = ["__version__", "compare", "evaluate", "load_model", "predict", "prepare", "train"]

if TYPE_CHECKING:
    from medups.api import compare, evaluate, load_model, predict, prepare, train


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("medups.api"), name)
    raise AttributeError(f"module 'medups' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
