"""The kernels themselves; constants of a kernel are written as constants."""
