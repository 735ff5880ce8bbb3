"""Registration of operators, so that compilers, autocast and exporters see one node each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch


class Operator:
    """An operator of torch's dispatcher; call it like the function that it was made from.

    ``torch.library.custom_op`` does the same, but its first call imports torch's compiler, which takes longer than a
    prediction of a small scan, and each later call costs tens of microseconds more.
    """

    def __init__(self, name: str, function: Callable[..., Any], schema: str, tags: Sequence[torch.Tag]) -> None:
        self._name = name
        torch.library.define(name, schema, tags=(torch.Tag.pt2_compliant_tag, *tags))
        torch.library.impl(name, "default", function)
        namespace, _, operator_name = name.partition("::")
        self._run = getattr(getattr(torch.ops, namespace), operator_name).default

    def __call__(self, *arguments: Any) -> Any:
        return self._run(*arguments)

    def register_fake(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Set the function that makes outputs of the right shape, for compilers. Usable as a decorator."""
        torch.library.register_fake(self._name, function)
        return function

    def register_autograd(self, backward: Callable[..., Any], *, setup_context: Callable[..., Any]) -> None:
        """Set the gradient."""
        torch.library.register_autograd(self._name, backward, setup_context=setup_context)


def operator(
    name: str, *, mutates_args: Sequence[str] = (), schema: str | None = None, tags: Sequence[torch.Tag] = ()
) -> Callable[[Callable[..., Any]], Operator]:
    """Register the decorated function as the operator ``name``, such as ``medups::weighted_sum``.

    Args:
        mutates_args: the arguments that it overwrites.
        schema: arguments and result; by default from the function's annotations.
    """

    def register(function: Callable[..., Any]) -> Operator:
        signature = schema or torch.library.infer_schema(function, mutates_args=mutates_args)
        return Operator(name, function, signature, tags)

    return register
