"""Error of each upsampler against float64, in the types that networks use."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from medups.upsamplers import create_upsampler, list_upsamplers

CHANNELS, SIZE = 64, 28
TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def precision_table(device: str = "cpu") -> Iterator[str]:
    """Maximum error over maximum value, of the output and of the gradient of x, for identically rounded inputs."""
    yield "| method | " + " | ".join(f"{name} output | gradient" for name in TYPES) + " | bfloat16 autocast output |"
    yield "|---|" + "--:|" * (2 * len(TYPES) + 1)
    for name in list_upsamplers():
        torch.manual_seed(0)
        module = create_upsampler(name, spatial_dims=2, in_channels=CHANNELS, guide_channels=CHANNELS).double()
        for parameter in module.parameters():  # avoids initial values that make all kernels equal
            nn.init.normal_(parameter, std=0.1)
        x = torch.randn(2, CHANNELS, SIZE, SIZE, dtype=torch.float64)
        guide = torch.randn(2, CHANNELS, 2 * SIZE, 2 * SIZE, dtype=torch.float64)
        cells = []
        for dtype in TYPES.values():
            low = copy.deepcopy(module).to(device, dtype)
            inputs = x.to(device, dtype), guide.to(device, dtype)
            computed = _run(low, *inputs)
            exact = _run(copy.deepcopy(low).double(), *(value.double() for value in inputs))
            cells += [_relative(a, b) for a, b in zip(computed, exact, strict=True)]
        with torch.autocast(device, torch.bfloat16), torch.no_grad():
            mixed = copy.deepcopy(module).to(device, torch.float32)(x.to(device).float(), guide.to(device).float()).x
        cells.append(_relative(mixed, module(x, guide).x))
        yield f"| `{name}` | " + " | ".join(f"{cell:.0e}" for cell in cells) + " |"


def _run(module: nn.Module, x: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    out = module(x, guide)
    weight = torch.linspace(-1, 1, out.x.shape[-1], device=x.device).to(out.x.dtype)
    (out.x * weight).sum().backward()
    assert x.grad is not None
    return out.x.detach(), x.grad


def _relative(computed: Tensor, exact: Tensor) -> float:
    computed, exact = computed.detach().cpu().double(), exact.detach().cpu()
    return float((computed - exact).abs().max() / exact.abs().max())
