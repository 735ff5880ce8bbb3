"""Networks whose convolutions are wrapped by adapters or parametrized: swapped where possible, kept with a reason."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import BasicUNet, UNet
from torch import nn
from torch.nn.utils import parametrizations

from medups.networks import swap_upsampling


class LowRank(nn.Module):
    """A LoRA adapter around a convolution, as PEFT makes it."""

    def __init__(self, base):
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.Conv2d(base.in_channels, 2, 1)
        self.lora_B = nn.ConvTranspose2d(2, base.out_channels, 2, stride=2)

    def forward(self, x):
        return self.base_layer(x) + self.lora_B(self.lora_A(x))


def unet():
    torch.manual_seed(0)
    return UNet(2, 1, 3, (4, 8, 16), (2, 2))


def wrap(net, kind, wrapper):
    """Replace every convolution of ``kind`` by ``wrapper(convolution)``."""
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, kind):
                setattr(module, name, wrapper(child))
    return net


def test_a_step_inside_an_adapter_is_kept_with_a_reason():
    net = wrap(BasicUNet(2, 1, 3, (8, 8, 8, 16, 16, 8)), nn.ConvTranspose2d, LowRank)
    image = torch.randn(1, 1, 32, 32)
    net.eval()
    expected = net(image)
    with pytest.raises(ValueError, match="wrapped in LowRank; merge or remove the wrapper, swap, and wrap again"):
        swap_upsampling(net, "resfu")
    assert torch.equal(net(image), expected)


def test_the_other_steps_are_swapped():
    """One of two steps is wrapped: the report names it, the other one gets the upsampler, and the network runs."""
    net = BasicUNet(2, 1, 3, (8, 8, 8, 16, 16, 8))
    net.upcat_4.upsample.deconv = LowRank(net.upcat_4.upsample.deconv)
    report = swap_upsampling(net, "resfu")
    assert [kept.path for kept in report.kept] == ["upcat_4"]
    assert "wrapped in LowRank" in report.kept[0].why
    assert len(report.swapped) == 3
    assert net(torch.randn(1, 1, 32, 32)).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("parametrize", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_a_parametrized_network_is_swapped(parametrize):
    net = wrap(unet(), nn.ConvTranspose2d, parametrize)
    report = swap_upsampling(net, "resfu")
    assert len(report.swapped) == 2
    assert net(torch.randn(1, 1, 32, 32)).shape == (1, 3, 32, 32)
