"""The public functions of the package; see :mod:`medups.workflows` for the implementations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medups.progress import Progress
from medups.workflows.compare import compare
from medups.workflows.evaluate import EvaluationResult, evaluate

if TYPE_CHECKING:
    import torch

    from medups.workflows.load_model import SegmentationModel
    from medups.workflows.prepare import PrepareResult
    from medups.workflows.train import TrainResult

__all__ = ["EvaluationResult", "compare", "evaluate", "load_model", "predict", "prepare", "train"]


def load_model(bundle: str | Path, device: torch.device | str | None = None) -> SegmentationModel:
    """Load a trained model for images in memory.

    Args:
        bundle: the folder that training wrote.
        device: by default a GPU if there is one.

    Raises:
        InputError: a folder that is not a bundle, a damaged bundle, or an unavailable device.
    """
    from medups.workflows.load_model import load_model as load

    return load(bundle, device)


def train(overrides: Sequence[str], progress: Progress | None = None) -> TrainResult:
    """Train a network, as ``medups train`` does.

    Args:
        overrides: settings, such as ``["data.root=/data/Synapse", "network=unet_3d"]``.
        progress: receives messages and progress; None shows nothing.

    Raises:
        InputError: invalid settings or data, before the run folder is created.
    """
    from medups.settings.compose import compose
    from medups.workflows.train import train as run

    return run(compose(overrides, progress.log if progress else None), progress)


def prepare(overrides: Sequence[str], output: str | Path, progress: Progress | None = None) -> PrepareResult:
    """Check a dataset and fill the cache, as ``medups prepare`` does. Takes the settings of :func:`train`.

    Raises:
        InputError: invalid settings, or problems in the dataset, each of which is passed to ``progress.log``.
    """
    from medups.settings.compose import compose
    from medups.workflows.prepare import prepare as run

    return run(compose(overrides, progress.log if progress else None), output, progress)


def predict(
    model: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    cases: Sequence[str] | str | None = None,
    skip_existing: bool = False,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Segment the scans of a file or folder; see :func:`medups.workflows.predict.predict`."""
    from medups.workflows.predict import predict as run

    return run(model, source, output, cases=cases, skip_existing=skip_existing, device=device, progress=progress)
