"""The bundle on disk.

    configs/inference.json   network, preprocessing, inferer, labels, orientation: plain values that medups
                             reads, and sections for ``python -m monai.bundle run`` and MONAI Label
    configs/evaluate.json    for ``python -m monai.bundle run``: segment, then score
    configs/metadata.json    metadata that MONAI requires in every bundle
    models/model.pt          the weights
"""  # fmt: skip

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from monai.transforms import Compose
from torch import Tensor, nn

import medups
from medups.bundle.monai_sections import EVALUATION, inference_sections
from medups.data.labels import LabelSet
from medups.data.volumes.grid import ORIENTATION
from medups.data.volumes.volume import CT_WINDOW
from medups.errors import InputError
from medups.instantiate import instantiate
from medups.io.checkpoints import load_checkpoint, not_finite, save_checkpoint
from medups.io.files import read_json, write_json

_FORMAT = 1
_SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
_SECTIONS = ("network_def", "preprocessing", "inferer", "medups")


@dataclass(frozen=True)
class Model:
    """A network with everything that turns a scan into a mask.

    definition: the configuration sections that the model was built from, as stored in the bundle.
    """

    network: nn.Module
    labels: LabelSet
    definition: Mapping[str, Any]
    inferer: Callable[..., Any] = field(repr=False)
    preprocessing: Compose = field(repr=False)

    @property
    def task(self) -> str:
        """The name of the kind of task."""
        return str(self.definition["medups"].get("task", "volume"))

    @property
    def orientation(self) -> str:
        """The axis codes of the canonical orientation."""
        return str(self.definition["medups"]["orientation"])

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """Millimeters along the canonical axes; None if scans keep their own."""
        spacing = self.definition["medups"]["spacing"]
        return tuple(spacing) if spacing else None

    @property
    def split(self) -> Mapping[str, Sequence[str]]:
        """Names of the cases for training, validation and testing."""
        return self.definition["medups"]["split"]

    @property
    def modality(self) -> str:
        """The modality of the training scans, such as CT or MR."""
        return str(self.definition["medups"].get("modality", "CT"))

    @property
    def display_window(self) -> tuple[float, float]:
        """The intensities that pictures show as black and as white."""
        low, high = self.definition["medups"].get("display_window", CT_WINDOW)
        return float(low), float(high)


def make_model(definition: Mapping[str, Any], source: str) -> Model:
    """Build the model that the configuration sections describe, with initial weights.

    Args:
        source: the file or setting to name in errors.

    Raises:
        InputError: missing sections, an unsupported format or orientation, or a target that cannot be built.
    """
    missing = [name for name in _SECTIONS if name not in definition]
    if missing:
        raise InputError(f"{source}: the sections {', '.join(missing)} are missing; this is not a medups bundle")
    about = definition["medups"]
    if about.get("format") != _FORMAT:
        raise InputError(f"{source}: bundle format {about.get('format')!r}, this version reads {_FORMAT}")
    if about["orientation"] != ORIENTATION:
        raise InputError(f"{source}: slice orientation {about['orientation']!r}, this version reads {ORIENTATION!r}")
    network = instantiate(definition["network_def"], source)
    if not isinstance(network, nn.Module):
        raise InputError(f"{source}: network_def is a {type(network).__name__}, expected a network")
    return Model(
        network=network,
        labels=_labels(about["labels"]),
        definition={name: definition[name] for name in _SECTIONS},
        inferer=instantiate(definition["inferer"], source),
        preprocessing=Compose([instantiate(spec, source) for spec in definition["preprocessing"]]),
    )


def _labels(table: Mapping[str, Any]) -> LabelSet:
    organs = {int(number): name for number, name in table["organs"].items()}
    return LabelSet(table["name"], organs, frozenset(table.get("ignore", ())), frozenset(table.get("stuff", ())))


def define(
    network: Mapping[str, Any],
    preprocessing: Sequence[Mapping[str, Any]],
    inferer: Mapping[str, Any],
    labels: LabelSet,
    spacing: Sequence[float] | None,
    split: Mapping[str, Sequence[str]],
    *,
    task: str = "volume",
    modality: str = "CT",
    display_window: Sequence[float] = CT_WINDOW,
) -> dict[str, Any]:
    """The configuration sections of a bundle.

    Args:
        network, inferer: ``_target_`` and arguments.
        preprocessing: the same for each MONAI dict transform.
        spacing: millimeters along the canonical axes; None keeps each scan's own.
        split: case names by part.
        task: the name of the kind of task.
        modality: the kind of scans, such as CT or MR.
        display_window: the intensities that pictures show as black and as white.
    """
    return {
        "network_def": dict(network),
        "preprocessing": list(preprocessing),
        "inferer": dict(inferer),
        "medups": {
            "format": _FORMAT,
            "labels": labels.as_dict(),
            "orientation": ORIENTATION,
            "spacing": list(spacing) if spacing else None,
            "split": {part: list(names) for part, names in split.items()},
            "task": task,
            "modality": modality,
            "display_window": list(display_window),
        },
    }


def write_bundle(folder: Path, model: Model, weights: Mapping[str, Tensor], description: str) -> None:
    """Write ``model`` with ``weights`` as a bundle, the weights last, so that a bundle with weights is complete."""
    (folder / "models" / "model.pt").unlink(missing_ok=True)
    write_json(folder / "configs" / "metadata.json", _metadata(model, description))
    write_json(folder / "configs" / "inference.json", {**model.definition, **inference_sections(model.definition)})
    if model.task == "volume":
        write_json(folder / "configs" / "evaluate.json", EVALUATION)
    save_checkpoint(folder / "models" / "model.pt", weights)


def load_bundle(folder: Path, device: torch.device | str = "cpu") -> Model:
    """Read a bundle, with its network in eval mode on ``device``. No code in the bundle is executed.

    Raises:
        InputError: not a bundle, no weights, weights of another network, or a target outside the allow-list.
    """
    config, weights = folder / "configs" / "inference.json", folder / "models" / "model.pt"
    if not config.is_file():
        raise InputError(f"{folder}: not a bundle, configs/inference.json is missing; pass the folder that train wrote")
    if not weights.is_file():
        raise InputError(f"{folder}: a bundle without weights: models/model.pt is missing; finish the training run")
    content = read_json(config)
    if not isinstance(content, dict):
        raise InputError(f"{config}: expected a JSON object")
    try:
        model = make_model(content, str(config))
    except InputError:
        raise
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{config}: a section is damaged ({type(error).__name__}: {error})") from error
    try:
        values = load_checkpoint(weights)
        model.network.load_state_dict(values)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise InputError(f"{weights}: the weights do not fit the network of {config}: {error}") from error
    if broken := not_finite(values):
        raise InputError(
            f"{weights}: weights that are not finite numbers: {', '.join(broken[:8])}; train the model again"
        )
    model.network.to(device).eval()
    return model


def _metadata(model: Model, description: str) -> dict[str, Any]:
    """The metadata that MONAI requires in every bundle."""
    about = model.definition["medups"]
    return {
        "schema": _SCHEMA,
        "version": medups.__version__,
        "changelog": {medups.__version__: "trained by medups"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__,
        "numpy_version": np.__version__,
        "required_packages_version": {"medups": medups.__version__, "python": platform.python_version()},
        "task": f"Segmentation of {model.modality} scans" if model.task == "volume" else model.task,
        "description": description,
        "authors": "",
        "copyright": "",
        "network_data_format": about.get("data_format", {}),
    }
