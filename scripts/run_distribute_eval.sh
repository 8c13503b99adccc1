#!/usr/bin/env bash
# Evaluates a checkpoint on several devices, with MindSpore's launcher msrun; each image exactly once.
#
#   bash scripts/run_distribute_eval.sh [--config FILE] [--checkpoint FILE] [options] [any option of eval.py]
#
#   --config FILE        default: config/demo/ptnt_digits.yaml of this repository
#   --checkpoint FILE    default: the run's best
#   --devices, --hosts, --nnodes, --master_addr, --node_rank, --master_port, --rank_table, --bind_core
#                        as in run_distribute_train.sh
#
# Options of eval.py: --json FILE, and every key of a configuration; see "python eval.py --help". Paths are relative to
# where you are. The terminal shows rank 0 and its progress bar; each rank writes logs/eval/worker_<rank>.log in the
# run's folder. Exit code as in run_distribute_train.sh.
set -euo pipefail
for argument in "$@"; do
    if [ "$argument" = "-h" ] || [ "$argument" = "--help" ]; then
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
        exit 0
    fi
done
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment requirements.txt
exec "$PYTHON" "$ROOT/scripts/launch.py" eval.py "$(basename "${BASH_SOURCE[0]}")" "$@"
