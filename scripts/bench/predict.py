"""Measure what a prediction costs: memory of large scans, time against MONAI and the published loop, and start-up.

    python scripts/bench/predict.py --output predict.json
    python scripts/bench/predict.py --slices 100 --output small.json     # a smaller volume, in minutes

Every measure runs in a process of its own. Memory is the peak of a prediction of the volume beyond the peak of a
prediction of one window; the network is one 1x1x1 convolution, so that blending dominates. The published loop is
TransUNet's test code: one slice at a time, resized by SciPy, in float32.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import Machine
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn
from torch.nn import functional as F

from medups.inference import SliceInferer, WindowInferer

_PLANE, _ROI, _OVERLAP = 512, (32, 96, 96), 0.5
_CLASSES = (9, 100)
_FEW = 60  # slices, for the slice-wise methods


def pointwise(classes: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv3d(1, classes, 1).eval()


def volume(slices: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((slices, _PLANE, _PLANE), dtype=np.float32)


def one_window(slices: int, classes: int) -> NDArray[np.uint8]:
    return WindowInferer(_ROI, _OVERLAP, 4)(volume(slices)[:, : _ROI[1], : _ROI[2]], pointwise(classes))


def medups_windows(slices: int, classes: int) -> NDArray[np.uint8]:
    return WindowInferer(_ROI, _OVERLAP, 4)(volume(slices), pointwise(classes))


def monai_windows(slices: int, classes: int, **options: Any) -> NDArray[np.uint8]:
    from monai.inferers import sliding_window_inference

    with torch.inference_mode():
        logits: Any = sliding_window_inference(
            torch.from_numpy(volume(slices))[None, None],
            _ROI,
            4,
            pointwise(classes),
            _OVERLAP,
            mode="gaussian",
            **options,
        )
        return logits.argmax(1)[0].to(torch.uint8).numpy()


def monai_buffered(slices: int, classes: int) -> NDArray[np.uint8]:
    return monai_windows(slices, classes, buffer_steps=1, buffer_dim=0)


def one_slice_at_a_time(slices: int, classes: int) -> NDArray[np.uint8]:
    """As published: SciPy's splines to the network's size, one slice, and SciPy's nearest pixels back."""
    network, image, size = _transunet(classes), volume(slices), 224
    ids = np.zeros(image.shape, np.uint8)
    with torch.inference_mode():
        for row in range(slices):
            small = ndimage.zoom(image[row], size / _PLANE, order=3)
            logits = network(torch.from_numpy(small)[None, None])
            best = F.softmax(logits, 1).argmax(1)[0].numpy()
            ids[row] = ndimage.zoom(best, _PLANE / size, order=0)
    return ids


def medups_slices(slices: int, classes: int) -> NDArray[np.uint8]:
    return SliceInferer(224)(volume(slices), _transunet(classes))


def _transunet(classes: int) -> nn.Module:
    from medups.networks import TransUNet

    torch.manual_seed(0)
    return TransUNet(img_size=224, out_channels=classes, upsampler="bilinear", variant="tiny").eval()


WORK: dict[str, Callable[[int, int], NDArray[np.uint8]]] = {
    "one window": one_window,
    "medups, windows": medups_windows,
    "MONAI, windows": monai_windows,
    "MONAI, windows, buffered": monai_buffered,
    "medups, slices": medups_slices,
    "published loop, slices": one_slice_at_a_time,
}


def measured(name: str, slices: int, classes: int) -> dict[str, Any]:
    """Seconds, peak memory and a digest of the ids, from a process of its own."""
    command = [sys.executable, __file__, "--run", name, str(slices), str(classes)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1:] or [str(done.returncode)]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def run(name: str, slices: int, classes: int) -> None:
    import hashlib

    began = time.perf_counter()
    ids = WORK[name](slices, classes)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak": peak, "digest": hashlib.sha256(ids.tobytes()).hexdigest()}))


def command_seconds(bundle: Path, scan: Path) -> float:
    """A whole ``medups predict`` of one scan."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "medups.cli.main", "predict", "--model", str(bundle), "--input", str(scan)]
        began = time.perf_counter()
        subprocess.run([*command, "--output", f"{folder}/mask.nii.gz"], check=True, capture_output=True)
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--bundle", type=Path, help="time whole commands with it, too; needs --scan")
    parser.add_argument("--scan", type=Path)
    parser.add_argument("--output", type=Path, default=Path("predict.json"))
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(options.run[0], int(options.run[1]), int(options.run[2]))
        return
    records = []
    for classes in _CLASSES:
        window = measured("one window", _ROI[0], classes)
        for name in WORK:
            slices = min(options.slices, _FEW) if "slices" in name else options.slices
            if name == "one window" or (name != "medups, windows" and classes != _CLASSES[0]):
                continue  # MONAI would need more memory than most machines have for all logits of many classes
            record = {"method": name, "classes": classes, "slices": slices, **measured(name, slices, classes)}
            record["beyond_one_window"] = record.get("peak", 0) - window["peak"]
            records.append(record)
            print(record, flush=True)
    result: dict[str, Any] = {"machine": Machine.measure("cpu").as_dict(), "predict": records}
    if options.bundle and options.scan:
        result["command_seconds"] = command_seconds(options.bundle, options.scan)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
