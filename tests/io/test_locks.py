"""Locks between processes, and temporary files of processes that still write."""

from __future__ import annotations

import multiprocessing
import time

import pytest

from medups.errors import InputError
from medups.io.files import atomic_file, remove_abandoned
from medups.io.locks import only_process

processes = multiprocessing.get_context("fork")


def hold(folder, ready):
    with only_process(folder, "a training run"):
        ready.set()
        time.sleep(60)


def write(path, ready):
    with atomic_file(path) as file:
        file.write(b"half")
        file.flush()
        ready.set()
        time.sleep(60)


@pytest.fixture
def started():
    """Start a function with an event at its end, and wait for the event."""
    running = []

    def start(function, argument):
        ready = processes.Event()
        running.append(processes.Process(target=function, args=(argument, ready)))
        running[-1].start()
        assert ready.wait(20)
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.join()


def test_one_process_at_a_time(tmp_path, started):
    """The second is refused; a killed process leaves nothing to clean up."""
    first = started(hold, tmp_path / "run")
    refused = pytest.raises(InputError, match="run: a training run is running there; wait until it ends")
    with refused, only_process(tmp_path / "run", "a training run"):
        pass
    first.kill()
    first.join()
    with only_process(tmp_path / "run", "a training run"):
        pass
    with only_process(tmp_path / "run", "a training run"):  # and the lock ends with the block
        pass


def test_workers_do_not_keep_the_lock(tmp_path):
    """A data worker that was forked under the lock lives on, because a notebook keeps the failed run."""
    go_on = processes.Event()
    worker = processes.Process(target=go_on.wait, args=(60,))
    (tmp_path / "file").touch()
    with only_process(tmp_path, "a training run"):
        worker.start()
    with only_process(tmp_path, "a training run"):
        pass
    go_on.set()
    worker.join()


def test_a_folder_in_which_nothing_was_written_is_removed(tmp_path):
    with only_process(tmp_path / "run", "a training run"):
        pass
    assert not (tmp_path / "run").exists()


def test_a_file_system_without_locks_grants_them(tmp_path, monkeypatch):
    def refuse(handle, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with only_process(tmp_path, "a training run"), only_process(tmp_path, "a training run"):
        pass


def test_a_clock_that_jumps_removes_no_file_in_work(tmp_path, monkeypatch, started):
    """Temporary files of killed processes are removed after an hour by the clock, those of running ones never."""
    writer = started(write, tmp_path / "mask.nii.gz")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    remove_abandoned(tmp_path, ".mask.nii.gz.", ".part")
    partial = list(tmp_path.iterdir())
    assert [path.read_bytes() for path in partial] == [b"half"]
    writer.kill()
    writer.join()
    monkeypatch.setattr(time, "time", lambda: now - 1e6)  # the clock jumped back: it may be new
    remove_abandoned(tmp_path, ".mask.nii.gz.", ".part")
    assert list(tmp_path.iterdir()) == partial
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    remove_abandoned(tmp_path, ".mask.nii.gz.", ".part")
    assert list(tmp_path.iterdir()) == []
