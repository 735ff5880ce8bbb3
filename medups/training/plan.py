"""The length of a training run, and its learning rate at each step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Schedule = Literal["poly", "cosine", "steps"]


@dataclass(frozen=True)
class Plan:
    """The length of a run and its intervals, counted in optimizer steps.

    Args:
        batch_size: of all processes together.
        schedule: of the learning rate after its warm-up: ``poly`` with ``poly_power``, ``cosine``, or ``steps``,
            which divides it by 10 after each of the ``milestones``, fractions of the run.
        accumulate: sequential parts of each batch (gradient accumulation), to save memory; the samples stay the same.
        ema_decay: decay of the moving average of the weights that is validated and saved; None validates and saves the
            weights themselves.
        patience: stop after this many validations without a better score; None never stops early.
        save_seconds: longest time between checkpoints, and thus the most work that an interruption loses.
    """

    steps: int
    batch_size: int
    validate_every: int
    poly_power: float
    schedule: Schedule = "poly"
    milestones: tuple[float, ...] = ()
    warmup_steps: int = 0
    accumulate: int = 1
    workers: int = 0
    clip_norm: float | None = None
    ema_decay: float | None = None
    patience: int | None = None
    save_seconds: float = 120


def rate_at(step: int, plan: Plan) -> float:
    """Fraction of the base learning rate at ``step``: linear warm-up, then the schedule over the rest."""
    if step < plan.warmup_steps:
        return (step + 1) / plan.warmup_steps
    if plan.schedule == "steps":
        return 0.1 ** sum(step >= milestone * plan.steps for milestone in plan.milestones)
    progress = min(1.0, (step - plan.warmup_steps) / max(1, plan.steps - plan.warmup_steps))
    if plan.schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    return (1 - progress) ** plan.poly_power
