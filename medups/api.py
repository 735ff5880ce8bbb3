"""Public functions that take settings as overrides; those without settings are in :mod:`medups.workflows`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medups.progress import Progress
from medups.settings.compose import compose
from medups.workflows import prepare as prepare_workflow
from medups.workflows import train as train_workflow


def train(overrides: Sequence[str], progress: Progress | None = None) -> train_workflow.TrainResult:
    """Train a network, as ``medups train`` does.

    Args:
        overrides: settings, such as ``["data.root=/data/Synapse", "network=unet_3d"]``.
        progress: shows messages and progress bars; nothing by default.

    Raises:
        InputError: invalid settings or data, before the run folder is created.
    """
    return train_workflow.train(compose(overrides, progress.log if progress else None), progress)


def prepare(
    overrides: Sequence[str], output: str | Path, progress: Progress | None = None
) -> prepare_workflow.PrepareResult:
    """Check a dataset and fill the cache, as ``medups prepare`` does, with the settings of :func:`train`.

    Raises:
        InputError: invalid settings, or problems in the dataset, which ``progress.log`` receives one by one.
    """
    return prepare_workflow.prepare(compose(overrides, progress.log if progress else None), output, progress)
