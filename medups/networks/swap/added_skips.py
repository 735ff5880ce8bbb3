"""SegResNet and MedNeXt: upsampling steps and decoder blocks in two lists, skips added in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from monai.networks.nets.mednext import MedNeXt
from monai.networks.nets.segresnet import SegResNet
from torch import Tensor, nn

from medups.networks.guided_step import GuidedStep
from medups.networks.swap.site import Placement, Site, convs, projection, renames, set_class, unwrapped


class GuidedSegResNet(SegResNet):
    """SegResNet after a swap: each step is guided by the skip that is added after it."""

    def decode(self, x: Tensor, down_x: list[Tensor]) -> Tensor:
        for step, blocks, skip in zip(self.up_samples, self.up_layers, down_x[1:], strict=False):
            x = blocks(_step(step, x, skip))
        return self.conv_final(x) if self.use_conv_final else x


def find_segresnet(net: Any, prefix: str) -> Iterator[Site]:
    """The steps of a SegResNet that are not swapped yet."""
    steps = net.up_samples
    for number, old in enumerate(steps):
        if isinstance(old, GuidedStep):
            continue
        last = unwrapped(convs(old[0])[-1])

        def place(upsampler: nn.Module, number: int = number, old: nn.Sequential = old) -> Placement:
            step = GuidedStep(upsampler, project=old[0], join="add")
            renames(step, {"0.": "project."})

            def install() -> None:
                steps[number] = step
                set_class(net, GuidedSegResNet)

            return Placement(step, (), install)

        dims = len(last.kernel_size)
        channels = last.out_channels
        path = f"{prefix}up_samples.{number}.1"
        yield Site(path, old[1], dims, (2.0,) * dims, channels, channels, place, projected=True)


class GuidedMedNeXt(MedNeXt):
    """MedNeXt after a swap: each step is guided by the skip that is added after it."""

    def forward(self, x: Tensor) -> Tensor | Sequence[Tensor]:
        x = self.stem(x)
        skips, inputs = [], []
        for stage, down in zip(self.enc_stages, self.down_blocks, strict=True):
            x = stage(x)
            skips.append(x)
            x = down(x)
        x = self.bottleneck(x)
        for step, stage in zip(self.up_blocks, self.dec_stages, strict=True):
            inputs.append(x)
            x = stage(_step(step, x, skips.pop()))
        logits: Tensor = self.out_0(x)
        if not (self.do_ds and self.training):
            return logits
        deep = [head(x) for head, x in zip(self.out_blocks, inputs, strict=True)]
        return (logits, *reversed(deep))


def find_mednext(net: Any, prefix: str) -> Iterator[Site]:
    """The steps of a MedNeXt that are not swapped yet."""
    steps = net.up_blocks
    for number, old in enumerate(steps):
        if isinstance(old, GuidedStep):
            continue
        transposed = next(part for part in old.modules() if isinstance(part, nn.ConvTranspose2d | nn.ConvTranspose3d))
        dims, into, out = len(transposed.stride), transposed.in_channels, convs(old)[-1].out_channels

        def place(
            upsampler: nn.Module, number: int = number, dims: int = dims, into: int = into, out: int = out
        ) -> Placement:
            project = projection(dims, into, out)
            step = GuidedStep(upsampler, project=project, join="add")

            def install() -> None:
                steps[number] = step
                set_class(net, GuidedMedNeXt)

            return Placement(step, (project,), install)

        yield Site(f"{prefix}up_blocks.{number}", old, dims, (2.0,) * dims, out, out, place)


def _step(step: nn.Module, x: Tensor, skip: Tensor) -> Tensor:
    """Run a decoder step and add its skip, whether or not the step was swapped."""
    out: Tensor = step(x, skip) if isinstance(step, GuidedStep) else step(x) + skip
    return out
