"""Write the answer of docs/benchmarks.md, the tables behind it and the picture from docs/benchmarks/*.json.

python scripts/docs/benchmark_page.py

The files are results of scripts/bench; a new result takes its place there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from page import DOCS, replace_section

Record = dict[str, Any]


def tables(runs: list[dict[str, Any]]) -> Iterator[str]:
    for run in runs:
        machine = run["machine"]
        threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
        yield f"### {machine['device']}, {threads}\n"
        peaks = ", ".join(f"{peak / 1e9:.0f} in {dtype}" for dtype, peak in machine["peaks"].items())
        yield (
            f"{machine['date']}, commit {machine['commit']}, torch {machine['torch']}, Python {machine['python']}; "
            f"copy bandwidth {machine['bandwidth'] / 1e9:.1f} GB/s; matrix product, G multiply-adds/s: {peaks}.\n"
        )
        if "import_seconds" in run:
            yield f"Importing `medups.upsamplers` takes {run['import_seconds']:.2f} s after torch.\n"
        if "networks" in run:
            yield from _network_table(run)
            yield ""
        if "decoders" in run:
            yield from _decoder_table(run)
            yield ""
        if "data" in run:
            yield from _data_table(run)
            yield ""
        groups: dict[tuple[str, str], list[Record]] = {}
        for record in run.get("records", []):
            groups.setdefault((record["setting"], record["dtype"]), []).append(record)
        for (setting, dtype), records in groups.items():
            yield f"**{setting}, {dtype}**\n"
            yield from _table(records)
            yield ""


def _table(records: list[Record]) -> Iterator[str]:
    yield "| method | pass | median ms (quartiles) | times the convolution | times the floor | peak MB | peak / data |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    yardstick = {record["pass"]: record["median"] for record in records if record["method"] == "convolution"}
    for record in records:
        peak = " | "
        if record["peak_bytes"] is not None:
            peak = f"{record['peak_bytes'] / 1e6:.0f} | {record['peak_bytes'] / record['held']:.1f}"
        spread = f"{1e3 * record['low']:.1f} to {1e3 * record['high']:.1f}"
        ratio, above = record["median"] / yardstick[record["pass"]], record["median"] / record["floor"]
        yield (
            f"| `{record['method']}` | {record['pass']} | {1e3 * record['median']:.1f} ({spread}) "
            f"| {ratio:.2f} | {above:.1f} | {peak} |"
        )


def _network_table(run: dict[str, Any]) -> Iterator[str]:
    yield f"**Training step of TransUNet R50-ViT-B/16 at 224 x 224, batch {run['batch']}**\n"
    yield "| decoder | median s (quartiles) | times bilinear (quartiles) |"
    yield "|---|--:|--:|"
    for record in run["networks"]:
        step, ratio = (
            f"{median:.2f} ({low:.2f} to {high:.2f})"
            for low, median, high in (record["step"], record["against_bilinear"])
        )
        yield f"| {record['decoder']} | {step} | {ratio} |"


def _decoder_table(run: dict[str, Any]) -> Iterator[str]:
    yield "**Inference of each network with each upsampler: one image at 224 x 224 or one volume at 96^3**\n"
    yield "| network | upsampler | parameters, M | multiply-adds, G | peak MB | median s | relative to original |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    for record in run["decoders"]:
        peak = "" if record["peak_bytes"] is None else f"{record['peak_bytes'] / 1e6:.0f}"
        yield (
            f"| {record['network']} | `{record['upsampler']}` | {record['parameters'] / 1e6:.2f} "
            f"| {record['multiply_adds'] / 1e9:.1f} | {peak} | {record['seconds']:.3f} | {record['against']:.2f} |"
        )


def _data_table(run: dict[str, Any]) -> Iterator[str]:
    yield "**Training samples of one data worker: 224 x 224 from 512 x 512 slices, and 96^2 x 32 patches**\n"
    yield "| source | samples per second (quartiles) | relative to published |"
    yield "|---|--:|--:|"
    base = run["data"][0]["per_second"][1]
    for record in run["data"]:
        low, median, high = record["per_second"]
        against = f"{median / base:.1f}" if "slices" in record["samples"] else ""
        yield f"| {record['samples']} | {median:.1f} ({low:.1f} to {high:.1f}) | {against} |"
    yield (
        f"\nOver {run['turns']} rounds of cached slices and patches, memory grew by "
        f"{run['grown_bytes'] / 2**20:.1f} MiB. The cache, including prepared slices, takes "
        f"{run['stored_share']:.2f} of the volumes' bytes."
    )


def prediction_tables(runs: list[dict[str, Any]]) -> Iterator[str]:
    for run in runs:
        machine = run["machine"]
        yield (
            f"{machine['device']}, {machine['threads']} thread{'s' if machine['threads'] > 1 else ''}, "
            f"{machine['date']}, commit {machine['commit']}, torch {machine['torch']}.\n"
        )
        yield "| method | voxels | classes | seconds | peak GiB beyond one window | same ids as medups |"
        yield "|---|---|--:|--:|--:|---|"
        own = {
            (record["method"].rpartition(", ")[2], record["classes"]): record.get("digest")
            for record in run["predict"]
            if record["method"].startswith("medups")
        }
        for record in run["predict"]:
            kind = "slices" if "slices" in record["method"] else "windows"
            voxels = f"| {record['method']} | {record['slices']} x 512 x 512 | {record['classes']} "
            if "error" in record:
                yield f"{voxels}| failed: {' '.join(record['error'])} | | |"
                continue
            same = "yes" if record["digest"] == own[kind, record["classes"]] else "no"
            beyond = f"{record['beyond_one_window'] / 2**30:.2f}" if kind == "windows" else ""
            yield f"{voxels}| {record['seconds']:.1f} | {beyond} | {same} |"
        if "command_seconds" in run:
            yield f"\n`medups predict` of one scan with the demo's network takes {run['command_seconds']:.1f} s in all."


def draw_series(runs: list[dict[str, Any]], target: Path) -> None:
    """Plot time against output elements; a slope of one means linear cost."""
    figure, axes = plt.subplots(1, len(runs), figsize=(7 * len(runs), 5), squeeze=False)
    for axis, run in zip(axes[0], runs, strict=True):
        axis.set_prop_cycle(color=matplotlib.colormaps["tab20"](range(20)))
        lines: dict[str, list[Record]] = {}
        for record in run["records"]:
            if record["setting"].startswith("series") and record["pass"] == "training":
                lines.setdefault(record["method"], []).append(record)
        for method, records in lines.items():
            if method == "convolution":
                continue
            points = sorted((record["output_elements"], 1e3 * record["median"]) for record in records)
            axis.loglog(*zip(*points, strict=True), marker="o", markersize=3, label=method)
        axis.set_xlabel("output elements")
        axis.set_ylabel("forward and backward [ms]")
        axis.set_title(f"{run['machine']['device']}, {run['machine']['threads']} threads")
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=90)


def answer(runs: list[dict[str, Any]]) -> Iterator[str]:
    """What each upsampler costs in complete networks, relative to the network's own."""
    here = [run for run in runs if not run["machine"]["device"].startswith("NVIDIA")]
    steps = _relative(run["networks"] for run in here if "networks" in run)
    records = [record for run in here for record in run.get("decoders", [])]
    slices = {r["upsampler"]: r for r in records if r["network"].startswith("TransUNet")}
    volumes = {r["upsampler"]: r for r in records if "3-D" in r["network"]}
    bilinear = slices["bilinear"]["parameters"]
    least = volumes["native"]["peak_bytes"]
    yield "| upsampler | training step, 2-D | prediction, 2-D | prediction, 3-D | memory, 3-D | added parameters, 2-D |"
    yield "|---|--:|--:|--:|--:|--:|"
    for name in sorted(slices.keys() & volumes.keys(), key=lambda name: volumes[name]["against"]):
        step = f"{steps[name]:.2f}" if name in steps else ""
        yield (
            f"| `{name}` | {step} | {slices[name]['against']:.2f} | {volumes[name]['against']:.1f} "
            f"| {volumes[name]['peak_bytes'] / least:.1f} | {(slices[name]['parameters'] - bilinear) / 1e6:+.2f} M |"
        )


def _relative(tables: Iterable[list[Record]]) -> dict[str, float]:
    """The median step relative to bilinear, by upsampler in three steps."""
    suffix = ", three steps"
    return {
        record["decoder"].removesuffix(suffix): record["against_bilinear"][1]
        for table in tables
        for record in table
        if record["decoder"].endswith(suffix)
    }


def measured(kind: str = "") -> list[dict[str, Any]]:
    """The results with this part, or all that are not of predictions."""
    runs = [json.loads(path.read_text()) for path in sorted((DOCS / "benchmarks").glob("*.json"))]
    return [run for run in runs if (kind in run if kind else "predict" not in run)]


def main() -> None:
    runs, predictions = measured(), measured("predict")
    replace_section(DOCS / "benchmarks.md", "answer", answer(runs))
    if predictions:
        replace_section(DOCS / "benchmarks.md", "prediction", prediction_tables(predictions))
    replace_section(DOCS / "benchmark-tables.md", "results", tables(runs))
    series = [run for run in runs if any(r["setting"].startswith("series") for r in run.get("records", []))]
    if series:
        draw_series(series, DOCS / "pictures" / "upsampler-cost.png")


if __name__ == "__main__":
    main()
