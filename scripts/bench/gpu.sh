#!/usr/bin/env bash
# Everything that needs a GPU, in two calls of at most eight minutes on one card:
#
#     scripts/bench/gpu.sh measure OUT [CHECKOUT]   # kernel tests, speed of all methods, TransUNet's step, first calls
#     scripts/bench/gpu.sh train OUT                # full TransUNet on phantoms: linear, ReSFU, FreqFusion
#
# Each part writes a file to OUT when it is done; a second call with the same OUT does only what is missing. CHECKOUT is
# a folder with the published modules. Without a GPU, small sizes on the CPU test the script itself.
#
# The machine's own Python must have torch for its GPU; medups and what else is missing is installed. On a machine without
# network, WHEELS is a folder of wheels to install from: pip download -d WHEELS -c constraints.txt --no-deps NAME...
set -euo pipefail
what=${1:?measure or train} out=$(realpath -m "${2:?folder for results}") checkout=${3:-}
cd "$(dirname "$0")/../.."
mkdir -p "$out"
python=$(command -v python || command -v python3)
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
if ! $python -c "import medups.networks, medups.workflows.train, pytest" 2>/dev/null; then
    if [ -n "${WHEELS:-}" ]; then
        $python -m pip install --quiet --no-index --no-deps "$WHEELS"/*
    else
        $python -m pip install --quiet -e ".[dev]"
    fi
fi

if $python -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
    device=cuda settings=(decoder dysample direct volume) dtypes=(float32 bfloat16) methods=()
    net=(--batch 24 --upsamplers linear resfu freqfusion carafe sapa fade dysample) first=() budget=480
    tests=(tests/ops/test_gpu.py)
else
    device=cpu settings=(series-28) dtypes=(float32) methods=(--methods linear resfu freqfusion)
    net=(--batch 1 --size 64 --upsamplers linear) first=(--upsamplers linear resfu) budget=480
    tests=(tests/ops/test_gpu.py -k test_unusable_backend_reports_the_reason)
fi
deadline=$((SECONDS + budget))

part() { # NAME COMMAND...: run the command unless its file exists; {} in it is the file to write
    local name=$1 file="$out/$1.json" left=$((deadline - SECONDS))
    shift
    if [ -f "$file" ]; then
        echo "$name: done before"
        return
    fi
    if [ $left -lt 10 ]; then
        echo "$name: no time left; call again"
        return
    fi
    echo "== $name ($left s left)"
    if timeout $left "${@//\{\}/$file.part}" >"$out/$name.log" 2>&1; then
        mv "$file.part" "$file"
    else
        echo "$name failed; see $name.log"
        tail -n 3 "$out/$name.log"
        failed=true
    fi
}
failed=false

case $what in
measure)
    part kernel-tests bash -c '"$0" -m pytest -q -p no:cacheprovider "${@:2}" && echo "{\"passed\": true}" >"$1"' \
        "$python" {} "${tests[@]}"
    rivals=()
    [ -z "$checkout" ] || rivals=(--against "$checkout")
    for setting in "${settings[@]}"; do
        part "upsamplers-$setting" "$python" scripts/bench/upsamplers.py --device $device --settings "$setting" \
            --dtypes "${dtypes[@]}" ${methods[@]+"${methods[@]}"} ${rivals[@]+"${rivals[@]}"} --output {}
    done
    part networks "$python" scripts/bench/networks.py --device $device "${net[@]}" --output {}
    part first-call "$python" scripts/bench/first_call.py --device $device ${first[@]+"${first[@]}"} --output {}
    ;;
train)
    if [ $device = cuda ]; then runs=(--parts gpu-short --seeds 1); else runs=(--parts self-test --seeds 1); fi
    timeout $budget "$python" scripts/results.py "${runs[@]}" --jobs 1 --work "$out/runs" --table "$out/results.csv" ||
        failed=true
    ;;
*)
    echo "expected measure or train, got $what"
    exit 2
    ;;
esac
ls -l "$out"
! $failed
