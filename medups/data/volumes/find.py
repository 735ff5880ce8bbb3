"""The scans in a file, folder or archive."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from medups.data.cases import ONLY_CHANNEL, case_key, case_name
from medups.data.volumes.archives import is_archive, unpack
from medups.data.volumes.dicom import DicomSeries, is_dicom, survey_folder
from medups.data.volumes.dicom.read import is_called
from medups.data.volumes.dicom.survey import is_apple_double
from medups.data.volumes.itk import is_itk
from medups.data.volumes.transunet import is_preprocessed
from medups.errors import InputError

# .NII counts as another format because files are recognized by their lower-case endings
_OTHER_FORMATS = (".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".img", ".mgz", ".nii", ".nii.gz", ".zip")
UNCERTAINTY = ".uncertainty.nii.gz"
_NOT_SCANS = {".seg.nrrd": "a segmentation", UNCERTAINTY: "an uncertainty map"}
_READS = ".nii, .nii.gz, .hdr with .img, .nrrd, .nhdr, .mha, .mhd and .zip files, and DICOM series"


@dataclass(frozen=True)
class ScanFile:
    """A scan that can be read.

    Args:
        path: a file, or the folder of a DICOM series.
        name: unique among the scans found together, for the files written about it.
        series: the series in the folder, for DICOM.
        archive: the archive that the scan was unpacked from.
    """

    path: Path
    name: str
    series: DicomSeries | None = None
    archive: Path | None = None


@dataclass
class Found:
    """What is at a path.

    Args:
        scans: all scans.
        problems: what looks like a scan but cannot be read, each a sentence.
        set_aside: DICOM files that are no scans, such as localizers and structure sets, each a sentence.
    """

    scans: list[ScanFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)


def is_nifti(path: Path) -> bool:
    """Whether the name has a NIfTI ending that masks are written with, too."""
    return path.name.endswith((".nii", ".nii.gz"))


def is_other_format(path: Path) -> bool:
    """Whether the name is that of a medical image in another format or spelling than :func:`is_nifti`."""
    return path.name.lower().endswith(_OTHER_FORMATS) and not is_nifti(path)


def find_scans(path: Path, scratch: Path | None = None, series: str | None = None) -> Found:
    """The scan at ``path``, or all scans in that folder and below it.

    Folders whose names begin with a dot are not searched.

    Args:
        path: a file, a folder, or a zip archive.
        scratch: an empty folder for the content of archives; None reports archives as problems.
        series: only DICOM series with this description, number or uid.

    Raises:
        InputError: no such path.
    """
    found = Found()
    if path.is_dir():
        _search(path, path, scratch, found, (path.resolve(),))
    elif not path.exists():
        raise InputError(f"{path}: no such file or folder")
    elif is_archive(path):
        _add_archive(path, "", scratch, found)
    elif is_dicom(path) and not is_nifti(path):
        _add_one_file_series(path, found)
    else:
        found.scans.append(ScanFile(path, case_name(path)))
    if series is not None:
        found.scans = [scan for scan in found.scans if scan.series is None or is_called(scan.series, series)]
    if not found.scans and not found.problems:
        others = f"; found {'; '.join(found.set_aside[:5])}" if found.set_aside else ""
        wanted = f"no DICOM series {series!r}" if series is not None else "no scans in this folder"
        found.problems.append(f"{path}: {wanted}; expected {_READS}{others}")
    return found


def scans_by_key(path: Path) -> dict[str, Path]:
    """The paths of :func:`scan_files_by_key`."""
    return {key: scan.path for key, scan in scan_files_by_key(path).items()}


def scan_files_by_key(path: Path, scratch: Path | None = None, series: str | None = None) -> dict[str, ScanFile]:
    """The scans directly in a folder, each a file or a folder of one DICOM series, keyed by :func:`case_key`.

    nnU-Net's ``_0000`` is dropped if all names have it.

    Args:
        path, scratch, series: see :func:`find_scans`.

    Raises:
        InputError: no scans, two scans with the same key, or an entry that looks like a scan and would be left out.
    """
    found = find_scans(path, scratch, series)
    for scan in found.scans:
        if path.is_dir() and scan.archive is None and path not in (scan.path, scan.path.parent):
            found.problems.append(f"{scan.path}: below a folder in {path}; put all scans directly into {path}")
    if found.problems:
        raise InputError("; ".join(found.problems))
    keys = [case_key(scan.path) for scan in found.scans]
    if all(key.endswith(ONLY_CHANNEL) for key in keys):
        keys = [key.removesuffix(ONLY_CHANNEL) for key in keys]
    by_key: dict[str, ScanFile] = {}
    for key, scan in zip(keys, found.scans, strict=True):
        first = by_key.setdefault(key, scan)
        if first is not scan and first.path == scan.path:
            raise InputError(f"{scan.path}: several DICOM series; put each into its own folder")
        if first is not scan:
            raise InputError(f"{path}: {first.path.name} and {scan.path.name} name the same case; keep one")
    return by_key


def _search(folder: Path, top: Path, scratch: Path | None, found: Found, above: tuple[Path, ...]) -> None:
    """Add the scans in ``folder`` and below; ``above`` are the real folders on the way, against loops of links."""
    try:
        entries = sorted(folder.iterdir())
        content = survey_folder(folder)
    except OSError as error:
        found.problems.append(f"{folder}: the folder cannot be read ({error.strerror})")
        return
    prefix = "_".join(folder.relative_to(top).parts)
    found.problems += content.problems
    found.set_aside += [f"{folder.name}/{note}" for note in content.set_aside]
    name = prefix or case_name(folder)
    # a damaged file may belong to any series of its folder, and a series without it would be a part
    for one in content.series if not content.problems else ():
        label = name if len(content.series) == 1 else f"{name}_{_file_name(one)}"
        found.scans.append(ScanFile(folder, label, one))
    for entry in entries:
        if entry.is_dir():
            real = entry.resolve()
            if not entry.name.startswith(".") and real not in above:
                _search(entry, top, scratch, found, (*above, real))
        elif not is_apple_double(entry) and not (entry.exists() and is_dicom(entry)):
            _add_file(entry, prefix, scratch, found)


def _add_file(file: Path, prefix: str, scratch: Path | None, found: Found) -> None:
    for ending, kind in _NOT_SCANS.items():
        if file.name.endswith(ending):
            found.set_aside.append(f"{file.name}: {kind}, not a scan")
            return
    is_scan = is_nifti(file) or is_itk(file) or is_preprocessed(file) or file.suffix == ".hdr"
    if not file.exists():
        if is_scan or is_other_format(file) or file.suffix.lower() in (".dcm", ".ima"):
            found.problems.append(f"{file}: a link to a missing file; fetch it, or remove the link")
    elif is_scan:
        found.scans.append(ScanFile(file, "_".join(filter(None, (prefix, case_name(file))))))
    elif is_archive(file):
        _add_archive(file, prefix, scratch, found)
    elif is_other_format(file) and not (file.suffix == ".img" and file.with_suffix(".hdr").exists()):
        found.problems.append(f"{file}: looks like a scan and would be left out; expected {_READS}")


def _add_archive(file: Path, prefix: str, scratch: Path | None, found: Found) -> None:
    if scratch is None:
        found.problems.append(f"{file}: an archive; unpack it")
        return
    try:
        folder = unpack(file, scratch / f"{len(list(scratch.iterdir()))}" / case_name(file))
    except InputError as error:
        found.problems.append(str(error))
        return
    inside = find_scans(folder)
    found.problems += [f"{file}: {problem}" for problem in inside.problems]
    found.set_aside += inside.set_aside
    for scan in inside.scans:
        own = case_name(file)
        name = own if len(inside.scans) == 1 else f"{own}_{scan.name}"
        found.scans.append(ScanFile(scan.path, "_".join(filter(None, (prefix, name))), scan.series, file))


def _add_one_file_series(file: Path, found: Found) -> None:
    """A DICOM file that the user names: a multi-frame scan, or one slice of a series."""
    content = survey_folder(file.parent)
    own = [one for one in content.series if any(member.file == file for member in one.slices)]
    about = [problem for problem in content.problems if str(file) in problem]
    if not own:
        reasons = about or [note for note in content.set_aside if note.startswith(f"{file.name}:")]
        found.problems.append("; ".join(reasons) or f"{file}: not an image of a scan")
        return
    files = {member.file for member in own[0].slices}
    if len(files) > 1:
        found.problems.append(f"{file}: one of {len(files)} files of a series; pass the folder {file.parent}")
        return
    found.scans.append(ScanFile(file.parent, case_name(file), own[0]))


def _file_name(series: DicomSeries) -> str:
    """A file name that tells a series from the others in its folder."""
    words = [] if series.number is None else [str(series.number)]
    words.append(series.description or series.uid)
    return "_".join("".join(c if c.isalnum() or c in "-." else "_" for c in word) for word in words)
