"""Load a published checkpoint into a module, with strict checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medups.io.checkpoints import UNREADABLE, not_finite
from medups.io.files import check_archive, file_sha256, user_path
from medups.weights import detectors, name_tables, pictures, resfu, swin, transunet, vit

Published = Mapping[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """How published weights are converted to ours.

    Args:
        adapt: maps published names and values to ours, for a module; unknown names are kept for the report.
        absent: pattern of our names that files of this layout do not contain.
        resize: for each of our names that needs it, a function that resizes the value to the module's size.
    """

    adapt: Callable[[Published, nn.Module], dict[str, Tensor]]
    absent: str | None = None
    resize: Mapping[str, Callable[[Tensor, nn.Module], Tensor]] = field(default_factory=dict)


_POSITIONS = {"transformer.positions": vit.resize_positions}
LAYOUTS: dict[str, Layout] = {
    "medups": Layout(lambda published, module: dict(published)),  # the model of a bundle
    "resfu": Layout(resfu.adapt),
    **{name: Layout(partial(name_tables.adapt, name)) for name in name_tables.LAYOUTS},
    "transunet": Layout(transunet.adapt, resize=_POSITIONS),
    "transunet-imagenet21k": Layout(vit.adapt, vit.NOT_IN_ARCHIVE, _POSITIONS),
    "swin-unet": Layout(swin.adapt),
    "swin-imagenet": Layout(swin.adapt_imagenet, swin.NOT_IN_IMAGENET),
    "segformer": Layout(pictures.adapt_segformer),
    "segformer-imagenet": Layout(pictures.adapt_segformer_imagenet, pictures.NOT_IN_ENCODER),
    "segnext": Layout(pictures.adapt_segnext),
    "mscan-imagenet": Layout(pictures.adapt_mscan, pictures.NOT_IN_ENCODER),
    "resnet-torchvision": Layout(detectors.adapt_resnet, detectors.NOT_IN_RESNET),
    "rcnn-torchvision": Layout(detectors.adapt_torchvision, detectors.NOT_IN_TORCHVISION),
    "rcnn-mmdetection": Layout(detectors.adapt_mmdetection),
    "vit-timm": Layout(pictures.adapt_vit, pictures.NOT_IN_ENCODER, {"encoder.pos_embed": pictures.resize_positions}),
}
_HEAD = "head"  # the classification layer of our networks
_PREFIXES = ("module.", "swin_unet.")
_DERIVED = ("num_batches_tracked", "relative_position_index")  # buffers that do not depend on the weights


@dataclass(frozen=True)
class LoadReport:
    """The outcome for each name, using the module's names.

    Args:
        loaded: copied from the file.
        initial: left at their initial values.
        resized: members of ``loaded`` that were resized.
        unused: names of the file that the module does not have.
        sha256: checksum of the file; None if the weights were passed as a mapping.
    """

    loaded: list[str] = field(default_factory=list)
    initial: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    sha256: str | None = None

    def __str__(self) -> str:
        counts = ", ".join(
            f"{len(names)} {what}"
            for what, names in (
                ("loaded", self.loaded), ("of them resized", self.resized),
                ("left at their initial values", self.initial), ("unused", self.unused),
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
        layout: the naming scheme of the file; see ``medups.weights.load``.
        strict: require a value for every parameter of the module, except those that files of this layout do not
            contain, and use every published value. Otherwise, missing parameters and those of another shape keep
            their initial values.
        prefix: read only names that begin with it, and strip it. For a module inside a larger network's checkpoint,
            such as ``decode_head.freqfusions.0.`` in a checkpoint of mmsegmentation.

    Returns:
        The outcome for each name.

    Raises:
        ValueError: an unknown layout, a file that is not a checkpoint, or weights that do not fit (if not strict:
            no weight fits). Nothing is loaded, and the message lists the names.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown weight layout {layout!r}; expected one of {', '.join(LAYOUTS)}")
    rules = LAYOUTS[layout]
    checkpoint = {_bare(name): torch.as_tensor(value) for name, value in _read(path_or_mapping).items()}
    published = name_tables.under(checkpoint, prefix)
    adapted = rules.adapt(published, module)
    expected = module.state_dict()
    resized = [
        name
        for name in rules.resize
        if name in adapted and name in expected and adapted[name].shape != expected[name].shape
    ]
    for name in resized:
        adapted[name] = rules.resize[name](adapted[name], module)
    fit = _compare(adapted, expected, rules)
    if (strict and not fit.complete) or not fit.loaded:
        raise ValueError(
            f"weights of layout {layout!r} do not fit {type(module).__name__}; {fit.problems(adapted, expected)}. "
            f"Check the layout and the arguments the network was built with{fit.offer()}."
            f"{_hint(checkpoint, rules, module)}"
        )
    if broken := not_finite({name: adapted[name] for name in fit.loaded}):
        raise ValueError(f"weights that are not finite numbers: {', '.join(broken[:8])}; the file is damaged")
    module.load_state_dict({name: adapted[name] for name in fit.loaded}, strict=False)
    checksum = None if isinstance(path_or_mapping, Mapping) else file_sha256(user_path(path_or_mapping)).hex()
    return LoadReport(
        fit.loaded, initial=fit.missing + fit.reshaped, resized=resized, unused=fit.unused, sha256=checksum
    )


@dataclass(frozen=True)
class _Fit:
    """How adapted weights compare with a module's: names by outcome.

    optional: members of ``missing`` that files of this layout do not contain.
    """

    loaded: list[str]
    reshaped: list[str]
    missing: list[str]
    optional: list[str]
    unused: list[str]

    @property
    def complete(self) -> bool:
        return not (self.reshaped or self.unused or len(self.missing) > len(self.optional))

    def problems(self, adapted: Published, expected: Published) -> str:
        """A description of the mismatches, one phrase per kind."""
        kinds = (
            ("of another shape", [_shapes(name, adapted, expected) for name in self.reshaped]),
            ("missing", [name for name in self.missing if name not in self.optional]),
            ("unknown", self.unused),
        )
        return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds if names)

    def offer(self) -> str:
        """The effect of strict=False, if only the head's number of classes differs."""
        only_head = all(name.split(".")[0] == _HEAD for name in self.reshaped)
        if self.unused or len(self.missing) > len(self.optional) or not only_head:
            return ""
        names = ", ".join(self.reshaped)
        remedy = f"strict=False (weights.strict=false) leaves {names} at their initial values"
        return f"; only the number of classes differs: {remedy}"


