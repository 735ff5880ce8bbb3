#!/usr/bin/env bash
# Build the source archive and the wheel, install the wheel into an empty environment, and run a small job from outside
# the checkout: phantoms, training, prediction, evaluation. Then look for known vulnerabilities, if their list is at hand.
#   scripts/trust/package.sh [FOLDER; default: a new temporary one]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
work="${1:-$(mktemp -d)}"
mkdir -p "$work"
constraints="$PWD/constraints.txt"

step() { printf '\n== %s\n' "$*"; }

step "Build"
python3 -m venv --clear "$work/build"
"$work/build/bin/pip" install --quiet --disable-pip-version-check hatchling
rm -rf "$work/dist"
"$work/build/bin/python" -m hatchling build -d "$work/dist"
"$work/build/bin/pip" wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
    -w "$work/from-source" "$work"/dist/medups-*.tar.gz
"$work/build/bin/python" - "$work" <<'PYTHON'
import sys
import zipfile
from pathlib import Path

work = Path(sys.argv[1])
direct, from_source = (next((work / name).glob("*.whl")) for name in ("dist", "from-source"))
names = [set(zipfile.ZipFile(path).namelist()) for path in (direct, from_source)]
assert names[0] == names[1], f"the archives differ: {sorted(names[0] ^ names[1])}"
for needed in ("medups/py.typed", "medups/configs/train.yaml"):
    assert needed in names[0], f"{needed} is missing in the wheel"
print(f"{direct.name}: {len(names[0])} files, the same from the source archive")
PYTHON

step "Install into an empty environment"
python3 -m venv --clear "$work/environment"
pip="$work/environment/bin/pip"
"$pip" install --quiet --disable-pip-version-check --constraint "$constraints" torch
"$pip" install --quiet --disable-pip-version-check --constraint "$constraints" "$work"/dist/medups-*.whl
export PATH="$work/environment/bin:$PATH"

step "A small job from outside the checkout"
mkdir -p "$work/job"
cd "$work/job"
medups phantom data --cases 4 --size 64 --slices 8
medups train data=phantom data.root=data data.cache=cache "data.split.train=['0001','0002']" "data.split.val=['0003']" \
    "data.split.test=['0004']" network=transunet_tiny network.size=64 training=quick training.steps=4 \
    training.batch_size=2 training.validations=1 training.workers=0 output=run
medups predict --model run/bundle --input data/img --cases test --output masks
medups evaluate --pred masks --label data/label --label-labels btcv13 --output scores

step "Known vulnerabilities"
"$work/build/bin/pip" install --quiet --disable-pip-version-check pip-audit
"$work/build/bin/python" -m pip_audit --no-deps --disable-pip -r "$constraints" --progress-spinner off >"$work/audit.txt" 2>&1 &&
    audited=true || audited=false
if grep -q "could not be audited\|ConnectionError\|Failed to connect\|Max retries" "$work/audit.txt"; then
    echo "pip-audit could not reach the list of vulnerabilities for all packages: not checked"
elif ! $audited; then
    cat "$work/audit.txt" >&2
    exit 1
else
    echo "none"
fi
