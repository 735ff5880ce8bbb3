"""What limits a recipe on this machine: making samples, or the network's steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from typing import Any

import torch

from medups.bundle.records import Display
from medups.bundle.train import make_plan, prepare
from medups.data.dataset import open_dataset
from medups.data.sampling import SampleStream
from medups.training.batches import Batch, batches
from medups.training.objective import objective
from medups.training.ranks import Order, make_fabric

_STEPS = 8


def profile_run(config: Mapping[str, Any], display: Display) -> dict[str, float]:
    """Samples per second of the configured run: of its data workers alone (``data``), of the network on one batch again
    and again (``network``), and of both together (``training``). Nothing is written but the cache."""
    fabric = make_fabric(config["training"])
    fabric.launch()
    run = prepare(config, open_dataset(config["data"]), display)
    plan = make_plan(config["training"], len(run.source))
    workers = max(1, plan.workers)
    ahead, steps = 2 * workers, max(_STEPS, 4 * workers)  # so many batches lie ready when the clock starts
    length = (ahead + steps + 1) * plan.batch_size
    stream = SampleStream(run.source, run.transform, int(config["seed"]), length)
    loss = objective(run.loss)
    network, optimizer = fabric.setup(run.model.network.train(), run.optimizer)

    def loader() -> Generator[Batch, None, None]:
        parts, size = range(length // plan.batch_size * plan.accumulate), plan.batch_size // plan.accumulate
        return batches(fabric, stream, Order(parts, size, 1, fabric.global_rank, fabric.world_size), plan.workers)

    def step(take: Callable[[], Batch]) -> None:
        optimizer.zero_grad(set_to_none=True)
        for _ in range(plan.accumulate):
            batch = take()
            fabric.backward(loss(network(batch["image"]), batch["label"]) / plan.accumulate)
        optimizer.step()
        if fabric.device.type == "cuda":
            torch.cuda.synchronize(fabric.device)

    def rate(work: Callable[[], object], what: str, warm: int, count: int) -> float:
        for _ in range(warm):
            work()
        began = time.perf_counter()
        for _ in display.track(range(count), what, count):
            work()
        return count * plan.batch_size / (time.perf_counter() - began)

    alone, together = loader(), loader()
    rates = {"data": rate(lambda: [next(alone) for _ in range(plan.accumulate)], "data alone", ahead, steps)}
    one = next(alone)
    alone.close()
    rates["network"] = rate(lambda: step(lambda: one), "network alone", 1, _STEPS)
    # its workers start with it, or what they made before would count as made in time
    rates["training"] = rate(lambda: step(lambda: next(together)), "both", 1, max(_STEPS, 2 * workers))
    return rates
