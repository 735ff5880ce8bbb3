"""Parameters in groups with their own learning rates and weight decay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from medups.upsamplers import list_upsamplers, upsampler_class
from medups.upsamplers.base import Part, Upsampler


def parameter_groups(
    network: nn.Module,
    rate: float,
    weight_decay: float,
    *,
    decay_all: bool = True,
    rates: Mapping[str, float | None] | None = None,
    adaptive: bool = True,
) -> list[dict[str, Any]]:
    """Groups for an optimizer; each parameter is in exactly one, and empty groups are omitted.

    Args:
        rate, weight_decay: of most parameters.
        decay_all: if False, vectors (biases and the parameters of norms) are not decayed.
        rates: factors on ``rate``, by part of the upsamplers, such as ``offsets``, or by pattern of parameter names,
            which takes precedence; other parts, and those given None, have the factors that their class declares. The
            weight decay is divided by the factor, so that the product, by which weights shrink in a step, stays the
            same.
        adaptive: whether the optimizer normalizes gradients, like Adam.

    Raises:
        ValueError: a key of ``rates`` that is neither a part nor a pattern of any parameter.
    """
    factors = _factors(network, rates or {}, adaptive)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        factor = factors.get(name, 1.0)
        decay = weight_decay / factor if factor and (decay_all or parameter.ndim > 1) else 0.0
        groups.setdefault((rate * factor, decay), []).append(parameter)
    return [{"params": members, "lr": lr, "weight_decay": decay} for (lr, decay), members in groups.items()]


def upsampler_parts(network: nn.Module) -> Iterator[tuple[str, Part, dict[str, nn.Parameter]]]:
    """Every part of every upsampler in ``network``: the upsampler's path, and the part's parameters by full name."""
    for path, module in network.named_modules():
        if isinstance(module, Upsampler):
            for part in module.parts:
                members = {
                    f"{path}.{name}".lstrip("."): parameter
                    for name, parameter in module.named_parameters()
                    if any(fnmatchcase(name, pattern) for pattern in part.patterns)
                }
                if members:
                    yield path, part, members


def _factors(network: nn.Module, rates: Mapping[str, float | None], adaptive: bool) -> dict[str, float]:
    """The factor of each parameter that has one."""
    known = {part.name for method in list_upsamplers() for part in upsampler_class(method).parts}
    given = {name: float(factor) for name, factor in rates.items() if factor is not None}
    factors: dict[str, float] = {}
    for _, part, members in upsampler_parts(network):
        factor = given.get(part.name, part.adaptive if adaptive else part.sgd)
        factors.update(dict.fromkeys(members, factor))
    for pattern, factor in given.items():
        if pattern in known:
            continue
        matched = [name for name, _ in network.named_parameters() if fnmatchcase(name, pattern)]
        if not matched:
            raise ValueError(
                f"{pattern!r} is neither a part of an upsampler ({', '.join(sorted(known))}) nor a pattern of a "
                f"parameter's name, such as {next((name for name, _ in network.named_parameters()), None)!r}"
            )
        factors.update(dict.fromkeys(matched, factor))
    return factors
