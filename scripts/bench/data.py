"""Measure how fast samples are made from the cache and, as published, from preprocessed slices.

    python scripts/bench/data.py --output data.json

One process with one thread stands for one data worker; rates are samples per second of that worker. Both sources make
224 x 224 slices from 512 x 512 ones with TransUNet's augmentation. The published way, reimplemented here, reads an .npz
file of float32 arrays, then turns by quarters and flips, or rotates by SciPy, and resizes by SciPy's splines. Both use
the same slices.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np
import torch
from machine import Machine, take_turns
from scipy import ndimage

from medups.cli.terminal import Terminal
from medups.data.cache import CachedCase, cached
from medups.data.formats.synapse import synapse
from medups.data.labels import label_set
from medups.data.phantom import write_phantoms
from medups.data.sampling import SampleStream
from medups.settings.compose import compose
from medups.settings.schema import DataSettings
from medups.tasks import VolumeTask
from medups.workflows.kinds.volume import source_of, transforms_of

_CASES, _SLICES, _PIXELS, _GOAL, _PATCH = 2, 32, 512, 224, 96
_SAMPLES = {"slices": 24, "patches": 4}
_LEAST_REPEATS = 7


def published(files: list[Path], rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Make a sample as TransUNet's loader does."""
    with np.load(files[rng.integers(len(files))]) as content:
        image, label = content["image"], content["label"]
    if rng.random() > 0.5:
        turns, axis = int(rng.integers(4)), int(rng.integers(2))
        image, label = (np.flip(np.rot90(array, turns), axis).copy() for array in (image, label))
    elif rng.random() > 0.5:
        angle = int(rng.integers(-20, 20))
        image, label = (ndimage.rotate(array, angle, order=0, reshape=False) for array in (image, label))
    factors = [_GOAL / n for n in image.shape]
    image, label = ndimage.zoom(image, factors, order=3), ndimage.zoom(label, factors, order=0)
    return torch.from_numpy(image.astype(np.float32))[None], torch.from_numpy(label.astype(np.float32)).long()


def write_slices(case: CachedCase, folder: Path) -> list[Path]:
    """Write the case as .npz files, with intensities scaled as in the published conversion."""
    files = []
    for row in range(case.image.shape[0]):
        files.append(folder / f"case{case.name}_slice{row:03d}.npz")
        image = (np.clip(case.image[row].astype(np.float32), -125, 275) + 125) / 400
        np.savez(files[-1], image=image, label=case.label[row].astype(np.float32))
    return files


def stream(cases: list[CachedCase], *overrides: str) -> SampleStream:
    settings = compose(["data.root=.", *overrides])
    transforms = transforms_of(settings)
    source = source_of(settings, transforms, cases, Terminal())
    return SampleStream(source, transforms.per_sample, VolumeTask(label_set(settings.label_set)), 0, 2**31)


def sampler(samples: SampleStream, size: int) -> Callable[[], object]:
    numbers = count()
    return lambda: [samples[next(numbers)] for _ in range(size)]


def anonymous_bytes() -> int:
    """Memory of this process that is not mapped from files."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("Anonymous")))


def measure(folder: Path, repeats: int) -> dict[str, Any]:
    """Samples per second of each source, cache size relative to the volumes, and memory growth from using the cache."""
    list(write_phantoms(folder / "raw", _CASES, seed=0, size=_PIXELS, slices=_SLICES))
    source, target = label_set("btcv13"), label_set("synapse8")
    listing = synapse(DataSettings(root=str(folder / "raw")))
    cases = [cached(case, folder / "cache", source, target) for case in listing.cases.values()]
    files = [file for case in cases for file in write_slices(case, folder)]
    rng, size = np.random.default_rng(0), _SAMPLES["slices"]
    patch = f"network.inferer.roi_size=[{min(_PATCH, _SLICES)},{_PATCH},{_PATCH}]"
    works = {
        "published, slices": lambda: [published(files, rng) for _ in range(size)],
        "cache, slices": sampler(stream(cases), size),
        "cache, patches": sampler(stream(cases, "network=unet_3d", patch), _SAMPLES["patches"]),
    }
    taken = take_turns(works, "cpu", repeats)
    before = anonymous_bytes()
    take_turns({name: work for name, work in works.items() if name.startswith("cache")}, "cpu", 2 * repeats)
    grown = anonymous_bytes() - before
    raw = sum(np.asarray(case.image).nbytes + np.asarray(case.label).nbytes for case in cases)
    stored = sum(file.stat().st_size for file in (folder / "cache").rglob("*.b2nd"))
    records = []
    for name, seconds in taken.items():
        number = _SAMPLES[name.split(", ")[1]]
        records.append({"samples": name, "per_second": quantiles([number / elapsed for elapsed in seconds], n=4)})
    return {"data": records, "stored_share": stored / raw, "grown_bytes": grown, "turns": 2 * repeats}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=_LEAST_REPEATS)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), options.repeats)
    machine = Machine.measure("cpu").as_dict()
    options.output.write_text(json.dumps({"machine": machine, **results}, indent=1))
    for record in results["data"]:
        print(f"{record['samples']}: {record['per_second'][1]:.1f} samples/s")
    print(f"memory grew by {results['grown_bytes'] / 2**20:.1f} MiB over {results['turns']} turns")
    print(options.output)


if __name__ == "__main__":
    main()
