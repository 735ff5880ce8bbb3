"""Files that appear whole or not at all, checkpoints, and the shipped configuration."""
