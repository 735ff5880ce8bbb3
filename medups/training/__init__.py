"""Fitting: the loop, its checkpoints, and the voxel-wise baseline."""
