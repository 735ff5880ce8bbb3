"""The public functions: the same results as the commands, for images of any library."""

from __future__ import annotations

import subprocess
import sys
import threading

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor

import medups
from medups.data.volumes import Grid
from medups.errors import InputError
from tests.cli.commands import TINY
from tests.cli.commands import medups as command


@pytest.fixture(scope="module")
def trained(phantoms, tmp_path_factory):
    """What ``medups.train`` returns for a few steps."""
    folder = tmp_path_factory.mktemp("api")
    recipe = [*TINY, f"data.root={phantoms}", f"data.cache={folder / 'cache'}", f"output={folder / 'run'}"]
    return medups.train(recipe)


@pytest.fixture(scope="module")
def expected(trained, phantoms, tmp_path_factory):
    """The mask that the command writes for an oblique scan."""
    path = tmp_path_factory.mktemp("mask") / "mask.nii.gz"
    scan = phantoms / "img" / "img0003.nii.gz"
    assert command("predict", "--model", trained.bundle, "--input", scan, "--output", path) == 0
    return nib.load(path)


@pytest.fixture
def scan(phantoms):
    return nib.load(phantoms / "img" / "img0003.nii.gz")


@pytest.fixture(scope="module")
def model(trained):
    return medups.load_model(trained.bundle)


def ids(mask):
    return np.asanyarray(mask.dataobj)


def test_training_returns_its_bundle_and_score(trained):
    assert (trained.bundle / "models" / "model.pt").is_file()
    assert trained.step in (3, 6)  # validated twice in six steps
    assert 0 <= trained.score <= 1


def test_a_nibabel_image_with_a_fourth_axis_of_one(model, scan, expected):
    """Some converters write it; the command reads such files too."""
    image = nib.Nifti1Image(np.asanyarray(scan.dataobj)[..., None], scan.affine)
    mask = model.predict(image).mask
    assert mask.shape == image.shape
    np.testing.assert_array_equal(ids(mask)[..., 0], ids(expected))


def test_a_meta_tensor_of_itk_coordinates(model, scan, expected):
    """Its affine leads toward left and back, so the same affine matrix would mirror the patient."""
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0])
    data = torch.from_numpy(scan.get_fdata(dtype=np.float32))
    image = MetaTensor(data, affine=torch.from_numpy(to_lps @ scan.affine), meta={"space": "LPS"})
    np.testing.assert_array_equal(model.predict(image).mask.as_tensor().numpy(), ids(expected))


def test_a_bfloat16_tensor(model, scan, expected):
    grid = Grid(scan.shape, scan.affine)
    values = grid.to_canonical(scan.get_fdata(dtype=np.float32))
    rounded = torch.from_numpy(np.ascontiguousarray(values)).to(torch.bfloat16)
    assert torch.equal(model.predict(rounded).mask, model.predict(rounded.float()).mask)


def test_a_nibabel_image(model, scan, expected):
    prediction = model.predict(scan)
    assert prediction.mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(prediction.mask.affine, scan.affine)
    np.testing.assert_array_equal(ids(prediction.mask), ids(expected))
    assert prediction.organs[1] == "aorta"
    assert len(np.unique(ids(expected))) > 1


def test_a_simpleitk_image(model, phantoms, expected):
    image = sitk.ReadImage(str(phantoms / "img" / "img0003.nii.gz"))
    mask = model.predict(image).mask
    for attribute in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(mask, attribute)() == getattr(image, attribute)()
    assert mask.GetPixelID() == sitk.sitkUInt8
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mask).transpose(2, 1, 0), ids(expected))


@pytest.mark.parametrize("with_channel", [True, False])
def test_a_meta_tensor(model, scan, expected, with_channel):
    data = torch.from_numpy(scan.get_fdata(dtype=np.float32))
    image = MetaTensor(data[None] if with_channel else data, affine=torch.from_numpy(scan.affine))
    mask = model.predict(image).mask
    assert isinstance(mask, MetaTensor)
    assert mask.shape == image.shape
    assert torch.equal(mask.affine, image.affine)
    np.testing.assert_array_equal(mask.as_tensor().reshape(scan.shape).numpy(), ids(expected))


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_an_array(model, scan, expected, kind):
    """Arrays run toward head, back and left; their mask is one of the same kind."""
    grid = Grid(scan.shape, scan.affine)
    image = kind(np.ascontiguousarray(grid.to_canonical(scan.get_fdata(dtype=np.float32))))
    mask = model.predict(image).mask
    assert type(mask) is type(image)
    np.testing.assert_array_equal(np.asarray(mask), grid.to_canonical(ids(expected)))


