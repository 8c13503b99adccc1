#!/usr/bin/env bash
# From a clean clone to a trained, evaluated, exported network that predicts, on a machine with only Python 3.10 to 3.12.
# Trains a small PyramidTNT on the handwritten digits that scikit-learn ships; nothing else is downloaded.
#
#   bash scripts/run_demo.sh [CONFIG]        default: config/demo/ptnt_digits.yaml
set -euo pipefail
if [ "${1:-}" = "-h" ] || [ "${1:-}" = "--help" ]; then
    sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
fi
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
[ $# -le 1 ] || fail "expected at most one argument, a configuration file, got $#: $*"
config="$(realpath "${1:-$ROOT/config/demo/ptnt_digits.yaml}")"
[ -f "$config" ] || fail "configuration $config does not exist; see $ROOT/config/demo"
prepare_environment requirements.txt
cd "$ROOT"
started=$SECONDS
run="output/$(basename "$config" .yaml)"

echo "== train"
"$PYTHON" train.py --config "$config" --overwrite
echo "== evaluate"
"$PYTHON" eval.py --config "$config"
echo "== export"
"$PYTHON" export.py --config "$config" --file_format MINDIR
echo "== predict"
"$PYTHON" scripts/write_digits.py "$run/digits"
"$PYTHON" predict.py "$run/digits" --model_file "$run"/export/*.mindir --top_k 3
echo "== done in $((SECONDS - started)) s"
echo "run       $ROOT/$run (train.log, metrics.jsonl, curves.png, checkpoints/)"
echo "exported  $(ls "$ROOT/$run"/export/*.mindir)"
echo "pictures  $ROOT/$run/digits"
