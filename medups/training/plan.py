"""How long a run trains, and its learning rate at each step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Schedule = Literal["poly", "cosine"]


@dataclass(frozen=True)
class Plan:
    """The length of a run and its intervals, counted in optimizer steps.

    Args:
        batch_size: of all processes together.
        schedule: of the learning rate after its warm-up: ``poly`` with ``poly_power``, or ``cosine``.
        accumulate: parts that a batch is processed in, one after another, to save memory; the samples stay the same.
        ema_decay: validate and keep a running mean of the weights, of which each step keeps this share; None
            validates and keeps the weights themselves.
        patience: stop after this many validations without a better score; None never stops early.
        save_seconds: at most this much work is lost by an interruption.
    """

    steps: int
    batch_size: int
    validate_every: int
    poly_power: float
    schedule: Schedule = "poly"
    warmup_steps: int = 0
    accumulate: int = 1
    workers: int = 0
    clip_norm: float | None = None
    ema_decay: float | None = None
    patience: int | None = None
    save_seconds: float = 120


def rate_at(step: int, plan: Plan) -> float:
    """Share of the base learning rate at ``step``: linear warm-up, then the schedule down to 0 over the rest."""
    if step < plan.warmup_steps:
        return (step + 1) / plan.warmup_steps
    progress = min(1.0, (step - plan.warmup_steps) / max(1, plan.steps - plan.warmup_steps))
    if plan.schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    return (1 - progress) ** plan.poly_power
