"""Networks for pictures whose code interpolates between modules: blocks get a step, and a forward pass that uses it.

Known are segmentation_models_pytorch's Unet, Unet++, MAnet and FPN, transformers' SegFormer, UPerNet, MaskFormer and
Mask2Former, and torchvision's LR-ASPP. Classes are recognized by their names, so that no library is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from medups.networks.guided_step import GuidedStep, Join
from medups.networks.swap.site import Placement, Site, convs, set_class
from medups.upsamplers import create_upsampler

_LIBRARIES = ("segmentation_models_pytorch", "transformers", "torchvision")


class GuidedUnetBlock(nn.Module):
    """A block of Unet, Unet++ or MAnet after a swap."""

    def forward(
        self,
        x: Tensor,
        *size_or_skip: Any,
        skip: Tensor | None = None,
        skip_connection: Tensor | None = None,
    ) -> Tensor:
        block = cast(Any, self)
        tensors = [value for value in (*size_or_skip, skip, skip_connection) if isinstance(value, Tensor)]
        guide = tensors[0] if tensors else None
        x = block.step(x, guide)
        sizes = [value for value in size_or_skip if isinstance(value, int)]
        if sizes:  # a block without a skip enlarges by 2, of which odd sizes keep all but the last pixel
            x = x[:, :, : sizes[0], : sizes[1]]
        if guide is not None and hasattr(block, "attention1"):
            x = block.attention1(x)
        out: Tensor = block.conv2(block.conv1(x))
        return block.attention2(out) if hasattr(block, "attention2") else out


class GuidedAttentionBlock(nn.Module):
    """MAnet's block with attention after a swap."""

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        block = cast(Any, self)
        up = block.step.refined(block.hl_conv(x), skip)
        weight = block.SE_hl(up.x) + block.SE_ll(up.guide)
        out: Tensor = block.conv2(block.conv1(torch.cat([up.x * weight, up.guide], 1)))
        return out


class GuidedFPNBlock(nn.Module):
    """A block of segmentation_models_pytorch's FPN after a swap."""

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        block = cast(Any, self)
        out: Tensor = block.step(x, block.skip_conv(skip))
        return out


class GuidedMaskFormerLayer(nn.Module):
    """A layer of MaskFormer's pyramid after a swap."""

    def forward(self, down: Tensor, left: Tensor) -> Tensor:
        layer = cast(Any, self)
        out: Tensor = layer.block(layer.step(down, layer.proj(left)))
        return out


class GuidedSegformerHead(nn.Module):
    """transformers' SegFormer head after a swap: every map is enlarged at once, guided by the finest."""

    def forward(self, encoder_hidden_states: Sequence[Tensor], **_: Any) -> Tensor:
        head = cast(Any, self)
        maps = [
            project(x).transpose(1, 2).unflatten(2, x.shape[2:])
            for project, x in zip(head.linear_projections, encoder_hidden_states, strict=True)
        ]
        enlarged = [step(x, maps[0]) for step, x in zip(head.steps, maps[1:], strict=True)]
        fused = head.activation(head.batch_norm(head.linear_fuse(torch.cat([*enlarged[::-1], maps[0]], 1))))
        logits: Tensor = head.classifier(head.dropout(fused))
        return logits


class GuidedUperNetHead(nn.Module):
    """transformers' UPerNet head after a swap: from map to map, and from every map to the finest."""

    def forward(self, encoder_hidden_states: Sequence[Tensor]) -> Tensor:
        head = cast(Any, self)
        *finer, coarsest = encoder_hidden_states
        maps = [lateral(x) for lateral, x in zip(head.lateral_convs, finer, strict=True)]
        maps.append(head.bottleneck(torch.cat([coarsest, *head.psp_modules(coarsest)], 1)))
        for level in range(len(maps) - 1)[::-1]:
            maps[level] = head.steps[level](maps[level + 1], maps[level])
        smooth = [conv(x) for conv, x in zip(head.fpn_convs, maps[:-1], strict=True)] + [maps[-1]]
        enlarged = [step(x, smooth[0]) for step, x in zip(head.final_steps, smooth[1:], strict=True)]
        logits: Tensor = head.classifier(head.fpn_bottleneck(torch.cat([smooth[0], *enlarged], 1)))
        return logits


