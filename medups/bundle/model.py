"""The bundle on disk.

    configs/inference.json   network, preprocessing, inferer, labels, orientation: plain values, which medups
                             reads; and expressions that let ``python -m monai.bundle run`` run it
    configs/metadata.json    what MONAI asks of every bundle
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
from numpy.typing import NDArray
from torch import Tensor, nn

import medups
from medups.config import build
from medups.data.canonical import ORIENTATION
from medups.data.labels import LabelSet
from medups.errors import InputError
from medups.files import read_json, write_json
from medups.training.checkpoint import load_checkpoint, save_checkpoint

_FORMAT = 1
_SECTIONS = ("network_def", "preprocessing", "inferer", "medups")


@dataclass(frozen=True)
class Model:
    """Everything a scan needs to become a mask.

    definition: the plain sections the parts were built from; they are what the bundle stores.
    """

    network: nn.Module
    labels: LabelSet
    definition: Mapping[str, Any]
    inferer: Callable[..., NDArray[np.uint8]] = field(repr=False)
    preprocessing: Compose = field(repr=False)

    @property
    def orientation(self) -> str:
        return str(self.definition["medups"]["orientation"])

    @property
    def spacing(self) -> tuple[float, ...] | None:
        spacing = self.definition["medups"]["spacing"]
        return tuple(spacing) if spacing else None

    @property
    def split(self) -> Mapping[str, Sequence[str]]:
        """Names of the cases it was trained, validated and to be tested on."""
        return self.definition["medups"]["split"]

    def segment(
        self,
        image: NDArray[np.generic],
        device: torch.device | str,
        shape: tuple[int, ...] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> NDArray[np.uint8]:
        """Canonical intensities [S, P, L] at the model's spacing -> ids, resized to ``shape`` where given."""
        sample: Any = self.preprocessing({"image": torch.from_numpy(np.array(image, dtype=np.float32))[None]})
        prepared = np.asarray(sample["image"], dtype=np.float32)[0]
        return self.inferer(prepared, self.network, device=device, shape=shape, progress=progress)


def make_model(definition: Mapping[str, Any], source: str) -> Model:
    """Build the parts that the plain sections describe; weights are as initialised."""
    missing = [name for name in _SECTIONS if name not in definition]
    if missing:
        raise InputError(f"{source}: the sections {', '.join(missing)} are missing; this is no medups bundle")
    own = definition["medups"]
    if own.get("format") != _FORMAT:
        raise InputError(f"{source}: bundle format {own.get('format')!r}, this version reads {_FORMAT}")
    if own["orientation"] != ORIENTATION:
        raise InputError(f"{source}: slice orientation {own['orientation']!r}, this version reads {ORIENTATION!r}")
    network = build(definition["network_def"], source)
    if not isinstance(network, nn.Module):
        raise InputError(f"{source}: network_def is a {type(network).__name__}, expected a network")
    return Model(
        network=network,
        labels=LabelSet(own["labels"]["name"], {int(k): v for k, v in own["labels"]["organs"].items()}),
        definition={name: definition[name] for name in _SECTIONS},
        inferer=build(definition["inferer"], source),
        preprocessing=Compose([build(spec, source) for spec in definition["preprocessing"]]),
    )


def define(
    network: Mapping[str, Any],
    preprocessing: Sequence[Mapping[str, Any]],
    inferer: Mapping[str, Any],
    labels: LabelSet,
    spacing: Sequence[float] | None,
    split: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """The plain sections of a bundle. Raises InputError for a spacing that is none."""
    fitting = isinstance(spacing, Sequence) and len(spacing) == 3
    if spacing is not None and not (fitting and all(isinstance(mm, int | float) and mm > 0 for mm in spacing)):
        raise InputError(f"network.spacing must be three numbers of millimetres above 0, or null, got {spacing}")
    return {
        "network_def": dict(network),
        "preprocessing": list(preprocessing),
        "inferer": dict(inferer),
        "medups": {
            "format": _FORMAT,
            "labels": {"name": labels.name, "organs": {str(k): v for k, v in labels.organs.items()}},
            "orientation": ORIENTATION,
            "spacing": list(spacing) if spacing else None,
            "split": {part: list(names) for part, names in split.items()},
        },
    }


def write_bundle(folder: Path, model: Model, weights: Mapping[str, Tensor], description: str) -> None:
    """Write ``model`` with ``weights`` as a bundle; the weights come last, so a bundle with weights is whole."""
    run = {
        "bundle_root": ".",
        "input": "",
        "output": "",
        "device": "cpu",
        "predictor": {"_target_": "medups.bundle.Predictor", "bundle": "@bundle_root", "device": "@device"},
        "run": ["$@predictor(@input, @output)"],
    }
    (folder / "models" / "model.pt").unlink(missing_ok=True)
    write_json(folder / "configs" / "metadata.json", _metadata(model, description))
    write_json(folder / "configs" / "inference.json", {**model.definition, **run})
    save_checkpoint(folder / "models" / "model.pt", weights)


def load_bundle(folder: Path, device: torch.device | str = "cpu") -> Model:
    """Read a bundle, its network in eval mode on ``device``. Nothing in it is executed.

    Raises:
        InputError: no bundle, no weights, weights of another network, or a target outside the allow-list.
    """
    config, weights = folder / "configs" / "inference.json", folder / "models" / "model.pt"
    if not config.is_file():
        raise InputError(f"{folder}: not a bundle, configs/inference.json is missing; give the folder that train wrote")
    if not weights.is_file():
        raise InputError(f"{folder}: a bundle without weights, models/model.pt is missing; finish the training run")
    content = read_json(config)
    if not isinstance(content, dict):
        raise InputError(f"{config}: expected a JSON object")
    try:
        model = make_model(content, str(config))
    except (KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{config}: a section is damaged ({type(error).__name__}: {error})") from error
    try:
        model.network.load_state_dict(load_checkpoint(weights))
    except RuntimeError as error:
        raise InputError(f"{weights}: the weights do not fit the network of {config}: {error}") from error
    model.network.to(device).eval()
    return model


def _metadata(model: Model, description: str) -> dict[str, Any]:
    channels = {"0": "background", **{str(number): name for number, name in model.labels.organs.items()}}
    size = model.definition["network_def"].get("img_size") or model.definition["inferer"].get("roi_size")
    shape = [size, size] if isinstance(size, int) else list(size or [])
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20220324.json",
        "version": medups.__version__,
        "changelog": {medups.__version__: "trained by medups"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__,
        "numpy_version": np.__version__,
        "required_packages_version": {"medups": medups.__version__, "python": platform.python_version()},
        "task": "Segmentation of organs in CT",
        "description": description,
        "authors": "",
        "copyright": "",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image", "format": "hounsfield", "modality": "CT", "num_channels": 1,
                    "spatial_shape": shape, "dtype": "float32", "value_range": [0, 1],
                    "is_patch_data": len(shape) == 3, "channel_def": {"0": "image"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image", "format": "segmentation", "num_channels": len(channels),
                    "spatial_shape": shape, "dtype": "float32", "value_range": [],
                    "is_patch_data": len(shape) == 3, "channel_def": channels,
                }
            },
        },
    }  # fmt: skip
