#!/usr/bin/env bash
# Runs the test suite in the environment of the demo, plus the test tools.
#
#   bash scripts/run_tests.sh [--slow] [any pytest argument]
#
# --slow adds the tests that take minutes.
set -euo pipefail
case "${1:-}" in
-h | --help)
    sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment requirements.txt requirements-test.txt
cd "$ROOT"
selection=()
if [ "${1:-}" = "--slow" ]; then
    shift
    selection=(-m "slow or not slow")
fi
# One process a core, at most four because each takes up to 4 GB; a thread each, or they would wait for one another.
workers="$(nproc)"
workers=$((workers < 4 ? workers : 4))
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec "$PYTHON" -m pytest --numprocesses "$workers" --dist loadfile "${selection[@]}" "$@"
