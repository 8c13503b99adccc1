#!/usr/bin/env bash
# From a clean clone to a trained, evaluated, exported network that predicts, on a machine with only Python 3.10 to 3.12.
# Trains a small PyramidTNT on the handwritten digits that scikit-learn ships; nothing else is downloaded. A configuration
# called *_scenes.yaml trains a detector on digits in photographs, which make_scenes.py puts together first.
#
#   bash scripts/run_demo.sh [CONFIG]        default: config/demo/ptnt_digits.yaml
set -euo pipefail
if [ "${1:-}" = "-h" ] || [ "${1:-}" = "--help" ]; then
    sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
fi
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
[ $# -le 1 ] || fail "expected at most one argument, a configuration file, got $#: $*"
config="$(realpath "${1:-$ROOT/config/demo/ptnt_digits.yaml}")"
[ -f "$config" ] || fail "configuration $config does not exist; see $ROOT/config/demo"
name="$(basename "$config" .yaml)"
requirements=(requirements.txt)
[[ "$name" != *_scenes ]] || requirements+=(requirements-detection.txt)
prepare_environment "${requirements[@]}"
cd "$ROOT"
started=$SECONDS
run="output/$name"

if [[ "$name" == *_scenes ]]; then
    echo "== data"
    "$PYTHON" make_scenes.py output/scenes --size 128 --train 5000
    pictures="$run/pictures"
    images=(output/scenes/val2017/00000[0-4].png)
    more=(--draw "$pictures")
else
    pictures="$run/digits"
    images=("$pictures")
    more=(--top_k 3)
fi
echo "== train"
"$PYTHON" train.py --config "$config" --overwrite
echo "== evaluate"
"$PYTHON" eval.py --config "$config"
echo "== export"
"$PYTHON" export.py --config "$config" --file_format MINDIR
echo "== predict"
[[ "$name" == *_scenes ]] || "$PYTHON" scripts/write_digits.py "$pictures"
"$PYTHON" predict.py "${images[@]}" --config "$config" --model_file "$run"/export/*.mindir "${more[@]}"
echo "== done in $((SECONDS - started)) s"
echo "run       $ROOT/$run (train.log, metrics.jsonl, curves.png, checkpoints/)"
echo "exported  $(ls "$ROOT/$run"/export/*.mindir)"
echo "pictures  $ROOT/$pictures"
