"""Read a published checkpoint and put it into a module, strictly."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medups.weights import peers, resfu, transunet

Adapter = Callable[[Mapping[str, Tensor]], "dict[str, Tensor]"]

_LAYOUTS: dict[str, Adapter] = {
    "resfu": resfu.adapt,
    **{name: partial(peers.adapt, name) for name in ("freqfusion", "carafe", "sapa", "fade", "dysample")},
    "transunet": transunet.adapt,
}
_PREFIXES = ("module.",)


@dataclass(frozen=True)
class LoadReport:
    """What happened to each name: ``loaded``, ``fresh`` and ``resized`` are ours, ``unused`` the file's."""

    loaded: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


def load_published(
    module: nn.Module,
    path_or_mapping: str | PathLike[str] | Mapping[str, Any],
    layout: str = "resfu",
    strict: bool = True,
) -> LoadReport:
    """Load published weights into ``module``, in the module's dtype and on its device.

    Args:
        module: of the architecture the weights are for.
        path_or_mapping: a torch checkpoint (opened with weights_only), an .npz archive, or published names
            mapped to tensors or arrays.
        layout: whose names these are; see ``medups.weights.load``.
        strict: every parameter of the module must be found and every published one used.

    Returns:
        What was loaded, left fresh, resized and unused.

    Raises:
        ValueError: an unknown layout, a file that is no checkpoint, or weights that do not fit; nothing is
            loaded then, and the message lists the names.
    """
    if layout not in _LAYOUTS:
        raise ValueError(f"unknown weight layout {layout!r}; there is {', '.join(_LAYOUTS)}")
    published = {_bare(name): torch.as_tensor(value) for name, value in _read(path_or_mapping).items()}
    ours = _LAYOUTS[layout](published)
    own = module.state_dict()
    optional = {name for name in own if name.endswith("num_batches_tracked")}
    wrong = [
        f"{name}: file {tuple(ours[name].shape)}, module {tuple(own[name].shape)}"
        for name in own
        if name in ours and ours[name].shape != own[name].shape
    ]
    missing = [name for name in own if name not in ours and name not in optional]
    unused = [name for name in ours if name not in own]
    if wrong or (strict and (missing or unused)):
        problems = [f"of another shape: {', '.join(wrong)}"] if wrong else []
        problems += [f"missing: {', '.join(missing)}"] if missing else []
        problems += [f"not known: {', '.join(unused)}"] if unused else []
        raise ValueError(
            f"weights of layout {layout!r} do not fit {type(module).__name__}; {'; '.join(problems)}. "
            "Check the layout and the arguments the network was built with."
        )
    loaded = [name for name in own if name in ours]
    module.load_state_dict({name: ours[name] for name in loaded}, strict=False)
    return LoadReport(loaded=loaded, fresh=missing, unused=unused)


def _read(source: str | PathLike[str] | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return source
    path = Path(source)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: expected a readable checkpoint of tensors, found {error}") from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path}: expected names mapped to tensors, found {type(content).__name__}")
    return content


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
