"""Helpers for tests of commands."""

from __future__ import annotations

from medups.cli.main import main

TINY = [
    "data=phantom", "data.split.train=['0001','0002']", "data.split.val=['0003']", "data.split.test=['0004']",
    "network=transunet_tiny", "network.size=64", "network.module.image_skip=false",
    "training=quick", "training.steps=6", "training.batch_size=4",
    "training.validations=2", "upsampler.options.embed_channels=8",
]  # fmt: skip


def medups(*arguments):
    """Run a command; returns its exit code."""
    return main([str(argument) for argument in arguments])
