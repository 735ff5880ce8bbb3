#!/usr/bin/env bash
# Run tests with the oldest or the newest versions that pyproject.toml allows, in an environment of its own.
#   scripts/trust/versions.sh oldest|newest [pytest arguments; default: the quick tests]
# torch keeps the version of constraints.txt, whose CPU build every index has; TORCH=2.10.0 chooses another one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
which="${1:?oldest or newest}"
shift
environment="${VERSIONS_FOLDER:-${TMPDIR:-/tmp}}/medups-$which"
torch="${TORCH:-$(sed -n 's/^torch==//p' constraints.txt)}"

python3 -m venv --clear "$environment"
python="$environment/bin/python"
"$python" -m pip install --quiet --disable-pip-version-check "torch==$torch"
packages=()
while IFS= read -r line; do packages+=("$line"); done < <("$python" - "$which" <<'PYTHON'
import re
import sys
import tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
extras = project["optional-dependencies"]
names = ("bundle", "onnx", "dicom", "preprocessed", "natural")
for requirement in [*project["dependencies"], *(item for name in names for item in extras[name])]:
    name, bound = re.match(r"([\w-]+)(?:>=([\d.]+))?", requirement).groups()
    if name != "torch":
        oldest = f"{name}~={bound}{'.0' * (2 - bound.count('.'))}" if bound else requirement
        print(oldest if sys.argv[1] == "oldest" else requirement)
PYTHON
)
"$python" -m pip install --quiet --disable-pip-version-check "torch==$torch" "${packages[@]}" \
    hypothesis pandas pytest pytest-xdist segmentation-models-pytorch torchmetrics
"$python" -m pip list --disable-pip-version-check 2>/dev/null |
    grep -iE '^(torch|monai|numpy|scipy|nibabel|simpleitk|pydicom|hydra-core|matplotlib|lightning-fabric|blosc2|tensorboard) '
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --editable .
export OMP_NUM_THREADS=1
[ $# -gt 0 ] || set -- tests
"$python" -m pytest -q -n 2 -m "not full" "$@"
