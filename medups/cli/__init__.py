"""The command line: one file per command, for arguments, exit codes and progress on a terminal."""
