"""What was written for each case, so that an interrupted or repeated command redoes only what is missing.

    records/NAME.json   settings, checksums, time, memory, warnings and organs of one case, written after its masks
    manifest.json       all records of a folder, with versions
    organs.csv          one row for each case and organ
"""  # fmt: skip

from __future__ import annotations

import platform
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import monai
import torch

import medups
from medups.data.volumes.files import files_of
from medups.data.volumes.find import ScanFile
from medups.errors import InputError
from medups.io.files import file_sha256, read_json, write_csv, write_json
from medups.metrics.organs import OrganFacts

_COLUMNS = ("case", "organ", "volume_ml", "mean", "std", "centroid_mm", "box_first", "box_last")


def record_file(folder: Path, name: str) -> Path:
    """The record of the case ``name``."""
    return folder / "records" / f"{name}.json"


def finished(folder: Path, scan: ScanFile, settings: Mapping[str, Any]) -> list[Path] | None:
    """The intact files of a case that was completed from the same scan with the same settings; None to redo it."""
    path = record_file(folder, scan.name)
    if not path.is_file():
        return None
    try:
        record = read_json(path)
        same = record["settings"] == settings and record["scan"] == scan_state(scan)
        intact = same and all(file_sha256(folder / name).hex() == digest for name, digest in record["files"].items())
    except (InputError, OSError, KeyError, TypeError, AttributeError):  # damaged, or a file is gone: redo the case
        return None
    return [folder / name for name in record["files"]] if intact else None


def write_record(
    folder: Path,
    scan: ScanFile,
    state: Mapping[str, Any],
    settings: Mapping[str, Any],
    files: list[Path],
    seconds: float,
    warnings: list[str],
    organs: Mapping[str, OrganFacts],
) -> None:
    """Record a case, after its files are complete; ``state`` is the scan's when it was read."""
    write_json(
        record_file(folder, scan.name),
        {
            "case": scan.name,
            "scan": dict(state),
            "settings": dict(settings),
            "files": {file.relative_to(folder).as_posix(): file_sha256(file).hex() for file in files},
            "seconds": round(seconds, 3),
            "peak_memory_mib": round(peak_memory_mib()),
            "warnings": warnings,
            "organs": {name: asdict(facts) for name, facts in organs.items()},
        },
    )


def write_failure(folder: Path, scan: ScanFile, error: str) -> None:
    """Record why a case has no mask; an older mask of it stays, but is no longer counted as finished."""
    write_json(record_file(folder, scan.name), {"case": scan.name, "error": error})


def has_failed(folder: Path, scan: ScanFile) -> bool:
    """Whether the case failed when it was last tried."""
    path = record_file(folder, scan.name)
    return path.is_file() and "error" in read_json(path)


def write_summary(folder: Path, names: list[str], problems: list[str]) -> None:
    """Gather the records in ``manifest.json`` and ``organs.csv``.

    Args:
        names: the cases of this command; failures of others are forgotten.
        problems: what has no record because it could not even be found.
    """
    found = [read_json(path) for path in sorted((folder / "records").rglob("*.json"))]
    records = [record for record in found if "error" not in record]
    problems = [*problems, *(record["error"] for record in found if "error" in record and record["case"] in names)]
    versions = {"medups": medups.__version__, "torch": torch.__version__, "monai": monai.__version__}
    write_json(
        folder / "manifest.json",
        {"versions": {**versions, "python": platform.python_version()}, "failed": problems, "cases": records},
    )
    rows: list[list[object]] = [list(_COLUMNS)]
    for record in records:
        for organ, facts in record["organs"].items():
            box = facts["box"] or []
            rows.append(
                [
                    record["case"],
                    organ,
                    *(_rounded(facts[name]) for name in ("volume_ml", "mean", "std")),
                    " ".join(f"{value:.1f}" for value in facts["centroid_mm"] or []),
                    " ".join(str(first) for first, _ in box),
                    " ".join(str(last) for _, last in box),
                ]
            )
    write_csv(folder / "organs.csv", rows)


def scan_files(scan: ScanFile) -> list[Path]:
    """The files that a scan is read from; for one from an archive, the archive."""
    if scan.archive is not None:
        return [scan.archive]
    return files_of(scan.path) if scan.series is None else sorted({member.file for member in scan.series.slices})


def scan_state(scan: ScanFile) -> dict[str, Any]:
    """What identifies the content of a scan without reading it: its files' names, sizes and times."""
    files = scan_files(scan)
    sizes = [file.stat() for file in files if file.is_file()]
    return {
        "path": str(scan.path if scan.archive is None else scan.archive / scan.name),
        "files": len(files),
        "bytes": sum(entry.st_size for entry in sizes),
        "modified": max((entry.st_mtime_ns for entry in sizes), default=0),
    }


def peak_memory_mib() -> float:
    """The largest resident memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
