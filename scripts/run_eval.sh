#!/usr/bin/env bash
# Evaluates a checkpoint on one device: the first of Ascend, GPU and CPU that is there.
#
#   bash scripts/run_eval.sh [--config FILE] [--checkpoint FILE] [any option of eval.py]
#
#   --config FILE        default: config/demo/ptnt_digits.yaml of this repository
#   --checkpoint FILE    default: the run's best
#
# Options of eval.py: --json FILE, and every key of a configuration; see "python eval.py --help". Paths are relative to
# where you are. Exit code: 0; 2 for wrong input.
set -euo pipefail
for argument in "$@"; do
    if [ "$argument" = "-h" ] || [ "$argument" = "--help" ]; then
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
        exit 0
    fi
done
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment requirements.txt
exec "$PYTHON" "$ROOT/eval.py" "$@"
