"""The bottleneck of a recipe on this machine: data preparation or the network."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch

from medups.data.dataset import open_dataset
from medups.data.sampling import SampleStream
from medups.progress import Progress, SilentProgress
from medups.settings.schema import Settings
from medups.tasks.task import Batch
from medups.training.batches import BatchShareSampler, batches
from medups.training.distributed import launch, make_fabric
from medups.training.objective import objective
from medups.training.plan import Plan
from medups.workflows.setup import plan_of, set_up_run

_STEPS = 8


def profile(settings: Settings, progress: Progress | None = None) -> dict[str, float]:
    """Measure samples per second of the configured run; only the cache is written.

    Returns:
        Rates by name: ``data`` of the data workers alone, ``network`` of the network on one repeated batch, and
        ``training`` of both.
    """
    progress = progress or SilentProgress()
    training = settings.training
    fabric = make_fabric(training.accelerator, training.devices, training.num_nodes, training.precision)
    launch(fabric)
    run = set_up_run(settings, open_dataset(settings.data), progress)
    plan = plan_of(training, len(run.samples.source))
    workers = max(1, plan.workers)
    steps = max(_STEPS, 4 * workers)
    prefetched = 2 * workers  # batches that are ready when timing starts
    length = (prefetched + steps + 1) * plan.batch_size
    stream = SampleStream(run.samples.source, run.samples.transform, run.task, settings.seed, length)
    loss = objective(run.loss)
    network, optimizer = fabric.setup(run.model.network.train(), run.optimizer)

    def loader() -> Generator[Batch, None, None]:
        passes, size = range(length // plan.batch_size * plan.accumulate), plan.batch_size // plan.accumulate
        sampler = BatchShareSampler(passes, size, 1, fabric.global_rank, fabric.world_size)
        return batches(fabric, stream, sampler, plan.workers)

    def step(next_batch: Callable[[], Batch]) -> None:
        optimizer.zero_grad(set_to_none=True)
        for _ in range(plan.accumulate):
            batch = next_batch()
            fabric.backward(loss(network(run.task.network_input(batch)), run.task.target(batch)) / plan.accumulate)
        optimizer.step()
        if fabric.device.type == "cuda":
            torch.cuda.synchronize(fabric.device)

    stopwatch = _Stopwatch(plan, progress)
    data, training_data = loader(), loader()
    rates = {
        "data": stopwatch.rate(lambda: [next(data) for _ in range(plan.accumulate)], "data alone", prefetched, steps)
    }
    batch = next(data)
    data.close()
    rates["network"] = stopwatch.rate(lambda: step(lambda: batch), "network alone", 1, _STEPS)
    # the workers of this loader start only now, so no prefetched batches count
    rates["training"] = stopwatch.rate(lambda: step(lambda: next(training_data)), "both", 1, max(_STEPS, 2 * workers))
    return rates


@dataclass(frozen=True)
class _Stopwatch:
    plan: Plan
    progress: Progress

    def rate(self, work: Callable[[], object], title: str, warm_up: int, count: int) -> float:
        """Samples per second of ``work``, which processes one batch."""
        for _ in range(warm_up):
            work()
        start = time.perf_counter()
        for _ in self.progress.track(range(count), title, count):
            work()
        return count * self.plan.batch_size / (time.perf_counter() - start)