def _compare(adapted: Published, expected: Published, rules: Layout) -> _Fit:
    reshaped = [name for name in expected if name in adapted and adapted[name].shape != expected[name].shape]
    missing = [name for name in expected if name not in adapted and not name.endswith(_DERIVED)]
    return _Fit(
        loaded=[name for name in expected if name in adapted and name not in reshaped],
        reshaped=reshaped,
        missing=missing,
        optional=[name for name in missing if rules.absent and re.match(rules.absent, name)],
        unused=[name for name in adapted if name not in expected],
    )


def _hint(published: Published, rules: Layout, module: nn.Module) -> str:
    """The prefixes under which the file contains the module's weights, if they are not at the top level."""
    required = {name for name in module.state_dict() if not name.endswith(_DERIVED)}
    names = (name.split(".") for name in published)
    prefixes = {".".join(words[:end]) + "." for words in names for end in range(1, len(words))}
    fitting = sorted(p for p in prefixes if required <= rules.adapt(name_tables.under(published, p), module).keys())
    return f" The file contains such weights under {', '.join(fitting)} (pass one as prefix)." if fitting else ""


def _shapes(name: str, adapted: Published, expected: Published) -> str:
    return f"{name}: file {tuple(adapted[name].shape)}, module {tuple(expected[name].shape)}"


def _read(source: str | PathLike[str] | Mapping[str, Any]) -> Mapping[str, Any]:
    content = source if isinstance(source, Mapping) else _opened(user_path(source))
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    where = "the mapping" if isinstance(source, Mapping) else source
    if not isinstance(content, Mapping):
        raise ValueError(f"{where}: expected names mapped to tensors, found {type(content).__name__}")
    invalid = [str(name) for name, value in content.items() if not _is_weight(name, value)]
    if invalid:
        names = ", ".join(invalid[:8])
        raise ValueError(f"{where}: expected names mapped to tensors, found something else under {names}")
    return content


def _is_weight(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor | np.ndarray)


def _opened(path: Path) -> Any:
    try:
        if path.suffix == ".npz":  # NumPy verifies checksums
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        if path.suffix == ".safetensors":
            return _safetensors(path)
        check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise ValueError(f"{path}: expected a readable checkpoint of tensors, found {error}") from error


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError  # comes with transformers and timm, whose files these are
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
