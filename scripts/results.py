"""Train and score every network with every upsampler: the evidence of docs/results.md. Safe to stop and restart.

    python scripts/results.py                          # all parts on this machine's cores, hours
    python scripts/results.py --parts demo --seeds 3   # some of it
    python scripts/docs/results_page.py                # the page and its figures

Finished runs are the rows of docs/results.csv: one per run and test case, averaged over organs, and one per run and
organ, averaged over cases. Runs, phantoms and masks are in --work. All runs of a part use the same recipe, samples and
test cases; only the upsampling differs. Rates by part are the defaults that each upsampler declares.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medups.io.files import write_csv, write_text

CASES, TEST = 48, ["0017", "0018", "0019", "0020", *(f"{number:04d}" for number in range(37, 49))]
TOLERANCE_MM, BAND_MM = 1.0, 4.0
MEASURES = ("dice", "hd95", "surface_dice", "border_dice")
COLUMNS = ("network", "upsampler", "steps", "seed", "kind", "name", *MEASURES)

_FULL_SIZE = ["training=quick", "training.batch_size=24", "training.optimizer.lr=3e-4"]
NETWORKS: Mapping[str, list[str]] = {
    "transunet_tiny": [  # the last step is bilinear
        "experiment=demo", "network.module.image_guide=false", "network.module.image_skip=false",
    ],
    "basic_unet": [
        "experiment=demo", "network=basic_unet", "training=quick", "network.size=128",
        "network.module.features=[16,16,32,64,128,16]",
    ],
    "unet_3d": [
        "experiment=demo", "network=unet_3d", "training=quick", "network.module.channels=[8,16,32,64]",
        "network.module.strides=[2,2,2]", "network.module.num_res_units=1", "network.spacing=[5,4,4]",
        "network.inferer.roi_size=[24,64,64]", "network.inferer.overlap=0.25", "training.batch_size=2",
    ],
    "transunet": ["data=phantom", "network=transunet", *_FULL_SIZE],
    "swin_unet": ["data=phantom", "network=swin_unet", *_FULL_SIZE],
}  # fmt: skip
_RESFU = ["upsampler=resfu", "upsampler.options.embed_channels=8"]  # a quarter of the paper's, as in the demo
_FREQFUSION = ["upsampler=freqfusion", "upsampler.options.compressed_channels=null"]  # (C + Cg) / 4, as published
UPSAMPLERS: Mapping[str, list[str]] = {
    "resfu": _RESFU,
    "freqfusion": _FREQFUSION,
    "resfu, equal rates": [*_RESFU, "training.rates.paired_difference=1"],
    "resfu, 0.1": [*_RESFU, "training.rates.paired_difference=0.1"],
    "resfu, 32 channels": ["upsampler=resfu", "upsampler.options.embed_channels=32"],
    "resfu, image guide": [*_RESFU, "network.module.image_guide=true"],
    "freqfusion, image guide": [*_FREQFUSION, "network.module.image_guide=true"],
    "linear, image skip": ["upsampler=linear", "network.module.image_skip=true"],
    "freqfusion, image skip": [
        *_FREQFUSION, "network.module.image_guide=true", "network.module.image_skip=true",
    ],
    "resfu, image skip": [*_RESFU, "network.module.image_guide=true", "network.module.image_skip=true"],
    "freqfusion, equal rates": [*_FREQFUSION, "training.rates.offsets=1", "training.rates.kernels=1"],
    "freqfusion, kernels 1": [*_FREQFUSION, "training.rates.kernels=1"],
    "freqfusion, no offsets": [*_FREQFUSION, "upsampler.options.offset_generator=false"],
    "freqfusion, low-pass only": [
        *_FREQFUSION, "upsampler.options.offset_generator=false", "upsampler.options.high_pass=false",
    ],
}  # fmt: skip
MAIN = ("linear", "resfu", "freqfusion")
LAST_STEP = ("resfu, image guide", "linear, image skip", "resfu, image skip", "freqfusion, image skip")
VARIANTS = tuple(name for name in UPSAMPLERS if "," in name)


@dataclass(frozen=True)
class Part:
    """Runs with the same networks, upsamplers, steps and seeds."""

    networks: tuple[str, ...]
    upsamplers: tuple[str, ...]
    steps: int
    seeds: int


PARTS = {
    "demo": Part(("transunet_tiny", "basic_unet"), (*MAIN, "carafe", "dysample"), 720, 5),
    "long": Part(("transunet_tiny",), (*MAIN, *LAST_STEP), 2880, 3),
    "causes": Part(("transunet_tiny",), VARIANTS, 720, 5),
    "volume": Part(("unet_3d",), (*MAIN, "transposed_conv"), 600, 3),  # MONAI's UNet itself has transposed convolutions
    "gpu": Part(("transunet", "swin_unet"), (*MAIN, "carafe", "dysample"), 3000, 3),  # needs a GPU, hours
    "gpu-short": Part(("transunet",), MAIN, 600, 1),  # needs a GPU, minutes
    "self-test": Part(("transunet_tiny",), ("linear",), 2, 1),
}


@dataclass(frozen=True)
class Cell:
    """One run."""

    network: str
    upsampler: str
    steps: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.network}-{self.upsampler}-{self.steps}-{self.seed}".replace(", ", "-").replace(" ", "_")

    @property
    def key(self) -> tuple[str, ...]:
        return self.network, self.upsampler, str(self.steps), str(self.seed)


def cells(parts: list[str], seeds: int) -> Iterator[Cell]:
    """All runs, seed by seed, so that an unfinished table is balanced."""
    for seed in range(seeds):
        for part in (PARTS[name] for name in parts):
            for network in part.networks:
                for upsampler in part.upsamplers:
                    if seed < part.seeds:
                        yield Cell(network, upsampler, part.steps, seed)


def finished(table: Path) -> set[tuple[str, ...]]:
    """The keys of the runs in the table."""
    if not table.is_file():
        return set()
    with table.open(encoding="utf-8", newline="") as file:
        return {tuple(row[column] for column in COLUMNS[:4]) for row in csv.DictReader(file)}


def run(cell: Cell, work: Path) -> None:
    """Train, predict the test cases, and write the scores of one run."""
    import torch

    import medups
    from medups.data.labels import label_set
    from medups.data.volumes.read import read_labels
    from medups.metrics import border_dice, evaluate_case, surface_dice

    folder, data = work / cell.name, work / "phantoms"
    workers = 8 if torch.cuda.is_available() else 0  # on a CPU all cores are busy with other runs
    overrides = [
        *NETWORKS[cell.network],
        *UPSAMPLERS.get(cell.upsampler, [f"upsampler={cell.upsampler}"]),
        f"training.steps={cell.steps}", "training.validations=1", f"training.workers={workers}", f"seed={cell.seed}",
        f"data.root={data}", f"data.cache={work / 'cache'}", f"output={folder}", f"data.split.test={TEST}",
    ]  # fmt: skip
    bundle = medups.train(overrides).bundle
    masks = medups.predict(bundle, data / "img", folder / "masks", cases="test")
    organs, source = label_set("synapse8"), label_set("btcv13")
    by_organ = {organ: number for number, organ in organs.organs.items()}
    scores: dict[str, dict[str, dict[str, float | None]]] = {}
    for mask, case in zip(sorted(masks), TEST, strict=True):
        assert case in mask.name, (case, mask)
        pred = read_labels(mask, organs)
        label = read_labels(data / "label" / f"label{case}.nii.gz", source)
        truth = source.convert(label.data, organs)
        scores[case] = {}
        for organ, score in evaluate_case(pred.data, truth, by_organ, label.spacing).items():
            a, b = pred.data == by_organ[organ], truth == by_organ[organ]
            scores[case][organ] = {
                "dice": score.dice,
                "hd95": score.hd95,
                "surface_dice": surface_dice(a, b, label.spacing, TOLERANCE_MM),
                "border_dice": border_dice(a, b, label.spacing, BAND_MM),
            }
    rows = [[*cell.key, "case", case, *_means(values.values())] for case, values in scores.items()]
    rows += [[*cell.key, "organ", organ, *_means(values[organ] for values in scores.values())] for organ in by_organ]
    write_csv(folder / "scores.csv", rows)


def _means(values: Iterable[Mapping[str, float | None]]) -> list[str]:
    """The mean of every measure over the organs, or cases, that have a value."""
    collected = list(values)
    columns = [[given for value in collected if (given := value[measure]) is not None] for measure in MEASURES]
    return [f"{np.mean(column):.5g}" if column else "" for column in columns]


def add_rows(table: Path, rows: str) -> None:
    """Add finished rows to the table, which is never half-written."""
    text = table.read_text(encoding="utf-8") if table.is_file() else ",".join(COLUMNS) + "\n"
    write_text(table, text + rows)


def run_all(pending: list[Cell], work: Path, table: Path, jobs: int) -> int:
    """Run all pending cells, ``jobs`` at a time, each in a process of its own; returns the number of failures."""
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    began, failed = time.perf_counter(), 0

    def process(cell: Cell) -> tuple[Cell, int]:
        command = [sys.executable, __file__, "--work", str(work), "--cell", cell.name]
        with (work / f"{cell.name}.log").open("w", encoding="utf-8") as log:
            return cell, subprocess.run(
                command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": threads}
            ).returncode

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(process, cell) for cell in pending]
        for number, done in enumerate(as_completed(futures), 1):
            cell, status = done.result()
            if status:
                failed += 1
                print(f"{cell.name} failed; see {work / cell.name}.log", flush=True)
                continue
            add_rows(table, (work / cell.name / "scores.csv").read_text(encoding="utf-8"))
            left = (time.perf_counter() - began) / number * (len(pending) - number)
            print(f"{cell.name}: {number} of {len(pending)}, about {left / 60:.0f} min left", flush=True)
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["demo", "long", "volume", "causes"], choices=PARTS)
    parser.add_argument("--seeds", type=int, default=max(part.seeds for part in PARTS.values()))
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at the same time")
    parser.add_argument("--work", type=Path, default=Path("runs/results"))
    parser.add_argument("--table", type=Path, default=Path(__file__).parents[1] / "docs" / "results.csv")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    options = parser.parse_args()
    every = {cell.name: cell for cell in cells(list(PARTS), options.seeds)}
    if options.cell:
        run(every[options.cell], options.work)
        return
    options.work.mkdir(parents=True, exist_ok=True)
    phantoms = options.work / "phantoms"
    if not (phantoms / "done").is_file():
        from medups.data.phantom import write_phantoms

        for number, _ in enumerate(write_phantoms(phantoms, CASES, seed=0), 1):
            print(f"phantom {number} of {CASES}", flush=True)
        (phantoms / "done").touch()
    done = finished(options.table)
    pending = [cell for cell in cells(options.parts, options.seeds) if cell.key not in done]
    print(f"{len(done)} runs in {options.table}, {len(pending)} to do", flush=True)
    sys.exit(1 if run_all(pending, options.work, options.table, options.jobs) else 0)


if __name__ == "__main__":
    main()
