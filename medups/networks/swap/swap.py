"""Swapping the upsampling of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import nn

from medups.networks.guided_step import GuidedStep, Start, reads_guide, step_upsampler
from medups.networks.swap.blocks import find_blocks, find_transposed
from medups.networks.swap.nets import find_nets
from medups.networks.swap.report import Kept, Swapped, SwapReport
from medups.networks.swap.site import Site, describe
from medups.upsamplers import upsampler_class
from medups.upsamplers.layers import CONV_CLASSES

_KNOWN = (
    "UpCat (BasicUNet, FlexibleUNet), UnetUpBlock (DynUNet), UnetrUpBlock (UNETR, SwinUNETR), AttentionLayer "
    "(AttentionUnet), the levels of UNet, SegResNet, MedNeXt, FeaturePyramidNetwork of MONAI and torchvision; Unet, "
    "Unet++, MAnet and FPN of segmentation_models_pytorch; SegFormer, UPerNet, MaskFormer and Mask2Former of "
    "transformers; torchvision's LR-ASPP; and transposed convolutions, by upsamplers that need no guide"
)


def swap_upsampling(
    net: nn.Module,
    upsampler: str,
    *,
    only: str | Sequence[str] | None = None,
    dry_run: bool = False,
    start: Literal["published", "interpolation"] = "published",
    **options: Any,
) -> SwapReport:
    """Replace the upsampling of ``net`` in place by ``upsampler``, guided by its skips where available.

    Args:
        net: any network, before or after its weights are loaded: remaining layers keep their weights, and a
            checkpoint of the original network loads with ``strict=False``.
        upsampler: any name of ``list_upsamplers()``.
        only: patterns of paths such as ``"decoder*"``; other steps are kept.
        dry_run: report what would change, without changing anything.
        start: ``published`` starts from the method's own initial weights, for training from scratch. ``interpolation``
            is for trained networks: each step starts as the interpolation or transposed convolution that it replaces,
            so that the network's output does not change, and learns how much of the new upsampler to use; see
            :class:`~medups.networks.guided_step.Start`.
        options: further arguments of the upsampler.

    Returns:
        Every upsampling step: its new upsampler, or why it was kept. Interpolation called as a function in a
        network's code is not detected, except in known networks. New layers have their method's initialization and the
        network's device and dtype.

    Raises:
        ValueError: nothing to replace (the message lists the known blocks), an unknown upsampler, or an option that
            does not fit a step (the message names the step).
    """
    _check(net, start)
    needs_guide = upsampler_class(upsampler).needs_guide
    patterns = [only] if isinstance(only, str) else only
    report, installs = SwapReport(), []
    with torch.random.fork_rng(devices=[]) if dry_run else nullcontext():
        for step in _find(net, needs_guide):
            if isinstance(step, Site) and patterns is not None and not _matches(step.path, patterns):
                step = Kept(step.path, step.old, "its path matches none of the patterns")
            elif isinstance(step, Site) and start == "interpolation" and step.no_start:
                step = Kept(step.path, step.old, f"{step.no_start}, so that the new upsampler cannot start from it")
            if isinstance(step, Kept):
                report.kept.append(step)
                continue
            install, swapped = _build_step(step, net, upsampler, options, start == "interpolation")
            report.swapped.append(swapped)
            installs.append(install)
    if not report.swapped:
        reasons = "".join(f"\n  {kept}" for kept in report.kept) or " no upsampling was found."
        raise ValueError(
            f"swap_upsampling: nothing to replace with {upsampler!r} in {type(net).__name__}:{reasons}\n"
            f"Known blocks: {_KNOWN}."
        )
    if not dry_run:
        _install(net, installs)
    return report


def _check(net: object, start: str) -> None:
    if not isinstance(net, nn.Module):
        raise TypeError(f"swap_upsampling: expected a network, got {type(net).__name__}")
    if start not in ("published", "interpolation"):
        raise ValueError(f"swap_upsampling: start must be 'published' or 'interpolation', got {start!r}")


def with_upsampler(network: nn.Module, upsampler: str, options: Mapping[str, Any] | None = None) -> nn.Module:
    """Apply :func:`swap_upsampling` and return ``network``, for use in configurations."""
    swap_upsampling(network, upsampler, **(options or {}))
    return network


def _find(net: nn.Module, needs_guide: bool) -> Iterator[Site | Kept]:
    """Guided steps first, then other upsampling that is not part of one."""
    known: list[str] = [path for path, module in net.named_modules() if isinstance(module, GuidedStep)]

    def is_known(path: str) -> bool:
        return any(path == prefix or path.startswith(f"{prefix}.") for prefix in known)

    def usable(step: Site | Kept) -> Site | Kept:
        if not isinstance(step, Site):
            return step
        if step.spatial_dims not in CONV_CLASSES:
            return Kept(step.path, step.old, f"upsamplers need 2 or 3 spatial axes, not {step.spatial_dims}")
        if needs_guide and step.guide_channels is None:
            return Kept(step.path, step.old, "it has no skip to guide it")
        return step

    paths: set[str] = set()
    for step in (*find_nets(net), *find_blocks(net)):
        if step.path in paths:  # the network's finder takes precedence over the block's
            continue
        paths.add(step.path)
        known.append(step.path)
        yield usable(step)
    for step in find_transposed(net):
        if not is_known(step.path):
            known.append(step.path)
            yield usable(step)
    for path, module in net.named_modules():
        if isinstance(module, nn.Upsample | nn.PixelShuffle) and not is_known(path):
            yield Kept(path, describe(module), "its channels and skip are unknown")


def _build_step(
    site: Site, net: nn.Module, upsampler: str, options: Mapping[str, Any], from_replaced: bool
) -> tuple[Callable[[], None], Swapped]:
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
    start = None
    if from_replaced:
        refined = guide_channels if getattr(new, "refines_guide", False) else None
        start = Start(site.replaced, site.spatial_dims, site.channels, refined, site.projected, like.detach())
    swapped = Swapped(
        path=site.path,
        old=site.old,
        new=upsampler,
        ratio=site.ratio,
        channels=site.channels,
        guide_channels=guide_channels,
        old_parameters=_count((site.replaced,)),
        new_parameters=_count((new, *placement.new, *(() if start is None else (start,)))),
    )

    def install() -> None:
        placement.install()
        placement.step.start = start

    return install, swapped


def _install(net: nn.Module, installs: Iterable[Callable[[], None]]) -> None:
    before = set(net.modules())
    for install in installs:
        install()
    _drop_unused_stems(net)
    for module in set(net.modules()) - before:
        module.training = net.training


def _drop_unused_stems(net: nn.Module) -> None:
    """Remove the image stem of this library's networks if no step without a skip reads a guide."""
    owners: list[Any] = list(net.modules())
    for module in owners:
        if getattr(module, "image_guide", None) is not None:
            steps: list[Any] = [
                step for step in module.modules() if isinstance(step, GuidedStep) and step.join == "none"
            ]
            if steps and not any(reads_guide(step.upsampler) for step in steps):  # else fused, or read, by a step
                module.image_guide = None
                for step in steps:
                    step.upsampler.guide_channels = None


def _count(modules: Iterable[nn.Module]) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
