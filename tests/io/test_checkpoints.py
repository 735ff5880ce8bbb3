"""Checkpoints are written atomically."""

from __future__ import annotations

import os
import resource
import time

import pytest
import torch

from medups.errors import InputError
from medups.io.checkpoints import CheckpointError, load_checkpoint, save_checkpoint


def test_a_disk_that_fills_up_during_a_write(tmp_path):
    """torch then fails to close the file, and its error does not mention the disk."""
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(
            CheckpointError, match=r"last.pt: cannot be written \(File too large\); the previous checkpoint"
        ):
            save_checkpoint(path, {"step": torch.zeros(200_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_checkpoint(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_checkpoints_are_reported(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})
    intact = path.read_bytes()
    path.write_bytes(intact[:-20])
    with pytest.raises(InputError, match="damaged file or another kind"):
        load_checkpoint(path)
    save_checkpoint(path, {"weights": torch.arange(100.0)})
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(100.0).numpy().tobytes()) + 50] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged file or another kind \(member .* fails its checksum\)"):
        load_checkpoint(path)


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(path, {"step": lambda: 2})
    assert load_checkpoint(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_partial_checkpoints_of_a_killed_process_are_removed(tmp_path):
    """The user's files with similar names stay, and so do recent files, which another process may be writing."""
    hour_ago = time.time() - 3600
    for name in (".last.pt.a1b2c3d4.part", ".last.pt.mine.part", ".last.pt.old"):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (hour_ago, hour_ago))
    (tmp_path / ".last.pt.e5f6a7b8.part").write_bytes(b"half")
    save_checkpoint(tmp_path / "last.pt", {"step": 1})
    remaining = sorted(p.name for p in tmp_path.iterdir())
    assert remaining == [".last.pt.e5f6a7b8.part", ".last.pt.mine.part", ".last.pt.old", "last.pt"]
