"""Fitting a network: the trainer and its parts, and the voxel-wise baseline."""
