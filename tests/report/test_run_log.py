"""The log of a run."""

from __future__ import annotations

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from medups.report.run_log import open_run_log


def test_repeated_steps_are_shown_once(tmp_path):
    """A run killed after step 5 resumes from the checkpoint of step 3."""
    for done, last, value in ((0, 5, 1.0), (3, 6, 2.0)):
        with open_run_log(tmp_path, print, True, done) as run_log:
            for step in range(done + 1, last + 1):
                run_log.scalars("train", {"loss": value}, step)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(n, 1 + (n > 3)) for n in range(1, 7)]
