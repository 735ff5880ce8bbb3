"""Read changed files in processes of their own, with limits on time and memory, and note everything forbidden."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medups.errors import InputError
from tests.fuzz.mutations import CANARY, mutate
from tests.fuzz.readers import READERS
from tests.fuzz.seeds import SEEDS

SECONDS = 10.0  # for one file
MEMORY = 1.5 * 2**30  # bytes beyond what the process has before
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "os.fork")
_CHUNK = 200


class _HangError(BaseException):
    """Reading took too long; no reader may catch it."""


@dataclass(frozen=True)
class Outcome:
    """One changed file.

    Args:
        number: the try; with the format it determines the file.
        kind: ``read``, ``refused``, or what is wrong.
        detail: of what is wrong.
    """

    format: str
    number: int
    kind: str
    detail: str = ""

    @property
    def wrong(self) -> bool:
        return self.kind not in ("read", "refused")


def run(format_name: str, first: int, last: int) -> Iterator[Outcome]:
    """The outcomes of the tries from ``first`` to ``last`` - 1."""
    context = multiprocessing.get_context("fork")
    while first < last:
        end = min(last, first + _CHUNK)
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(format_name, first, end, sender))
        process.start()
        sender.close()
        done = first
        try:
            while done < end and receiver.poll(3 * SECONDS):
                yield receiver.recv()
                done += 1
        except EOFError:
            pass
        if done < end:  # the process crashed, or hangs in compiled code
            hangs = process.is_alive()
            process.kill()
            yield Outcome(format_name, done, "hang" if hangs else "crash", f"exit code {process.exitcode}")
            done += 1
        process.join()
        first = done


def _work(format_name: str, first: int, last: int, sender: Any) -> None:
    warnings.simplefilter("ignore")
    seen: list[str] = []
    allowed: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        seeds = Path(scratch) / "seeds"
        seeds.mkdir()
        SEEDS[format_name](seeds)
        files = sorted(path for path in seeds.rglob("*") if path.is_file())
        with contextlib.suppress(InputError):
            READERS[format_name](files[0])  # imports everything before memory is measured
        sys.addaudithook(lambda event, arguments: _audit(event, arguments, seen, allowed))
        gc.freeze()  # what was imported is not searched again after each try
        limit = _virtual() + int(MEMORY)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        signal.signal(signal.SIGALRM, _alarm)
        for number in range(first, last):
            place = Path(scratch) / "try"
            allowed[:] = [str(scratch)]
            sender.send(_try(format_name, number, seeds, files, place, seen))
            shutil.rmtree(place, ignore_errors=True)


def changed(format_name: str, number: int, seeds: Path, files: list[Path], place: Path) -> Path:
    """Write the files of a try into ``place``; returns the changed one."""
    rng = np.random.default_rng([number, *format_name.encode()])
    shutil.copytree(seeds, place)
    chosen = place / files[int(rng.integers(0, len(files)))].relative_to(seeds)
    content = mutate(chosen, rng)
    if content is None:
        chosen.unlink()
    else:
        chosen.write_bytes(content)
    return chosen


def _try(format_name: str, number: int, seeds: Path, files: list[Path], place: Path, seen: list[str]) -> Outcome:
    chosen = changed(format_name, number, seeds, files, place)
    before = set(place.rglob("*"))
    os.chdir(place)
    seen.clear()
    kind, detail = "read", ""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        READERS[format_name](chosen)
    except InputError:
        kind = "refused"
    except _HangError:
        kind = "hang"
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        kind, detail = type(error).__name__, f"{str(error)[:150]} ({Path(last.filename).name}:{last.lineno})"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    gc.collect()
    os.chdir("/")
    after = set(place.rglob("*"))
    if seen:
        kind, detail = "forbidden", "; ".join(seen[:3])
    elif after != before or list(place.parent.rglob(CANARY)):
        kind, detail = "file written", str(sorted(map(str, after ^ before))[:3])
    return Outcome(format_name, number, kind, f"{chosen.name}: {detail}" if detail else "")


def _audit(event: str, arguments: tuple[Any, ...], seen: list[str], allowed: list[str]) -> None:
    if event in _FORBIDDEN:
        seen.append(event)
    if event == "open" and allowed:
        path, mode, flags = arguments
        writes = any(letter in str(mode or "") for letter in "wax+") or (
            isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
        )
        inside = not isinstance(path, str) or any(str(Path(path).absolute()).startswith(one) for one in allowed)
        if writes and not inside and path != os.devnull:
            seen.append(f"writes {path}")


def _alarm(*_: object) -> None:
    raise _HangError


def _virtual() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
