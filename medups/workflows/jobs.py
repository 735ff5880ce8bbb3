"""Which scans to segment, and where their masks go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medups.data.volumes.find import ScanFile, find_scans, is_nifti, is_other_format, scan_files_by_key
from medups.data.volumes.masks import FORMATS, case_files
from medups.errors import InputError
from medups.io.files import require_writable


@dataclass(frozen=True)
class Job:
    """One scan and the files to write for it, by format."""

    scan: ScanFile
    files: dict[str, Path]

    @property
    def mask(self) -> Path:
        """The first file, for messages."""
        return next(iter(self.files.values()))


@dataclass(frozen=True)
class Jobs:
    """All jobs of a command.

    Args:
        folder: the output folder; None if the output is one file.
        problems: what looks like a scan and cannot be read, each a sentence.
        set_aside: DICOM files that are no scans, each a sentence.
    """

    jobs: list[Job]
    folder: Path | None
    problems: list[str]
    set_aside: list[str]


def list_jobs(
    source: Path,
    output: Path,
    cases: Sequence[str] | None = None,
    *,
    formats: Sequence[str] = ("nifti",),
    series: str | None = None,
    scratch: Path | None = None,
) -> Jobs:
    """List the masks to write, without writing them.

    Args:
        source: a scan, or a folder or archive of scans.
        output: a file ending in .nii, .nii.gz, .seg.nrrd, .seg.dcm or .rtstruct.dcm for one scan, otherwise a
            folder for files named after the scans.
        cases: only scans of these names, as in a data split; None for all.
        formats, series, scratch: see :func:`~medups.workflows.predict.predict` and
            :func:`~medups.data.volumes.find.find_scans`.

    Raises:
        InputError: no scans, an unknown name or format, or an output that cannot be written.
    """
    unknown = [kind for kind in formats if kind not in FORMATS]
    if unknown or not formats:
        raise InputError(f"--formats: unknown {', '.join(unknown)}; choose from {', '.join(FORMATS)}")
    formats = [kind for kind in FORMATS if kind in formats]
    if cases is None:
        found = find_scans(source, scratch, series)
        scans, problems, set_aside = found.scans, found.problems, found.set_aside
    else:
        scans, problems, set_aside = _named(source, cases, scratch, series), [], []
    kind = _format_of(output)
    if kind is not None:
        if len(scans) > 1:
            names = ", ".join(scan.series.title if scan.series else scan.name for scan in scans[:5])
            raise InputError(f"{output}: {len(scans)} scans ({names}) need a folder as output, not one file")
        require_writable(output.parent)
        if output.is_dir():
            raise InputError(f"{output}: is a folder; pass a file name")
        return Jobs(_checked(source, [Job(scan, {kind: output}) for scan in scans]), None, problems, set_aside)
    if is_other_format(output):
        endings = ", ".join(FORMATS.values())
        raise InputError(f"{output}: masks are written as .nii, {endings}; pass such a file name, or a folder")
    require_writable(output)
    if source.is_dir() and output.resolve().is_relative_to(source.resolve()):
        raise InputError(
            f"{output}: the mask would overwrite the scan, or be taken for one next time: the output is inside the "
            f"input {source}; choose another output"
        )
    jobs = [Job(scan, case_files(output, scan.name, formats)) for scan in scans]
    return Jobs(_checked(source, jobs), output, problems, set_aside)


def _named(source: Path, cases: Sequence[str], scratch: Path | None, series: str | None) -> list[ScanFile]:
    by_key = scan_files_by_key(source, scratch, series)
    unknown = [name for name in cases if name not in by_key]
    if unknown:
        raise InputError(f"{source}: no scans for the cases {', '.join(unknown)}; the folder has {', '.join(by_key)}")
    return [by_key[name] for name in cases]


def _format_of(output: Path) -> str | None:
    """The format of an output file by its ending; None for a folder."""
    if is_nifti(output):
        return "nifti"
    return next((kind for kind, ending in FORMATS.items() if output.name.endswith(ending)), None)


def _checked(source: Path, jobs: list[Job]) -> list[Job]:
    """``jobs``. Raises InputError if two write the same file, or one replaces its scan."""
    names = [job.mask.name for job in jobs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{source}: several scans would be written to {', '.join(repeated)}; rename them")
    for job in jobs:
        if any(file.resolve() == job.scan.path.resolve() for file in job.files.values()):
            raise InputError(f"{job.scan.path}: the mask would overwrite the scan; choose another output")
    return jobs
