#!/usr/bin/env bash
# Run all checks on a fresh machine: lint, types, import contract, tests. --full adds the long matrices.
set -euo pipefail
full=false
if [ "${1:-}" = --full ]; then
    full=true
    shift
fi
source "$(dirname "$0")/environment.sh"

export OMP_NUM_THREADS=1 # one core for each of the two workers; more threads would compete for the same cores

ruff check .
ruff format --check .
mypy
lint-imports
if $full; then
    pytest -n 2 "$@"
else
    pytest -n 2 -m "not full" "$@"
fi
