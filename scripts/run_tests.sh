#!/usr/bin/env bash
# Runs the test suite in the environment of the demo, plus the test tools.
#
#   bash scripts/run_tests.sh [--slow | --quick] [any pytest argument]
#
# --slow adds the tests that take minutes; --quick runs those that compile next to nothing, for a small change.
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
case "${1:-}" in
--slow)
    shift
    selection=(-m "slow or not slow")
    ;;
--quick)
    shift
    selection=(tests/config tests/data tests/files tests/terminal tests/weights tests/test_errors.py tests/test_import_order.py)
    ;;
esac
# One process a core, at most four because each takes up to 6.5 GB; a thread each, or they would wait for one another.
workers="$(nproc)"
workers=$((workers < 4 ? workers : 4))
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec "$PYTHON" -m pytest --numprocesses "$workers" --dist loadfile "${selection[@]}" "$@"
