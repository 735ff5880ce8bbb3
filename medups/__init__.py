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
__all__ = ["PredictOptions", "__version__", "compare", "evaluate", "load_model", "predict", "prepare", "train"]

if TYPE_CHECKING:
    from medups.api import prepare, train
    from medups.workflows.compare import compare
    from medups.workflows.evaluate import evaluate
    from medups.workflows.load_model import load_model
    from medups.workflows.options import PredictOptions
    from medups.workflows.predict import predict

_MODULES = {
    "PredictOptions": "medups.workflows.options",
    "compare": "medups.workflows.compare",
    "evaluate": "medups.workflows.evaluate",
    "load_model": "medups.workflows.load_model",
    "predict": "medups.workflows.predict",
    "prepare": "medups.api",
    "train": "medups.api",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'medups' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
