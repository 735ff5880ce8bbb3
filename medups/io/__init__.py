"""Atomic file writing, checkpoints, and the shipped configuration."""
