# Sourced by the other scripts: creates .venv with python3 and pip, or reuses it if nothing changed.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
    for name in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    echo "medups needs Python 3.11 to 3.13; found $(python3 --version 2>&1). Set PYTHON to a suitable interpreter." >&2
    exit 2
}

stamp=$(cat pyproject.toml constraints.txt scripts/environment.sh | cksum)
if [ "$(cat .venv/medups-stamp 2>/dev/null)" != "$stamp" ]; then
    echo "Setting up .venv (a few minutes the first time) ..."
    python=$(find_python) || exit 2
    rm -rf .venv
    "$python" -m venv .venv
    # torch first, so that no other package pulls in another build of it
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
    echo "$stamp" >.venv/medups-stamp
fi
export PATH="$PWD/.venv/bin:$PATH"
