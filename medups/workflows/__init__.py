"""What each command does, callable from Python: no terminal, typed arguments and results. One file per command."""
