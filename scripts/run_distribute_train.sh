#!/usr/bin/env bash
# Trains on several devices, with MindSpore's launcher msrun: Ascend (HCCL), GPU (NCCL) or CPU (MCCL).
#
#   bash scripts/run_distribute_train.sh [--config FILE] [options] [any option of train.py]
#
#   --config FILE        default: config/demo/ptnt_digits.yaml of this repository
#   --devices N          processes on this host; default: one a device, 2 on CPU
#   --hosts A,B,...      names or addresses of all hosts, the same list on each; this host finds itself among them
#   --nnodes N           instead of --hosts: number of hosts, with
#   --master_addr A        name or address of host 0
#   --node_rank R          which host this is, from 0 (also with --hosts, where a host cannot find itself)
#   --master_port P      port of the scheduler on host 0; default: any free one, 8118 with several hosts
#   --rank_table FILE    JSON file, for clusters that need one
#   --bind_core          keep each process on processor cores of its own
#   --restarts N         after a failure start again with --resume, up to N times; default 0
#
# Options of train.py: --resume, --overwrite, and every key of a configuration, such as --train.batch_size 64; see
# "python train.py --help". On several hosts run the same command on each. Paths are relative to where you are.
#
# The terminal shows rank 0 and its progress bar; each rank that has something to say writes logs/worker_<rank>.log in
# the run's folder. Wrong arguments, data and folders are told before a rank is started. Ctrl-C or SIGTERM lets
# the run save and end. Exit code: 0; 2 for wrong input; 75 for trouble that another start may not have, such as a full
# disk; that of the rank that failed first, which is named; 143 or 130 when stopped.
set -euo pipefail
for argument in "$@"; do
    if [ "$argument" = "-h" ] || [ "$argument" = "--help" ]; then
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
        exit 0
    fi
done
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment requirements.txt
exec "$PYTHON" "$ROOT/scripts/launch.py" train.py "$(basename "${BASH_SOURCE[0]}")" "$@"
