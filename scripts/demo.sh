#!/usr/bin/env bash
# A complete medups workflow in minutes, on built-in data: phantoms, two decoders trained with the same recipe, the
# voxel baseline, masks of held-out cases, Dice and HD95, pictures. All output goes to runs/demo.
# Safe to stop and restart: finished parts are kept.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

demo=runs/demo
recipe=(experiment=demo "data.root=$demo/phantoms" "data.cache=$demo/cache")

step() { printf '\n== %s\n' "$*"; }

step "CT phantoms in the Synapse layout: 31 cases to train, 1 to validate, 12 to test"
[ -f "$demo/phantoms/done" ] || { medups phantom "$demo/phantoms" --cases 44 --seed 0 && touch "$demo/phantoms/done"; }

step "Baseline: classify each voxel by its HU and position"
medups baseline "${recipe[@]}" "output=$demo/masks/baseline"

for upsampler in bilinear resfu; do
    step "TransUNet with $upsampler: train, then segment the test cases"
    options=()
    [ "$upsampler" = resfu ] && options=(upsampler.options.embed_channels=8) # a quarter of the paper's, for the CPU
    medups train "${recipe[@]}" "upsampler=$upsampler" ${options[@]+"${options[@]}"} "output=$demo/$upsampler"
    medups predict --model "$demo/$upsampler/bundle" --input "$demo/phantoms/img" --cases test \
        --output "$demo/masks/$upsampler"
done

evaluate() { # masks, output folder, more options
    medups evaluate --pred "$demo/masks/$1" --label "$demo/phantoms/label" --label-labels btcv13 \
        --image "$demo/phantoms/img" --output "$2" "${@:3}"
}
step "Evaluation"
evaluate baseline "$demo/evaluation/baseline" >/dev/null
evaluate bilinear "$demo/evaluation/bilinear" >/dev/null
evaluate resfu "$demo/evaluation" --also "bilinear=$demo/masks/bilinear"

step "Comparison with the bilinear decoder on the same cases"
medups compare "bilinear=$demo/evaluation/bilinear" "resfu=$demo/evaluation" "baseline=$demo/evaluation/baseline" \
    --output "$demo/comparison"
echo "Report with the masks of both decoders: $demo/evaluation/report.html"
