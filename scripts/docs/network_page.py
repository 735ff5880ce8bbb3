"""Rebuild the tables of docs/networks.md: what a swap finds in the networks of other libraries.

python scripts/docs/network_page.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from monai.networks import nets
from monai.utils import OptionalImportError
from page import DOCS, replace_section
from torch import nn

from medups.networks import SwapReport, swap_upsampling
from medups.networks.pictures.libraries import library

_LEVELS = {"channels": (8, 16, 16), "strides": (2, 2)}
_DYN = {"kernel_size": [3] * 4, "strides": [1, 2, 2, 2], "upsample_kernel_size": [2, 2, 2]}
_DINTS = [np.ones((12, 10)), np.zeros((12, 10), dtype=int)]  # every edge of its search space
Make = Callable[[int], nn.Module]
NETWORKS: dict[str, Make] = {
    "AHNet": lambda d: nets.AHNet(spatial_dims=d),
    "AttentionUnet": lambda d: nets.AttentionUnet(d, 1, 2, **_LEVELS),
    "BasicUNet": lambda d: nets.BasicUNet(d),
    "BasicUNetPlusPlus": lambda d: nets.BasicUNetPlusPlus(d),
    "DAF3D": lambda d: nets.DAF3D(1, 2),
    "DiNTS": lambda d: nets.DiNTS(nets.TopologyInstance(spatial_dims=d, arch_code=_DINTS), 1, 2, spatial_dims=d),
    "DynUNet": lambda d: nets.DynUNet(d, 1, 2, **_DYN),
    "FlexibleUNet": lambda d: nets.FlexibleUNet(1, 2, "resnet10", spatial_dims=d),
    "HighResNet": lambda d: nets.HighResNet(d),
    "HoVerNet": lambda d: nets.HoVerNet(),
    "MedNeXt": lambda d: nets.MedNeXt(d),
    "QuickNAT": lambda d: nets.Quicknat(),
    "SegResNet": lambda d: nets.SegResNet(d),
    "SegResNetDS": lambda d: nets.SegResNetDS(d),
    "SegResNetDS2": lambda d: nets.SegResNetDS2(d),
    "SegResNetVAE": lambda d: nets.SegResNetVAE((32,) * d, spatial_dims=d),
    "SwinUNETR": lambda d: nets.SwinUNETR(1, 2, spatial_dims=d),
    "UNet": lambda d: nets.UNet(d, 1, 2, **_LEVELS),
    "UNETR": lambda d: nets.UNETR(1, 2, (32,) * d, spatial_dims=d),
    "VISTA3D": lambda d: nets.vista3d132(),
    "VNet": lambda d: nets.VNet(d),
}
_ONLY_DIMS = {"DAF3D": 3, "HoVerNet": 2, "QuickNAT": 2, "VISTA3D": 3}
GUIDED, UNGUIDED = "resfu", "carafe"


def _smp(name: str) -> nn.Module:
    net: nn.Module = getattr(library("segmentation_models_pytorch"), name)("resnet18", encoder_weights=None)
    return net


def _transformers(kind: str) -> nn.Module:
    transformers = library("transformers")
    net: nn.Module = getattr(transformers, kind)(getattr(transformers, f"{kind.rpartition('For')[0]}Config")())
    return net


def _torchvision(name: str) -> nn.Module:
    from torchvision.models import detection, segmentation

    builder = getattr(segmentation if hasattr(segmentation, name) else detection, name)
    net: nn.Module = builder(weights=None, weights_backbone=None)
    return net


_SMP = ("DeepLabV3", "DeepLabV3Plus", "FPN", "Linknet", "MAnet", "PAN", "PSPNet", "Segformer", "UPerNet", "Unet",
        "UnetPlusPlus")  # fmt: skip
PICTURES: dict[str, Callable[[], nn.Module]] = {
    **{f"segmentation_models_pytorch `{name}`": partial(_smp, name) for name in _SMP},
    "transformers `SegformerForSemanticSegmentation`": partial(_transformers, "SegformerForSemanticSegmentation"),
    "transformers `UperNetForSemanticSegmentation`": partial(_transformers, "UperNetForSemanticSegmentation"),
    "transformers `MaskFormerForInstanceSegmentation`": partial(_transformers, "MaskFormerForInstanceSegmentation"),
    "transformers `Mask2FormerForUniversalSegmentation`": partial(
        _transformers, "Mask2FormerForUniversalSegmentation"
    ),
    **{
        f"torchvision `{name}`": partial(_torchvision, name)
        for name in (
            "fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn",
            "lraspp_mobilenet_v3_large", "deeplabv3_resnet50", "fcn_resnet50",
        )
    },
}  # fmt: skip


def swap_table() -> Iterator[str]:
    yield "| network | 2-D | 3-D | why steps are kept |"
    yield "|---|---|---|---|"
    for name, make in NETWORKS.items():
        kept: dict[str, None] = {}
        cells = [_cell(make, dims, kept) if _ONLY_DIMS.get(name, dims) == dims else "" for dims in (2, 3)]
        yield f"| {name} | {' | '.join(cells)} | {'; '.join(kept)} |"


def picture_table() -> Iterator[str]:
    yield "| network | steps | why steps are kept |"
    yield "|---|---|---|"
    for name, make in PICTURES.items():
        kept: dict[str, None] = {}
        cell = _cell_of(make(), kept)
        yield f"| {name} | {cell} | {'; '.join(kept)} |"


def _cell(make: Make, dims: int, kept: dict[str, None]) -> str:
    try:
        return _cell_of(make(dims), kept)
    except OptionalImportError:
        return "needs torchvision, not built"


def _cell_of(net: nn.Module, kept: dict[str, None]) -> str:
    guided, unguided = _steps(net, GUIDED), _steps(net, UNGUIDED)
    report = guided or unguided
    if report is None:
        kept["it upsamples in its own code, by layers with unknown channels, or not at all"] = None
        return "untouched"
    kept.update(dict.fromkeys(step.why for step in report.kept))
    steps = len(report.swapped) + len(report.kept)
    return f"{'guided' if guided else 'unguided'}, {len(report.swapped)} of {steps}"


def _steps(net: nn.Module, upsampler: str) -> SwapReport | None:
    try:
        return swap_upsampling(net, upsampler, dry_run=True)
    except ValueError:
        return None


def main() -> None:
    library("timm")  # declares torchvision's operators where they are missing
    replace_section(DOCS / "networks.md", "swap", swap_table())
    replace_section(DOCS / "networks.md", "swap pictures", picture_table())


if __name__ == "__main__":
    main()
