"""Find the objects or panoptic segments of pictures and write them in COCO's form."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medups.data.pictures.coco_entries import categories_of, objects_entries, segment_colors, segments_entry
from medups.data.pictures.files import png_bytes
from medups.data.pictures.objects import Objects, Segments
from medups.errors import InputError
from medups.inference.segment import objects_of
from medups.io.files import read_json, write_bytes, write_json
from medups.report.objects import objects_png
from medups.workflows.jobs import Job, Jobs
from medups.workflows.predict_pictures import PictureRun, PredictedPicture
from medups.workflows.records import has_failed


class FoundRun(PictureRun):
    """Each picture has a file in COCO's form, and a folder has one file of all."""

    def predict(self, picture: NDArray[np.uint8]) -> Objects | Segments:
        return objects_of(self.model, picture, self.device, self.options.bf16)

    def write_prediction(self, job: Job, done: PredictedPicture) -> list[Path]:
        height, width = done.picture.shape[:2]
        path = job.scan.path
        file_name = path.name if self.folder is None else f"{job.scan.name}{path.suffix}"
        image_id = int(path.stem) if path.stem.isdecimal() else 1
        files = self.write_masks(job, done.prediction)
        content = {
            "images": [{"id": image_id, "file_name": file_name, "height": height, "width": width}],
            "annotations": self.entries(job, done.prediction, image_id),
            "categories": categories_of(self.model.labels),
        }
        write_json(job.files["json"], content)
        return [*files, job.files["json"]]

    def drawn(self, done: PredictedPicture, title: str) -> bytes:
        return objects_png(done.picture, {"prediction": done.prediction}, self.model.labels, title)

    def summarize(self, folder: Path, listed: Jobs) -> None:
        super().summarize(folder, listed)
        write_json(folder / f"{self.subfolder}.json", self._joined(folder, listed.jobs))

    def _joined(self, folder: Path, jobs: Sequence[Job]) -> dict[str, Any]:
        """The files of this command's pictures as one, without those that failed; ids that are not unique are replaced.

        Raises:
            InputError: a kept file has another form.
        """
        done = [job.files["json"] for job in jobs if job.files["json"].is_file() and not has_failed(folder, job.scan)]
        contents = [read_json(path) for path in done]
        for path, content in zip(done, contents, strict=True):
            if not isinstance(content, dict) or not {"images", "annotations"} <= set(content) or not content["images"]:
                raise InputError(f"{path}: expected what medups predict writes; remove it, and repeat the command")
        ids = [content["images"][0]["id"] for content in contents]
        renumbered = len(set(ids)) < len(ids)
        images, annotations = [], []
        for number, content in enumerate(contents, start=1):
            image_id = number if renumbered else content["images"][0]["id"]
            images.append({**content["images"][0], "id": image_id})
            annotations += [{**entry, "image_id": image_id} for entry in content["annotations"]]
        return {
            "images": images,
            "annotations": list(self.numbered(annotations)),
            "categories": categories_of(self.model.labels),
        }

    @abstractmethod
    def write_masks(self, job: Job, found: Any) -> list[Path]:
        """Write what the JSON file does not hold, and return the files."""

    @abstractmethod
    def entries(self, job: Job, found: Any, image_id: int) -> list[dict[str, Any]]:
        """The picture's annotations."""

    def numbered(self, entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The annotations of all pictures."""
        yield from entries


class ObjectRun(FoundRun):
    """``objects/NAME.json`` for each picture, and ``objects.json``."""

    endings = ("json",)
    subfolder = "objects"

    def write_masks(self, job: Job, found: Objects) -> list[Path]:
        return []

    def entries(self, job: Job, found: Objects, image_id: int) -> list[dict[str, Any]]:
        return list(self.numbered(objects_entries(found, image_id)))

    def numbered(self, entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for number, entry in enumerate(entries, start=1):
            yield {**entry, "id": number}


class SegmentRun(FoundRun):
    """``panoptic/NAME.png`` with segment numbers as colors, ``panoptic/NAME.json``, and ``panoptic.json``."""

    endings = ("png", "json")
    subfolder = "panoptic"

    def write_masks(self, job: Job, found: Segments) -> list[Path]:
        write_bytes(job.files["png"], png_bytes(segment_colors(found.numbers)))
        return [job.files["png"]]

    def entries(self, job: Job, found: Segments, image_id: int) -> list[dict[str, Any]]:
        name = job.mask.name if self.folder is None else f"{job.scan.name}.png"
        return [segments_entry(found, image_id, name)]