class GuidedMask2FormerPixelDecoder(nn.Module):
    """Mask2Former's pixel decoder after a swap; its own pyramid steps are turned off, and these follow."""

    def forward(self, features: Sequence[Tensor], *arguments: Any, **options: Any) -> Any:
        decoder = cast(Any, self)
        output = super().forward(features, *arguments, **options)
        x = output.multi_scale_features[-1]
        finer = features[: len(decoder.steps)][::-1]
        layers = zip(decoder.steps, decoder.lateral_convolutions, decoder.output_convolutions, finer, strict=True)
        for step, lateral, smooth, feature in layers:
            x = smooth(step(x, lateral(feature)))
        output.mask_features = decoder.mask_projection(x)
        return output


class GuidedLRASPPHead(nn.Module):
    """torchvision's LR-ASPP head after a swap."""

    def forward(self, input: dict[str, Tensor]) -> Tensor:  # noqa: A002 - the name that callers use
        head = cast(Any, self)
        deep = head.cbr(input["high"]) * head.scale(input["high"])
        out: Tensor = head.low_classifier(input["low"]) + head.high_classifier(head.step(deep, input["low"]))
        return out


def find_interpolation(module: Any, prefix: str) -> Iterator[Site]:
    """The steps of ``module`` if it is one of the known networks or heads, and was not swapped before."""
    library = type(module).__module__.partition(".")[0]
    if library not in _LIBRARIES:
        return
    finder = _FINDERS.get(type(module).__name__)
    if finder is not None:
        yield from finder(module, prefix)


def _unet(net: Any, prefix: str) -> Iterator[Site]:
    deepest, *skips = net.encoder.out_channels[:0:-1]
    widths = [deepest, *(convs(block.conv2)[-1].out_channels for block in net.decoder.blocks)]
    for number, block in enumerate(net.decoder.blocks):
        path = f"{prefix}decoder.blocks.{number}."
        if hasattr(block, "hl_conv"):
            width = convs(block.hl_conv)[-1].out_channels
            yield from _in_block(block, path, GuidedAttentionBlock, width, width, "none")
        else:
            guide = skips[number] if number < len(skips) else None
            yield from _in_block(block, path, GuidedUnetBlock, widths[number], guide, "concat")


def _unet_plus_plus(net: Any, prefix: str) -> Iterator[Site]:
    decoder = net.decoder
    for name, block in decoder.blocks.items():
        if block.conv1 is None:
            continue
        depth, layer = (int(number) for number in name.split("_")[1:])
        width = decoder.in_channels[layer] if depth == 0 else decoder.skip_channels[layer - 1]
        guide = convs(block.conv1)[0].in_channels - width or None
        yield from _in_block(block, f"{prefix}decoder.blocks.{name}.", GuidedUnetBlock, width, guide, "concat")


def _fpn_block(block: Any, prefix: str) -> Iterator[Site]:
    width = block.skip_conv.out_channels
    yield from _in_block(block, prefix, GuidedFPNBlock, width, width, "add")


def _maskformer(layer: Any, prefix: str) -> Iterator[Site]:
    width = convs(layer.proj)[-1].out_channels
    yield from _in_block(layer, prefix, GuidedMaskFormerLayer, width, width, "add", "nearest")


def _lraspp(head: Any, prefix: str) -> Iterator[Site]:
    width, guide = convs(head.cbr)[-1].out_channels, head.low_classifier.in_channels
    yield from _in_block(head, prefix, GuidedLRASPPHead, width, guide, "none", "linear")


def _segformer(head: Any, prefix: str) -> Iterator[Site]:
    ratios = [2.0**level for level in range(1, len(head.linear_projections))]
    width = head.classifier.in_channels
    yield from _in_list(head, prefix, GuidedSegformerHead, {"steps": (ratios, "none")}, width)


