"""Small valid files of every format that medups reads; mutations start from them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk
import torch
import yaml

from medups.bundle.model import define, make_model, write_bundle
from medups.data.labels import label_set
from medups.data.scenes import write_scenes
from tests.dicom_series import kept_locale, write_series

SHAPE = (5, 6, 7)


def volume() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)


def nifti(folder: Path) -> None:
    ids = (volume() > 0).astype(np.uint8)
    for name, image_class, data in (
        ("one.nii", nib.Nifti1Image, volume()), ("two.nii.gz", nib.Nifti1Image, volume().astype(np.float32)),
        ("three.nii", nib.Nifti2Image, volume()), ("four.nii.gz", nib.Nifti1Image, ids),
    ):  # fmt: skip
        nib.save(image_class(data, np.diag([0.8, 0.9, 2.5, 1])), folder / name)


def itk(folder: Path) -> None:
    image = sitk.GetImageFromArray(volume())
    image.SetSpacing((0.7, 0.9, 2.5))
    for name, compress in (("one.nrrd", False), ("two.nrrd", True), ("three.mha", False), ("four.mha", True)):
        sitk.WriteImage(image, str(folder / name), compress)


def dicom(folder: Path) -> None:
    with kept_locale():
        write_series(folder / "series", voxels=volume())


def preprocessed(folder: Path) -> None:
    image, label = (volume() / 2000 + 0.5).astype(np.float32), (volume() > 0).astype(np.uint8)
    for number, (one, other) in enumerate(zip(image, label, strict=True)):
        np.savez_compressed(folder / f"case0001_slice{number:03d}.npz", image=one, label=other)


def h5(folder: Path) -> None:
    image, label = (volume() / 2000 + 0.5).astype(np.float32), (volume() > 0).astype(np.uint8)
    with h5py.File(folder / "case0002.npy.h5", "w") as file:
        file["image"], file["label"] = image, label


def tables(folder: Path) -> None:
    labels = label_set("synapse8")
    organs = {str(number): name for number, name in labels.organs.items()}
    contents = {
        "mask.labels.json": labels.as_dict(),
        "dataset.json": {
            "name": "set", "labels": {"background": 0, **{name: int(number) for number, name in organs.items()}},
            "numTraining": 1, "file_ending": ".nii.gz", "channel_names": {"0": "CT"},
        },
        "datalist.json": {
            "labels": {"0": "background", **organs}, "modality": {"0": "CT"},
            "training": [{"image": "a.nii.gz", "label": "b.nii.gz", "fold": 0}], "validation": [], "test": ["c.nii.gz"],
        },
        "summary.json": {
            "protocol": "physical", "n_cases": 1, "cases": ["a"], "tolerance_mm": 2.0, "mean": {"dice": 0.5},
            "organs": {"liver": {"dice": 0.5, "n": 1}},
        },
    }  # fmt: skip
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "cases.csv").write_text("case,organ,dice\r\na,liver,0.5\r\n")
    (folder / "set.yaml").write_text(yaml.safe_dump({"name": "set", "classes": {1: "a", 2: "b"}, "ignore": [0, 255]}))


def coco(folder: Path) -> None:
    list(write_scenes(folder, 1, 1, seed=0, height=32, width=40))
    for path in (*folder.glob("labels/*/*.png"), *folder.glob("annotations/*val*.json")):
        path.unlink()


def pictures(folder: Path) -> None:
    from PIL import Image

    colors = np.random.default_rng(1).integers(0, 255, (9, 12, 3)).astype(np.uint8)
    ids = np.random.default_rng(2).integers(0, 3, (9, 12)).astype(np.uint8)
    for name, array in (
        ("one.png", colors), ("two.jpg", colors), ("three.bmp", colors), ("four.tif", colors), ("five.webp", colors),
        ("mask.png", ids),
    ):  # fmt: skip
        Image.fromarray(array).save(folder / name)
    palette = Image.fromarray(ids, mode="P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    palette.save(folder / "palette_mask.png")


def archives(folder: Path) -> None:
    buffer = io.BytesIO()
    image = nib.Nifti1Image(volume(), np.eye(4))
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/one.nii", image.to_bytes())
        archive.writestr("a/note.txt", "text")
    (folder / "scans.zip").write_bytes(buffer.getvalue())


def bundle(folder: Path) -> None:
    network = {"_target_": "monai.networks.nets.UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 9,
               "channels": [2, 4], "strides": [2]}  # fmt: skip
    scale = {"_target_": "monai.transforms.ScaleIntensityRanged", "keys": ["image"], "a_min": -125, "a_max": 275,
             "b_min": 0, "b_max": 1, "clip": True}  # fmt: skip
    inferer = {"_target_": "medups.inference.SliceInferer", "size": 32}
    definition = define(network, [scale], inferer, label_set("synapse8"), None, {"train": ["a"], "val": [], "test": []})
    definition["medups"]["data_format"] = {}
    torch.manual_seed(0)
    model = make_model(definition, "seed")
    write_bundle(folder / "bundle", model, model.network.state_dict(), "seed")
    torch.save({"network": model.network.state_dict(), "step": 3}, folder / "last.pt")


SEEDS: dict[str, Callable[[Path], None]] = {
    "nifti": nifti,
    "itk": itk,
    "dicom": dicom,
    "preprocessed": preprocessed,
    "h5": h5,
    "tables": tables,
    "coco": coco,
    "pictures": pictures,
    "archives": archives,
    "bundle": bundle,
}


def dataset_of(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(content), force=True)
