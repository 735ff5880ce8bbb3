"""MONAI calls an inferer with a batch on the network's device."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor

Call = TypeVar("Call", bound=Callable[..., Any])


def accepts_batch(call: Call) -> Call:
    """Let an inferer's ``__call__`` take a tensor [1, 1, S, H, W] as well, and return ids of that shape."""

    @wraps(call)
    def either(self: Any, image: Any, network: Callable[[Tensor], Tensor], *args: Any, **options: Any) -> Any:
        if not isinstance(image, Tensor):
            return call(self, image, network, *args, **options)
        if image.ndim != 5 or image.shape[:2] != (1, 1):
            raise ValueError(f"{type(self).__name__}: expected one volume [1, 1, S, H, W], got {tuple(image.shape)}")
        volume = np.asarray(image[0, 0].cpu(), dtype=np.float32)
        ids = torch.from_numpy(call(self, volume, network, *args, device=image.device, **options))[None, None]
        return MetaTensor(ids) if isinstance(image, MetaTensor) else ids  # so that MONAI can invert its transforms

    return cast(Call, either)