def _upernet(head: Any, prefix: str) -> Iterator[Site]:
    levels = range(1, len(head.lateral_convs) + 1)
    lists: dict[str, tuple[list[float], Join]] = {
        "steps": ([2.0 for _ in levels], "add"),
        "final_steps": ([2.0**level for level in levels], "none"),
    }
    yield from _in_list(head, prefix, GuidedUperNetHead, lists, head.channels)


def _mask2former(decoder: Any, prefix: str) -> Iterator[Site]:
    levels = decoder.num_fpn_levels

    def turn_off() -> None:
        decoder.num_fpn_levels = 0

    lists: dict[str, tuple[list[float], Join]] = {"steps": ([2.0] * levels, "add")}
    width = convs(decoder.mask_projection)[0].in_channels
    # its own forward pass, which calls other methods of its class, computes all but the last steps
    guided = type("GuidedMask2FormerPixelDecoder", (GuidedMask2FormerPixelDecoder, type(decoder)), {})
    yield from _in_list(decoder, prefix, guided, lists, width, turn_off)


_FINDERS: dict[str, Callable[[Any, str], Iterator[Site]]] = {
    "Unet": _unet,
    "MAnet": _unet,
    "UnetPlusPlus": _unet_plus_plus,
    "FPNBlock": _fpn_block,
    "MaskFormerFPNLayer": _maskformer,
    "LRASPPHead": _lraspp,
    "Mask2FormerPixelDecoder": _mask2former,
    "SegformerDecodeHead": _segformer,
    "UperNetHead": _upernet,
}


def _in_block(
    block: Any, prefix: str, guided: type[nn.Module], width: int, guide: int | None, join: Join, mode: str = ""
) -> Iterator[Site]:
    """The only step of a block, which becomes its submodule ``step``."""
    if hasattr(block, "step"):  # swapped before; found as a guided step
        return
    old = _interpolation(mode or block.interpolation_mode, width, guide, 2)

    def place(upsampler: nn.Module) -> Placement:
        step = GuidedStep(upsampler, join=join)

        def install() -> None:
            block.step = step
            set_class(block, guided)

        return Placement(step, (), install)

    yield Site(f"{prefix}step", old, 2, (2.0, 2.0), width, guide, place, projected=True)


def _in_list(
    head: Any,
    prefix: str,
    guided: type[nn.Module],
    lists: dict[str, tuple[list[float], Join]],
    width: int,
    prepare: Callable[[], None] = lambda: None,
) -> Iterator[Site]:
    """The steps of a head, which become the module lists ``lists``: the ratio of each step, and how it is joined."""
    if any(hasattr(head, name) for name in lists):
        return

    def install(name: str, number: int, step: GuidedStep) -> None:
        if not hasattr(head, name):
            prepare()
            set_class(head, guided)
            for other, (ratios, join) in lists.items():
                plain = (GuidedStep(_interpolation("linear", width, width, ratio), join=join) for ratio in ratios)
                setattr(head, other, nn.ModuleList(plain))
        getattr(head, name)[number] = step

    def place(upsampler: nn.Module, name: str, number: int, join: Join) -> Placement:
        step = GuidedStep(upsampler, join=join)
        return Placement(step, (), partial(install, name, number, step))

    for name, (ratios, join) in lists.items():
        for number, ratio in enumerate(ratios):
            old = _interpolation("linear", width, width, ratio)
            here = partial(place, name=name, number=number, join=join)
            path = f"{prefix}{name}.{number}"
            yield Site(path, old, 2, (ratio, ratio), width, width, here, projected=True)


def _interpolation(mode: str, width: int, guide: int | None, ratio: float) -> nn.Module:
    """What the network's code does: torch's ``nearest`` or ``bilinear`` interpolation."""
    name = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    return create_upsampler(name, spatial_dims=2, in_channels=width, guide_channels=guide, scale_factor=ratio)
