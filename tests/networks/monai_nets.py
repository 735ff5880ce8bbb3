"""Small MONAI networks shared by the swap tests."""

from __future__ import annotations

import pytest
import torch
from monai.networks import nets

DIMS = pytest.mark.parametrize("dims", [2, 3])


FEATURES = (8, 8, 16, 16, 16, 8)


LEVELS = {"channels": (8, 16, 16), "strides": (2, 2)}


# each with an image size, an uneven one where the network accepts it
NETS = {
    "BasicUNet": (lambda d: nets.BasicUNet(d, 1, 3, FEATURES), 35),
    "BasicUNet, interpolated": (lambda d: nets.BasicUNet(d, 1, 3, FEATURES, upsample="nontrainable"), 35),
    "BasicUNetPlusPlus": (lambda d: nets.BasicUNetPlusPlus(d, 1, 3, FEATURES), 32),
    "DynUNet": (lambda d: nets.DynUNet(d, 1, 3, [3] * 3, [1, 2, 2], [2, 2], filters=[8, 16, 16]), 10),
    "UNETR": (lambda d: nets.UNETR(1, 3, (16,) * d, 8, 24, 32, 4, spatial_dims=d), 16),
    "SwinUNETR": (lambda d: nets.SwinUNETR(1, 3, feature_size=12, depths=(1, 1, 1, 1), spatial_dims=d), 64),
    "UNet": (lambda d: nets.UNet(d, 1, 3, **LEVELS), 20),
    "UNet of residual units": (lambda d: nets.UNet(d, 1, 3, num_res_units=2, **LEVELS), 20),
    "AttentionUnet": (lambda d: nets.AttentionUnet(d, 1, 3, **LEVELS), 20),
    "SegResNet": (lambda d: nets.SegResNet(d, 8, 1, 3, blocks_down=(1, 1, 1), blocks_up=(1, 1)), 20),
    "MedNeXt": (lambda d: nets.MedNeXt(d, 8, 1, 3, kernel_size=3, blocks_down=(1, 1), blocks_up=(1, 1)), 20),
    "FlexibleUNet": (lambda d: nets.FlexibleUNet(1, 3, "resnet10", False, (16, 16, 8, 8, 8), spatial_dims=d), 32),
}


def make(name, dims):
    torch.manual_seed(0)
    build, size = NETS[name]
    return build(dims), torch.randn(2, 1, *[size] * dims)


def logits(net, image):
    out = net(image)
    return out[0] if isinstance(out, list | tuple) else out


def idle(net, image):
    """Names of the parameters that receive no gradient."""
    net.train().zero_grad()
    out = net(image)
    sum(output.square().mean() for output in (out if isinstance(out, list | tuple) else [out])).backward()
    return {name for name, parameter in net.named_parameters() if parameter.grad is None}
