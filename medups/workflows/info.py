"""What a bundle is: its network, organs, input and training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medups.bundle.model import load_bundle
from medups.io.files import read_json, user_path
from medups.tasks import VolumeTask


@dataclass(frozen=True)
class BundleInfo:
    """Facts about a bundle.

    Args:
        description: what trained it, and for how long.
        network, upsampler: their names; upsampler is empty for networks without a choice.
        parameters: of the network.
        organs: names by id.
        modality: of the training scans.
        input_size: of a slice or window.
        spacing_mm: that scans are resampled to, along the axes toward head, back and left; None if they keep their own.
        cases: number of cases for training, validation and testing.
        versions: of the software that wrote it.
        license: of the weights, if the author stated one.
    """

    description: str
    network: str
    upsampler: str
    parameters: int
    organs: dict[int, str]
    modality: str
    input_size: tuple[int, ...]
    spacing_mm: tuple[float, ...] | None
    cases: dict[str, int]
    versions: dict[str, str]
    license: str


def bundle_info(bundle: str | Path) -> BundleInfo:
    """Facts about a bundle. Raises InputError if it is invalid or damaged."""
    folder = user_path(bundle)
    model = load_bundle(folder)
    metadata = read_json(folder / "configs" / "metadata.json")
    network, inferer = model.definition["network_def"], model.definition["inferer"]
    size = inferer.get("roi_size") or inferer.get("size") or inferer.get("short") or []
    return BundleInfo(
        description=str(metadata.get("description", "")),
        network=str(network["_target_"]).rpartition(".")[2],
        upsampler=str(network.get("upsampler", "")),
        parameters=sum(parameter.numel() for parameter in model.network.parameters()),
        organs=model.labels.channels if model.task != VolumeTask.name else dict(model.labels.organs),
        modality=model.modality,
        input_size=(size, size) if isinstance(size, int) else tuple(size),
        spacing_mm=model.spacing,
        cases={part: len(names) for part, names in model.split.items()},
        versions={
            "medups": str(metadata.get("version", "")),
            "torch": str(metadata.get("pytorch_version", "")),
            "monai": str(metadata.get("monai_version", "")),
        },
        license=str(metadata.get("copyright", "")),
    )
