"""Segment pictures and write each mask as a PNG file of class ids."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medups.data.formats.pictures import ENDINGS, picture_files
from medups.data.pictures import read_picture, to_ids
from medups.data.pictures.classes import CLASSES
from medups.data.pictures.files import png_bytes
from medups.data.volumes.find import ScanFile
from medups.errors import InputError
from medups.inference.segment import channels_of
from medups.io.files import require_writable, write_bytes, write_json
from medups.report.pictures import side_by_side_png
from medups.workflows.jobs import Job, Jobs
from medups.workflows.prediction import PredictionRun, Written


def list_pictures(
    source: Path,
    output: Path,
    cases: Sequence[str] | None = None,
    endings: Sequence[str] = ("png",),
    subfolder: str = "",
) -> Jobs:
    """The files to write, without writing them.

    Args:
        source: a picture, or a folder of pictures, with subfolders.
        output: a file for one picture, otherwise a folder, in which files have the pictures' relative paths.
        cases: only pictures of these names, their relative paths without the ending.
        endings: of the files of each picture; an output file has the first one.
        subfolder: of an output folder, for the files.

    Raises:
        InputError: no pictures, an unknown name, or an output that cannot be written.
    """
    found = {source.stem: source} if source.is_file() else dict(picture_files(source))
    if cases is not None:
        if unknown := [name for name in cases if name not in found]:
            raise InputError(f"{source}: no pictures named {', '.join(unknown)}")
        found = {name: found[name] for name in cases}
    if pairs := [name for name in found if f"{name}.preview" in found]:
        raise InputError(f"{source}: {pairs[0]}.preview is the name of a preview of {pairs[0]}; rename one of them")
    one_file = output.suffix.lower() == f".{endings[0]}"
    if output.suffix.lower() in (*ENDINGS, ".json") and not one_file:
        raise InputError(f"{output}: predictions are written as .{endings[0]}; pass such a file name, or a folder")
    if one_file and len(found) > 1:
        raise InputError(f"{output}: {len(found)} pictures need a folder as output, not one file")
    if source.is_dir() and output.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{output}: is inside the input {source}; choose another output")
    require_writable(output.parent if one_file else output)
    jobs = [
        Job(ScanFile(path, name), _files(output if one_file else output / subfolder / f"{name}.{endings[0]}", endings))
        for name, path in found.items()
    ]
    for job in jobs:
        if job.mask.resolve() == job.scan.path.resolve():
            raise InputError(f"{job.scan.path}: the mask would overwrite the picture; choose another output")
    return Jobs(jobs, None if one_file else output, [], [])


def _files(first: Path, endings: Sequence[str]) -> dict[str, Path]:
    """Files of one name; the ending is not cut off from names with dots."""
    stem = first.name[: -len(first.suffix)]
    return {ending: first.with_name(f"{stem}.{ending}") for ending in endings}


@dataclass(frozen=True)
class PredictedPicture:
    """A picture [H, W, 3], what the model predicts for it, and the time that took."""

    picture: NDArray[np.uint8]
    prediction: Any
    seconds: float


class PictureRun(PredictionRun):
    """Pictures.

    endings, subfolder: of the files, see :func:`list_pictures`.
    """

    endings: ClassVar[tuple[str, ...]]
    subfolder: ClassVar[str]

    def read(self, job: Job) -> NDArray[np.uint8]:
        return read_picture(job.scan.path)

    def segment(self, job: Job, scan: NDArray[np.uint8]) -> PredictedPicture:
        began = time.perf_counter()
        prediction = self.predict(scan)
        return PredictedPicture(scan, prediction, time.perf_counter() - began)

    def write(self, job: Job, done: PredictedPicture) -> Written:
        files = self.write_prediction(job, done)
        if self.options.preview:
            files.append(job.mask.with_name(f"{job.mask.stem}.preview.png"))
            write_bytes(files[-1], self.drawn(done, job.scan.name))
        return Written(files, done.seconds)

    @abstractmethod
    def predict(self, picture: NDArray[np.uint8]) -> Any:
        """What the model says about a picture [H, W, 3]."""

    @abstractmethod
    def write_prediction(self, job: Job, done: PredictedPicture) -> list[Path]:
        """Write the prediction; returns the files that the record names."""

    @abstractmethod
    def drawn(self, done: PredictedPicture, title: str) -> bytes:
        """The prediction over its picture, a PNG file."""


class ClassRun(PictureRun):
    """Masks of class ids, which have their pictures' sizes."""

    endings = ("png",)
    subfolder = ""

    def predict(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return channels_of(self.model, picture, self.device, self.options.bf16)

    def write_prediction(self, job: Job, done: PredictedPicture) -> list[Path]:
        write_bytes(job.mask, png_bytes(to_ids(done.prediction, self.model.labels)))
        if self.folder is None:
            write_json(job.mask.with_suffix(f".{CLASSES}"), self.model.labels.as_dict())
        return [job.mask]

    def drawn(self, done: PredictedPicture, title: str) -> bytes:
        return side_by_side_png(done.picture, {"prediction": done.prediction}, self.model.labels, title)

    def summarize(self, folder: Path, listed: Jobs) -> None:
        super().summarize(folder, listed)
        write_json(folder / CLASSES, self.model.labels.as_dict())
