"""Feature pyramids of MONAI and torchvision, which have the same submodules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

from torch import Tensor, nn

from medups.networks.guided_step import GuidedStep
from medups.networks.swap.site import Placement, Site, convs, set_class, unwrapped
from medups.upsamplers import create_upsampler


class GuidedFPN(nn.Module):
    """A feature pyramid after a swap: lateral maps are the guides, and the refined guide is added."""

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        net = cast(Any, self)
        names, maps = list(x), list(x.values())
        inner = net.inner_blocks[-1](maps[-1])
        results = [net.layer_blocks[-1](inner)]
        for number in reversed(range(len(maps) - 1)):
            inner = net.steps[number](inner, net.inner_blocks[number](maps[number]))
            results.insert(0, net.layer_blocks[number](inner))
        if net.extra_blocks is not None:
            results, names = net.extra_blocks(results, maps, names)
        return OrderedDict(zip(names, results, strict=True))


def find_pyramid(net: Any, prefix: str) -> Iterator[Site]:
    """The steps of a feature pyramid, from each level to the finer one."""
    layers = net.layer_blocks
    for number in range(len(layers) - 1):
        out = unwrapped(convs(layers[number])[-1])
        dims, channels = len(out.kernel_size), out.in_channels

        def place(upsampler: nn.Module, number: int = number, dims: int = dims, channels: int = channels) -> Placement:
            step = GuidedStep(upsampler, join="add")

            def install() -> None:
                if not isinstance(net, GuidedFPN):
                    set_class(net, GuidedFPN)
                    sizes = {"spatial_dims": dims, "in_channels": channels, "guide_channels": channels}
                    nearest = partial(create_upsampler, "nearest", **sizes)
                    net.steps = nn.ModuleList(GuidedStep(nearest(), join="add") for _ in range(len(layers) - 1))
                net.steps[number] = step

            return Placement(step, (), install)

        # the forward pass's interpolation
        nearest = create_upsampler("nearest", spatial_dims=dims, in_channels=channels, guide_channels=channels)
        path = f"{prefix}steps.{number}"
        yield Site(path, nearest, dims, (2.0,) * dims, channels, channels, place, projected=True)
