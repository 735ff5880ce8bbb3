"""``medups <command>``: reads arguments, calls one function; exit codes 0 done, 1 failed, 2 wrong input."""
