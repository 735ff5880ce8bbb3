"""Report of the steps that a swap replaced or kept."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Swapped:
    """A step with a new upsampler. Parameter counts are those of the replaced modules and of the new ones."""

    path: str
    old: str
    new: str
    ratio: tuple[float, ...]
    channels: int
    guide_channels: int | None
    old_parameters: int
    new_parameters: int

    def __str__(self) -> str:
        ratio = " x ".join(f"{r:g}" for r in self.ratio)
        guide = f"guided by {self.guide_channels}" if self.guide_channels else "unguided"
        parameters = f"parameters {self.old_parameters:,} -> {self.new_parameters:,}"
        return f"{self.path}: {self.old} -> {self.new}, ratio {ratio}, {self.channels} channels, {guide}; {parameters}"


@dataclass(frozen=True)
class Kept:
    """A step that was not changed, and why."""

    path: str
    old: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.old} kept because {self.why}"


@dataclass(frozen=True)
class SwapReport:
    """All upsampling steps that were found; ``print`` shows one line for each."""

    swapped: list[Swapped] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(map(str, (*self.swapped, *self.kept)))
