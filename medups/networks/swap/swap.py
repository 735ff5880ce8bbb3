"""One line that swaps the upsampling of a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from medups.networks.guided_step import GuidedStep, reads_guide, step_upsampler
from medups.networks.swap.blocks import find_blocks, find_transposed
from medups.networks.swap.nets import find_nets
from medups.networks.swap.report import Kept, Swapped, SwapReport
from medups.networks.swap.site import Placement, Site, describe
from medups.upsamplers import upsampler_class
from medups.upsamplers.parts import CONVS

_KNOWN = (
    "UpCat (BasicUNet, FlexibleUNet), UnetUpBlock (DynUNet), UnetrUpBlock (UNETR, SwinUNETR), AttentionLayer "
    "(AttentionUnet), the levels of UNet, SegResNet, MedNeXt, FeaturePyramidNetwork of MONAI and torchvision; and "
    "transposed convolutions, by upsamplers that need no guide"
)


def swap_upsampling(
    net: nn.Module, upsampler: str, *, only: str | Sequence[str] | None = None, dry_run: bool = False, **options: Any
) -> SwapReport:
    """Have ``net`` upsample by ``upsampler``, in place, guided by its skips wherever it has them.

    Args:
        net: any network; see the report for what was found in it. Before or after its weights are loaded: what
            stays keeps its weights, and a checkpoint of the net as it was loads with ``strict=False``.
        upsampler: any name of ``list_upsamplers()``.
        only: patterns of paths, as in ``"decoder*"``; other steps keep what they had.
        dry_run: report what would be done, and change nothing.
        options: further arguments of the upsampler.

    Returns:
        Every upsampling step: what it was given, or why it was kept. Interpolation that a network's own code calls
        as a function cannot be seen, unless the network is a known one. New layers are initialised as their
        methods say, on the net's device and in its dtype.

    Raises:
        ValueError: nothing to replace (the message lists the blocks that are known), an unknown upsampler, or an
            option that does not fit a step (the message names the step).
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"swap_upsampling: expected a network, got {type(net).__name__}")
    needs_guide = upsampler_class(upsampler).needs_guide
    patterns = [only] if isinstance(only, str) else only
    report, deeds = SwapReport(), []
    with torch.random.fork_rng(devices=[]) if dry_run else nullcontext():
        for found in _find(net, needs_guide):
            if isinstance(found, Site) and patterns is not None and not _matches(found.path, patterns):
                found = Kept(found.path, found.old, "its path is not among those asked for")
            if isinstance(found, Kept):
                report.kept.append(found)
                continue
            placement, swapped = _prepare(found, net, upsampler, options)
            report.swapped.append(swapped)
            deeds.append(placement.put)
    if not report.swapped:
        reasons = "".join(f"\n  {kept}" for kept in report.kept) or " nothing that upsamples was found."
        raise ValueError(
            f"swap_upsampling: nothing to replace by {upsampler!r} in {type(net).__name__}:{reasons}\n"
            f"Known are {_KNOWN}."
        )
    if not dry_run:
        before = set(net.modules())
        for put in deeds:
            put()
        _drop_idle_stems(net)
        for module in set(net.modules()) - before:
            module.training = net.training
    return report


def with_upsampler(network: nn.Module, upsampler: str, options: Mapping[str, Any] | None = None) -> nn.Module:
    """``network`` after :func:`swap_upsampling`: for configurations."""
    swap_upsampling(network, upsampler, **(options or {}))
    return network


def _find(net: nn.Module, needs_guide: bool) -> Iterator[Site | Kept]:
    """Guided steps first; then what else upsamples and is not part of one."""
    known: list[str] = [path for path, module in net.named_modules() if isinstance(module, GuidedStep)]

    def is_known(path: str) -> bool:
        return any(path == one or path.startswith(f"{one}.") for one in known)

    def guidable(found: Site | Kept) -> Site | Kept:
        if not isinstance(found, Site):
            return found
        if found.spatial_dims not in CONVS:
            return Kept(found.path, found.old, f"upsamplers have 2 or 3 spatial axes, it has {found.spatial_dims}")
        if needs_guide and found.guide_channels is None:
            return Kept(found.path, found.old, "no skip beside it to be guided by")
        return found

    paths: set[str] = set()
    for found in (*find_nets(net), *find_blocks(net)):
        if found.path in paths:  # a network may know more of a step than the step itself
            continue
        paths.add(found.path)
        known.append(found.path)
        yield guidable(found)
    for found in find_transposed(net):
        if not is_known(found.path):
            known.append(found.path)
            yield guidable(found)
    for path, module in net.named_modules():
        if isinstance(module, nn.Upsample | nn.PixelShuffle) and not is_known(path):
            yield Kept(path, describe(module), "it tells neither its channels nor a skip")


def _prepare(site: Site, net: nn.Module, upsampler: str, options: Mapping[str, Any]) -> tuple[Placement, Swapped]:
    unguided = site.image_guide and not upsampler_class(upsampler).needs_guide
    guide_channels = None if unguided else site.guide_channels
    try:
        new = step_upsampler(upsampler, site.spatial_dims, site.channels, guide_channels, site.ratio, options)
    except ValueError as error:
        raise ValueError(f"swap_upsampling: {site.path}: {error}") from error
    placement = site.place(new)
    like = next(net.parameters(), torch.zeros(0))
    for module in (new, *placement.new):
        module.to(like.device, like.dtype)
    swapped = Swapped(
        path=site.path,
        old=site.old,
        new=upsampler,
        ratio=site.ratio,
        channels=site.channels,
        guide_channels=guide_channels,
        old_parameters=_count((site.gone,)),
        new_parameters=_count((new, *placement.new)),
    )
    return placement, swapped


def _drop_idle_stems(net: nn.Module) -> None:
    """What makes a guide of the image in this library's networks goes where no step without a skip reads it."""
    owners: list[Any] = list(net.modules())
    for module in owners:
        if getattr(module, "image_guide", None) is not None:
            steps: list[Any] = [
                step for step in module.modules() if isinstance(step, GuidedStep) and step.join == "none"
            ]
            if not any(reads_guide(step.upsampler) for step in steps):
                module.image_guide = None
                for step in steps:
                    step.upsampler.guide_channels = None


def _count(modules: Iterable[nn.Module]) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
