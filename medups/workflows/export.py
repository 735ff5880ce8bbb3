"""Export a trained network for other runtimes, checked against the original."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from medups.bundle.model import Model, load_bundle
from medups.data.phantom import write_phantoms
from medups.data.scenes import make_scene
from medups.data.transforms import zoom_image
from medups.data.volumes import Grid
from medups.data.volumes.read import read_scan
from medups.errors import InputError
from medups.inference import PictureInferer, SliceInferer
from medups.inference.segment import picture_input, preprocess
from medups.io.files import require_writable, user_path, write_bytes
from medups.progress import Progress, SilentProgress

Format = Literal["onnx", "torch-export"]
ENDINGS = {"onnx": ".onnx", "torch-export": ".pt2"}
_TOLERANCE = 1e-3  # of the largest logit
_MOST_WINDOWS = 64


@dataclass(frozen=True)
class Exported:
    """An exported network.

    Args:
        file: where it is.
        input_shape: of one window, [C, *size]; the batch is free.
        difference: the largest difference of a logit from the original's.
        agreement: the share of pixels or voxels with the same id.
    """

    file: Path
    input_shape: tuple[int, ...]
    difference: float
    agreement: float


def export(bundle: str | Path, output: str | Path, kind: Format = "onnx", progress: Progress | None = None) -> Exported:
    """Export the network of a bundle: preprocessed windows [B, 1, *size] -> logits [B, classes, *size], any batch.

    The result is compared with the original on windows of a phantom scan, two batch sizes, before it is written.

    Args:
        kind: ``onnx``, checked with ONNX Runtime, or ``torch-export``, a program for ``torch.export.load``.

    Raises:
        InputError: an invalid bundle, format or output; a missing package; or a result that differs from the original.
    """
    progress = progress or SilentProgress()
    if kind not in get_args(Format):
        raise InputError(f"--format: expected {' or '.join(get_args(Format))}, got {kind!r}")
    file = user_path(output)
    if file.suffix != ENDINGS[kind]:
        raise InputError(f"{output}: a file of the format {kind} ends in {ENDINGS[kind]}")
    require_writable(file.parent)
    model = load_bundle(user_path(bundle))
    windows = _windows(model)
    progress.log(f"exporting; input [B, {', '.join(map(str, windows.shape[1:]))}]")
    with torch.no_grad():
        batch = torch.export.Dim("batch", min=1, max=_MOST_WINDOWS)
        program = torch.export.export(model.network, (windows[:2],), dynamic_shapes=({0: batch},), strict=False)
        expected = model.network(windows).numpy()
        content, run = (_onnx if kind == "onnx" else _torch_export)(program, windows[:2])
        results = np.concatenate([run(windows[:2]), run(windows[2:])])
    difference = float(np.abs(results - expected).max())
    if not difference <= _TOLERANCE * float(np.abs(expected).max()):
        raise InputError(f"{bundle}: the exported network's logits differ from the original's by {difference:.2g}")
    write_bytes(file, content)
    agreement = float((results.argmax(1) == expected.argmax(1)).mean())
    return Exported(file, tuple(windows.shape[1:]), difference, agreement)


def _torch_export(program: Any, example: Tensor) -> tuple[bytes, Any]:
    del example
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.pt2")
        torch.export.save(program, path)
        content = path.read_bytes()
        loaded = torch.export.load(path).module()
    return content, lambda windows: loaded(windows).numpy()


def _onnx(program: Any, example: Tensor) -> tuple[bytes, Any]:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch.onnx needs it, and its own message is less clear
    except ImportError as error:
        raise InputError(f"--format onnx needs {error.name}: pip install onnx onnxruntime onnxscript") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        torch.onnx.export(
            program, (example,), path, dynamo=True, external_data=False, verbose=False,
            input_names=["image"], output_names=["logits"],
        )  # fmt: skip
        content = path.read_bytes()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda windows: session.run(None, {"image": windows.numpy()})[0]


def _windows(model: Model) -> Tensor:
    """Five preprocessed windows [5, 1, *size] of a phantom scan, or scenes [5, 3, size, size]."""
    if isinstance(model.inferer, PictureInferer):
        size = model.inferer.short or model.inferer.crop
        scenes = (make_scene(0, number, size, size).picture for number in range(1, 6))
        return torch.stack([picture_input(model, picture) for picture in scenes])
    with tempfile.TemporaryDirectory() as folder:
        list(write_phantoms(Path(folder), 1, seed=0, size=64, slices=16))
        scan = read_scan(next(Path(folder, "img").iterdir()))
    image = preprocess(model, Grid(scan.data.shape, scan.affine).to_canonical(scan.data).astype(np.float32))
    if isinstance(model.inferer, SliceInferer):
        return torch.from_numpy(np.stack([zoom_image(row, model.inferer.size) for row in image[4:9]])[:, None])
    volume = torch.from_numpy(image)[None, None]
    whole = F.interpolate(volume, size=model.definition["inferer"]["roi_size"], mode="trilinear", align_corners=False)
    return torch.cat([whole, *(whole.flip(axis) for axis in (2, 3, 4)), whole.flip((2, 3))])
