#!/usr/bin/env bash
# All checks from a fresh machine: lint, types, import contract, tests. --full adds the long matrices.
set -euo pipefail
full=false
if [ "${1:-}" = --full ]; then
    full=true
    shift
fi
source "$(dirname "$0")/environment.sh"

export OMP_NUM_THREADS=1 # a core for each of two workers: threads of both on the same cores wait for each other

ruff check .
ruff format --check .
mypy
lint-imports
if $full; then
    pytest -n 2 "$@"
else
    pytest -n 2 -m "not full" "$@"
fi
