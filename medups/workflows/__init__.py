"""The commands as Python functions with typed arguments and results, without a terminal. One file per command."""
