"""The loop over the inputs of a prediction: what is done, what is kept, and what failed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from medups.bundle.model import Model
from medups.errors import InputError
from medups.io.files import file_states, require_unchanged
from medups.metrics.organs import OrganFacts
from medups.progress import Progress
from medups.workflows.jobs import Job, Jobs
from medups.workflows.options import PredictOptions
from medups.workflows.records import finished, scan_files, scan_state, write_failure, write_record, write_summary
from medups.workflows.shares import Shares
from medups.workflows.stages import in_stages

_SHOWN = 8  # failures in the last message
_HOST_ALLOCATOR = "DefaultCPUAllocator"  # in torch's error when the host has no memory left
_READ_AHEAD = 2**27  # bytes on disk; larger scans are read when the one before is done


@dataclass(frozen=True)
class Written:
    """The files of a case, the seconds that it took, and what else its record says."""

    files: list[Path]
    seconds: float
    warnings: Sequence[str] = ()
    organs: Mapping[str, OrganFacts] = field(default_factory=dict)


@dataclass(frozen=True)
class _Staged:
    """A scan or what was made of it, and the state of its files when it was read."""

    state: Mapping[str, Any]
    content: Any


@dataclass
class PredictionRun(ABC):
    """Jobs with the same model and options, in three stages that run beside each other."""

    model: Model
    device: torch.device
    options: PredictOptions
    settings: dict[str, Any]
    progress: Progress
    shares: Shares
    folder: Path | None

    def predict_all(self, listed: Jobs, skip_existing: bool) -> None:
        """Run what is not finished. Raises InputError that lists what failed, after all others are done."""
        total = len(listed.jobs) + len(listed.problems)
        if self.shares.rank == 0:
            for note in listed.set_aside:
                self.progress.log(f"set aside: {note}")
            for problem in listed.problems:
                self.progress.log(f"failed: {problem}")
        kept: list[Job] = []
        failed: list[tuple[Job, str]] = []

        def pending() -> Iterator[Job]:
            for job in self.progress.track(self.shares.of(listed.jobs), "scans", len(listed.jobs)):
                if self._is_done(job, skip_existing):
                    kept.append(job)
                else:
                    yield job

        for job, error in in_stages(pending(), (self._read, self._segment, self._write), ahead=is_small):
            if error is not None:
                failed.append((job, str(error)))
                if total > 1:
                    self.progress.log(f"failed: {error}")
        if kept:
            self.progress.log(f"kept {len(kept)} existing mask{'s' if len(kept) > 1 else ''}")
        self.finish(listed, failed)
        problems = [*listed.problems, *(error for _, error in failed)]
        if problems:
            count = f"{len(problems)} of {total} scans failed, the others are done: " if total > len(problems) else ""
            rest = f"; and {len(problems) - _SHOWN} more, listed above" if len(problems) > _SHOWN else ""
            raise InputError(count + "; ".join(problems[:_SHOWN]) + rest)

    def finish(self, listed: Jobs, failed: list[tuple[Job, str]]) -> None:
        """Record failures, and summarize the folder when all processes are done."""
        if self.folder is not None and self.folder.is_dir():
            for job, reason in failed:
                write_failure(self.folder, job.scan, reason)
        self.shares.wait("scans done")
        if self.folder is not None and self.folder.is_dir() and self.shares.rank == 0:
            self.summarize(self.folder, listed)
        self.shares.wait("summary written")

    def _is_done(self, job: Job, skip_existing: bool) -> bool:
        if skip_existing and all(file.exists() for file in job.files.values()):
            return True
        return self.folder is not None and finished(self.folder, job.scan, self.settings) is not None

    def _read(self, job: Job) -> _Staged:
        state, files = scan_state(job.scan), scan_files(job.scan)
        before = file_states(files)
        with self._reported(job):
            scan = self.read(job)
        require_unchanged(files, before)
        return _Staged(state, scan)

    def _segment(self, job: Job, done: _Staged) -> _Staged:
        with self._reported(job):
            return _Staged(done.state, self.segment(job, done.content))

    def _write(self, job: Job, done: _Staged) -> None:
        with self._reported(job):
            written = self.write(job, done.content)
        if self.folder is not None:
            about = written.files, written.seconds, list(written.warnings), written.organs
            write_record(self.folder, job.scan, done.state, self.settings, *about)
        if job.mask in written.files:
            self.progress.log(str(job.mask))

    @contextmanager
    def _reported(self, job: Job) -> Iterator[None]:
        """Report a scan that does not fit into memory, so that the others are still predicted."""
        try:
            yield
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            on_host = isinstance(error, MemoryError) or _HOST_ALLOCATOR in str(error)
            if not on_host and not isinstance(error, torch.OutOfMemoryError):
                raise
            where, advice = str(self.device), "predict it with --device cpu"
            if on_host or self.device.type == "cpu":
                where, advice = "this machine", "use one with more"
            raise InputError(f"{job.scan.path}: needs more memory than {where} has; {advice}") from error

    def summarize(self, folder: Path, listed: Jobs) -> None:
        """Write what describes the folder as a whole; only one process does."""
        write_summary(folder, [job.scan.name for job in listed.jobs], listed.problems)

    @abstractmethod
    def read(self, job: Job) -> Any:
        """Read the input of a job. Raises InputError."""

    @abstractmethod
    def segment(self, job: Job, scan: Any) -> Any:
        """The prediction for what :meth:`read` returned. Raises InputError."""

    @abstractmethod
    def write(self, job: Job, done: Any) -> Written:
        """Write what :meth:`segment` returned."""


def is_small(job: Job) -> bool:
    """Whether a scan may be read while another one is segmented."""
    return scan_state(job.scan)["bytes"] < _READ_AHEAD
