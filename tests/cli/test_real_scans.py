"""The complete workflow on real CT: train on one patient, segment both, evaluate."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from medups.cli.main import main
from medups.data.labels import label_set


def test_real_patients(real_data, tmp_path, capsys):
    a, b = real_data / "ct-a", real_data / "ct-b"
    case = f"{{name: a, image: {a / 'image.nii.gz'}, label: {a / 'labels_v1.nii.gz'}}}"
    recipe = [
        "data=list", f"data.cases=[{case}]", "data.source_labels=totalsegmentator_v1", "data.split.train=[a]",
        f"data.cache={tmp_path / 'cache'}", "network=transunet_tiny", "network.size=96", "training=quick",
        "training.steps=60", "training.batch_size=6", "upsampler.options.embed_channels=8",
        f"output={tmp_path / 'run'}",
    ]  # fmt: skip
    assert main(["train", *recipe]) == 0
    model = ["--model", str(tmp_path / "run" / "bundle")]
    for source, name in ((a / "image.nii.gz", "a"), (b / "dicom", "b")):
        out = str(tmp_path / f"{name}.nii.gz")
        assert main(["predict", *model, "--input", str(source), "--output", out]) == 0

    image, mask = nib.load(a / "image.nii.gz"), nib.load(tmp_path / "a.nii.gz")
    assert mask.shape == image.shape
    np.testing.assert_allclose(mask.affine, image.affine, atol=1e-4)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(b / "dicom")))
    series, mask_b = reader.Execute(), sitk.ReadImage(str(tmp_path / "b.nii.gz"))
    assert mask_b.GetSize() == series.GetSize()
    for index in [(0, 0, 0), (511, 0, 19), (100, 300, 7)]:
        expected, computed = (v.TransformIndexToPhysicalPoint(index) for v in (series, mask_b))
        np.testing.assert_allclose(computed, expected, atol=1e-2)

    scores = {}
    for name, label, labels in (("a", a / "labels_v1.nii.gz", "v1"), ("b", b / "labels_v2.nii.gz", "v2")):
        image_of = {"a": a / "image.nii.gz", "b": b / "dicom"}[name]
        arguments = ["--pred", str(tmp_path / f"{name}.nii.gz"), "--label", str(label), "--image", str(image_of)]
        options = ["--label-labels", f"totalsegmentator_{labels}", "--output", str(tmp_path / f"eval-{name}")]
        assert main(["evaluate", *arguments, *options]) == 0
        scores[name] = json.loads((tmp_path / f"eval-{name}" / "summary.json").read_text())
    # a minute of training finds the liver of the training patient; with flipped slices it would not
    assert scores["a"]["organs"]["liver"]["dice"] > 0.6
    counted = {organ: row["n"] for organ, row in scores["b"]["organs"].items()}
    truth = np.asanyarray(nib.load(b / "labels_v2.nii.gz").dataobj)
    labels = label_set("totalsegmentator_v2")
    assert counted == {organ: int((truth == labels.id_of(organ)).any()) for organ in counted}
    assert 0 in counted.values()  # organs outside this stack of slices have no score
    assert (tmp_path / "eval-b" / "overlays" / "b.png").is_file()
