"""The cache of canonical cases."""

from __future__ import annotations

import os
import shutil
import stat
import time

import nibabel as nib
import numpy as np
import pytest

from medups.data.cache import cached, entries
from medups.data.parallel import in_parallel
from medups.errors import InputError
from tests.data.phantom_cases import BTCV, SYNAPSE, synapse_cases


def test_cache_holds_the_canonical_case(phantoms, case):
    """Compared with an independent reading by nibabel: canonical axes, Synapse ids."""
    image = nib.load(phantoms / "img" / "img0001.nii.gz")
    label = nib.load(phantoms / "label" / "label0001.nii.gz")
    turned = nib.as_closest_canonical(image)  # RAS
    expected = np.asanyarray(turned.dataobj)[::-1, ::-1].transpose(2, 1, 0)
    np.testing.assert_array_equal(case.image, expected)
    raw = np.asanyarray(nib.as_closest_canonical(label).dataobj)[::-1, ::-1].transpose(2, 1, 0)
    np.testing.assert_array_equal(case.label[:] == SYNAPSE.id_of("liver"), raw == BTCV.id_of("liver"))
    assert case.spacing == pytest.approx(nib.affines.voxel_sizes(turned.affine)[::-1])
    assert (case.label[:][tuple(case.foreground.T)] > 0).all()


def test_a_replaced_file_invalidates_its_entry(phantoms, tmp_path):
    shutil.copytree(phantoms, tmp_path / "data")
    first = cached(synapse_cases(tmp_path / "data")["0001"], tmp_path / "cache", BTCV, SYNAPSE)
    for kind in ("img", "label"):
        shutil.copy(tmp_path / "data" / kind / f"{kind}0002.nii.gz", tmp_path / "data" / kind / f"{kind}0001.nii.gz")
    second = cached(synapse_cases(tmp_path / "data")["0001"], tmp_path / "cache", BTCV, SYNAPSE)
    assert not np.array_equal(first.image[:], second.image[:])


def test_an_entry_is_readable_by_other_users(tmp_path, monkeypatch):
    """The entry gets the user's default permissions; temporary folders are private."""
    monkeypatch.setattr(entries, "UMASK", 0o022)
    entries.open_entry(tmp_path / "cache" / "entry", lambda staging: {"made": True})
    assert stat.S_IMODE((tmp_path / "cache" / "entry").stat().st_mode) == 0o755


def test_an_entry_removed_by_another_process(tmp_path, monkeypatch):
    """Both processes found the entry damaged; the other one removes the rebuilt entry."""
    move, attempts = entries._move, []

    def move_and_lose(staging, entry):
        move(staging, entry)
        if len(attempts) == 1:
            shutil.rmtree(entry)

    def make(staging):
        attempts.append(staging)
        return {"attempt": len(attempts)}

    monkeypatch.setattr(entries, "_move", move_and_lose)
    assert entries.open_entry(tmp_path / "entry", make)["attempt"] == 2


@pytest.mark.parametrize("damage", ["a flipped byte", "a cut file", "a lost file", "a lost table"])
def test_a_damaged_entry_is_rebuilt(phantoms, tmp_path, damage):
    def read():
        return cached(synapse_cases(phantoms)["0001"], tmp_path, BTCV, SYNAPSE)

    expected = [read().image[:], read().label[:]]
    (entry,) = tmp_path.iterdir()
    image = entry / "image.b2nd"
    content = bytearray(image.read_bytes())
    if damage == "a flipped byte":
        content[len(content) // 2] ^= 1
        image.write_bytes(content)
    elif damage == "a cut file":
        image.write_bytes(content[:-100])
    else:
        (image if damage == "a lost file" else entry / "about.json").unlink()
    np.testing.assert_array_equal(read().image, expected[0])
    np.testing.assert_array_equal(read().label, expected[1])
    assert list(tmp_path.iterdir()) == [entry]


def test_different_settings_do_not_share_an_entry(phantoms, tmp_path):
    case = synapse_cases(phantoms)["0001"]
    fine = cached(case, tmp_path, BTCV, SYNAPSE)
    coarse = cached(case, tmp_path, BTCV, SYNAPSE, spacing=[2 * mm for mm in fine.spacing])
    assert coarse.image.shape == tuple(n // 2 for n in fine.image.shape)
    assert cached(case, tmp_path, BTCV, SYNAPSE).image.shape == fine.image.shape


def test_concurrent_builds_of_one_cache(phantoms, tmp_path):
    """Threads share the folder here, as processes would."""
    cases = list(synapse_cases(phantoms).values()) * 4
    built = list(in_parallel(lambda case: cached(case, tmp_path, BTCV, SYNAPSE), cases))
    assert [case.name for case in built] == [case.name for case in cases]
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(("hours", "stays"), [(2, False), (0, True)])
def test_old_leftovers_of_a_killed_process_are_removed(phantoms, tmp_path, hours, stays):
    """Recent ones may belong to a running process."""

    def read():
        return cached(synapse_cases(phantoms)["0001"], tmp_path, BTCV, SYNAPSE)

    read()
    (entry,) = tmp_path.iterdir()
    leftover = tmp_path / f".{entry.name}-a1b2c3d4"
    entry.rename(leftover)
    modified = time.time() - 3600 * hours
    os.utime(leftover, (modified, modified))
    read()
    assert leftover.exists() == stays
    assert entry.exists()


def test_parallel_work_stops_at_an_error():
    started = []

    def work(n):
        started.append(n)
        if n == 3:
            raise InputError("three")
        return n

    with pytest.raises(InputError, match="three"):
        list(in_parallel(work, range(1000)))
    assert len(started) < 20
