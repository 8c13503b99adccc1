#!/usr/bin/env bash
# Trains on one device: the first of Ascend, GPU and CPU that is there.
#
#   bash scripts/run_standalone_train.sh [--config FILE] [any option of train.py]
#
#   --config FILE    default: config/demo/ptnt_digits.yaml of this repository
#
# Options of train.py: --resume, --overwrite, and every key of a configuration, such as --device CPU or
# --train.batch_size 64; see "python train.py --help". Paths are relative to where you are. Ctrl-C or SIGTERM lets the
# run save and end. Exit code: 0; 2 for wrong input; 75 for trouble that another start may not have, such as a full
# disk; 143 or 130 when stopped.
set -euo pipefail
for argument in "$@"; do
    if [ "$argument" = "-h" ] || [ "$argument" = "--help" ]; then
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
        exit 0
    fi
done
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment requirements.txt
exec "$PYTHON" "$ROOT/train.py" "$@"
