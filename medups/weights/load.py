"""Read a published checkpoint and put it into a module, strictly."""

from __future__ import annotations

import pickle
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medups.files import check_archive, file_sha256
from medups.weights import peers, resfu, swin, transunet, vit

Published = Mapping[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """How published weights become ours.

    Args:
        adapt: published names and values to ours, for this module; unknown names are kept, for the report.
        fresh: pattern of our names that such files do not hold.
        resize: brings the value of one of our names to the module's size.
    """

    adapt: Callable[[Published, nn.Module], dict[str, Tensor]]
    fresh: str | None = None
    resize: Mapping[str, Callable[[Tensor, nn.Module], Tensor]] = field(default_factory=dict)


_POSITIONS = {"transformer.positions": vit.resize_positions}
_LAYOUTS: dict[str, Layout] = {
    "resfu": Layout(resfu.adapt),
    **{name: Layout(partial(peers.adapt, name)) for name in ("freqfusion", "carafe", "sapa", "fade", "dysample")},
    "transunet": Layout(transunet.adapt, resize=_POSITIONS),
    "transunet-imagenet21k": Layout(vit.adapt, vit.FRESH, _POSITIONS),
    "swin-unet": Layout(swin.adapt),
    "swin-imagenet": Layout(swin.adapt_imagenet, swin.FRESH_FROM_IMAGENET),
}
_HEAD = "head"  # of our networks
_PREFIXES = ("module.", "swin_unet.")
_UNREADABLE = (
    OSError, EOFError, ValueError, LookupError, RuntimeError, AssertionError, AttributeError, TypeError,
    pickle.UnpicklingError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_DERIVED = ("num_batches_tracked", "relative_position_index")  # buffers that weights do not decide


@dataclass(frozen=True)
class LoadReport:
    """What happened to each name; all are the module's, ``unused`` those that the file's would have there.

    ``sha256`` is that of the file, None where the weights came as a mapping.
    """

    loaded: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    sha256: str | None = None

    def __str__(self) -> str:
        counts = ", ".join(
            f"{len(names)} {what}"
            for what, names in (
                ("loaded", self.loaded), ("of them resized", self.resized), ("left fresh", self.fresh),
                ("not used", self.unused),
            )
        )  # fmt: skip
        return f"{counts}; sha256 {self.sha256}"


def load_published(
    module: nn.Module,
    path_or_mapping: str | PathLike[str] | Mapping[str, Any],
    layout: str = "resfu",
    strict: bool = True,
    *,
    prefix: str = "",
) -> LoadReport:
    """Load published weights into ``module``, in the module's dtype and on its device.

    Args:
        module: of the architecture the weights are for.
        path_or_mapping: a torch checkpoint (opened with weights_only), an .npz archive, or published names
            mapped to tensors or arrays.
        layout: whose names these are; see ``medups.weights.load``.
        strict: every parameter of the module must be found but for those that files of this layout do not
            hold, and every published one used. Otherwise what is missing or of another shape stays fresh.
        prefix: only names that begin with it are read, without it: for a module whose weights lie among those of
            a whole network, such as ``decode_head.freqfusions.0.`` in a checkpoint of mmsegmentation.

    Returns:
        What was loaded, left fresh, resized and unused.

    Raises:
        ValueError: an unknown layout, a file that is no checkpoint, or weights that do not fit (none at all if
            not strict); nothing is loaded then, and the message lists the names.
    """
    if layout not in _LAYOUTS:
        raise ValueError(f"unknown weight layout {layout!r}; there is {', '.join(_LAYOUTS)}")
    rules = _LAYOUTS[layout]
    whole = {_bare(name): torch.as_tensor(value) for name, value in _read(path_or_mapping).items()}
    published = _under(whole, prefix)
    ours = rules.adapt(published, module)
    own = module.state_dict()
    resized = [name for name in rules.resize if name in ours and name in own and ours[name].shape != own[name].shape]
    for name in resized:
        ours[name] = rules.resize[name](ours[name], module)
    wrong = [name for name in own if name in ours and ours[name].shape != own[name].shape]
    missing = [name for name in own if name not in ours and not name.endswith(_DERIVED)]
    expected = [name for name in missing if rules.fresh and re.match(rules.fresh, name)]
    unused = [name for name in ours if name not in own]
    loaded = [name for name in own if name in ours and name not in wrong]
    if (strict and (wrong or unused or len(missing) > len(expected))) or not loaded:
        problems = [
            f"{what}: {', '.join(names)}"
            for what, names in (
                ("of another shape", [_shapes(name, ours, own) for name in wrong]),
                ("missing", [name for name in missing if name not in expected]),
                ("not known", unused),
            )
            if names
        ]
        raise ValueError(
            f"weights of layout {layout!r} do not fit {type(module).__name__}; {'; '.join(problems)}. "
            f"Check the layout and the arguments the network was built with{_offer(wrong, missing, expected, unused)}."
            f"{_hint(whole, rules, module)}"
        )
    module.load_state_dict({name: ours[name] for name in loaded}, strict=False)
    checksum = None
    if not isinstance(path_or_mapping, Mapping):
        checksum = file_sha256(path_or_mapping).hex()
    return LoadReport(loaded=loaded, fresh=missing + wrong, resized=resized, unused=unused, sha256=checksum)


def _under(published: Published, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in published.items() if name.startswith(prefix)}


def _offer(wrong: list[str], missing: list[str], expected: list[str], unused: list[str]) -> str:
    """What strict=False would do, where it would lose the head of another number of classes alone."""
    if unused or len(missing) > len(expected) or not all(name.split(".")[0] == _HEAD for name in wrong):
        return ""
    return f"; the number of classes alone differs: strict=False (weights.strict=false) leaves {', '.join(wrong)} fresh"


def _hint(published: Published, rules: Layout, module: nn.Module) -> str:
    """Where in the file such a module's weights lie, if it is not at the top."""
    wanted = {name for name in module.state_dict() if not name.endswith(_DERIVED)}
    parts = (name.split(".") for name in published)
    prefixes = {".".join(words[:end]) + "." for words in parts for end in range(1, len(words))}
    fitting = sorted(p for p in prefixes if wanted <= rules.adapt(_under(published, p), module).keys())
    return f" The file holds such weights under {', '.join(fitting)} (give one as prefix)." if fitting else ""


def _shapes(name: str, ours: Published, own: Published) -> str:
    return f"{name}: file {tuple(ours[name].shape)}, module {tuple(own[name].shape)}"


def _read(source: str | PathLike[str] | Mapping[str, Any]) -> Mapping[str, Any]:
    content = source if isinstance(source, Mapping) else _opened(Path(source))
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    where = "the mapping" if isinstance(source, Mapping) else source
    if not isinstance(content, Mapping):
        raise ValueError(f"{where}: expected names mapped to tensors, found {type(content).__name__}")
    others = [str(name) for name, value in content.items() if not _is_weight(name, value)]
    if others:
        names = ", ".join(others[:8])
        raise ValueError(f"{where}: expected names mapped to tensors, found something else under {names}")
    return content


def _is_weight(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor | np.ndarray)


def _opened(path: Path) -> Any:
    try:
        if path.suffix == ".npz":  # NumPy checks what it reads
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise ValueError(f"{path}: expected a readable checkpoint of tensors, found {error}") from error


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