def test_several_threads_at_once(model, phantoms):
    """Each gets what it gets alone."""
    scans = [nib.load(path) for path in sorted((phantoms / "img").iterdir())]
    alone = [ids(model.predict(scan).mask) for scan in scans]
    together = [None] * len(scans)

    def predict(number):
        together[number] = ids(model.predict(scans[number]).mask)

    threads = [threading.Thread(target=predict, args=(number,)) for number in range(len(scans))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for first, second in zip(alone, together, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("image", "spacing", "message"),
    [
        ("scan.nii.gz", None, "expected an array, tensor, nibabel, SimpleITK or MetaTensor image, got str"),
        (np.zeros((4, 4)), None, r"expected a 3-D volume, got shape \(4, 4\)"),
        (np.full((4, 4, 4), np.nan), None, "64 voxels are not finite"),
        (np.zeros((4, 4, 4), complex), None, "expected numbers, got values of type complex128"),
        (nib.Nifti1Image(np.zeros((4, 4, 4)), None), None, "no affine"),
        (MetaTensor(torch.rand(4, 4, 4), affine=torch.zeros(4, 4)), None, "does not place voxels in space"),
        (sitk.Image([4, 4, 4], sitk.sitkVectorFloat32, 3), None, "expected a 3-D volume"),
        (np.random.default_rng(0).random((4, 4, 4)), (1, 1, float("nan")), "three numbers of millimeters"),
        (np.random.default_rng(0).random((4, 4, 4)), 1.0, "three numbers of millimeters"),
        (np.random.default_rng(0).random((4, 4, 4)), (1, 1), "three numbers of millimeters"),
        (np.random.default_rng(0).random((4, 4, 4)), (1, 1, 0), "three numbers of millimeters"),
        (nib.Nifti1Image(np.random.default_rng(0).random((4, 4, 4)), np.eye(4)), (1, 1, 1), "has its own spacing"),
    ],
)
def test_images_that_are_refused(model, image, spacing, message):
    with pytest.raises(InputError, match=message):
        model.predict(image, spacing)


def test_a_3d_model_needs_the_spacing_of_an_array(phantoms, tmp_path):
    recipe = [
        "data=phantom", f"data.root={phantoms}", f"data.cache={tmp_path / 'cache'}", f"output={tmp_path / 'run'}",
        "data.split.train=['0001']", "data.split.val=[]", "data.split.test=[]", "network=unet_3d",
        "network.spacing=[8,8,8]", "network.module.channels=[3,6]", "network.module.strides=[2]",
        "network.inferer.roi_size=[16,16,16]", "training.steps=1", "training.batch_size=2", "training.workers=0",
    ]  # fmt: skip
    model = medups.load_model(medups.train(recipe).bundle)
    scan = nib.load(phantoms / "img" / "img0001.nii.gz")
    grid = Grid(scan.shape, scan.affine)
    image = grid.to_canonical(scan.get_fdata(dtype=np.float32))
    with pytest.raises(InputError, match="spacing"):
        model.predict(image)
    mask = model.predict(image, spacing=grid.spacing).mask
    np.testing.assert_array_equal(mask, grid.to_canonical(ids(model.predict(scan).mask)))


def test_evaluation_returns_scores_as_a_table(phantoms, tmp_path):
    """The labels scored against themselves: Dice 1 and no distance, by organ and case; nothing is written."""
    pytest.importorskip("pandas")
    labels = phantoms / "label"
    result = medups.evaluate(labels, labels, pred_labels="btcv13", label_labels="btcv13")
    frame = result.evaluation.to_frame()
    assert set(frame.columns) >= {"case", "organ", "dice", "hd95", "volume_ml"}
    assert frame["case"].nunique() == 4
    scored = frame.dropna(subset="dice")
    assert (scored["dice"] == 1).all()
    assert (scored["hd95"] == 0).all()
    assert result.folder is None
    assert result.evaluation.summary()["mean"]["dice"] == 1


def test_importing_medups_imports_nothing_heavy():
    """``import medups`` in a notebook or a shell completion must not wait for torch."""
    code = "import sys, medups; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "numpy", "monai", "hydra", "nibabel"}.isdisjoint(modules)
    assert set(medups.__all__) <= set(dir(medups))
    with pytest.raises(AttributeError, match="no attribute 'predikt'"):
        medups.predikt  # noqa: B018


@pytest.mark.parametrize("workflow", ["evaluate", "compare", "qc", "report"])
def test_scoring_starts_without_torch(workflow):
    """It takes most of the time that these commands need to start."""
    code = f"import sys, medups.workflows.{workflow}; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "monai"}.isdisjoint(modules)
